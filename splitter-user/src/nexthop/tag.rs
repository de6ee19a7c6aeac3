//! Interfaces that are a tag on another one (IEEE 802.1Q), and what lies below them. Pure.

use rtnetlink::packet_route::link::{InfoData, InfoVlan, LinkInfo, VlanProtocol};

use super::mirror::{Link, Mirror};
use super::{Tagged, VlanDevices};

/// The tag that an interface adds to frames and takes off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// The interface below; none if that is in another network namespace.
    pub parent: Option<u32>,
    /// The VLAN.
    pub id: u16,
    /// Whose tag it is.
    pub layer: Layer,
}

/// Whose tag it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// An ordinary tag (IEEE 802.1Q).
    Customer,
    /// A provider's, around others (IEEE 802.1ad).
    Service,
}

impl Tag {
    /// The tag in a link's description, if there is one; `below` is the link's own `IFLA_LINK`.
    pub(crate) fn of(infos: &[LinkInfo], below: Option<u32>) -> Option<Self> {
        let data = infos.iter().find_map(|info| match info {
            LinkInfo::Data(InfoData::Vlan(data)) => Some(data),
            _ => None,
        })?;
        let id = data.iter().find_map(|attribute| match attribute {
            InfoVlan::Id(id) => Some(*id),
            _ => None,
        })?;
        let service = data
            .iter()
            .any(|attribute| matches!(attribute, InfoVlan::Protocol(VlanProtocol::Ieee8021Ad)));
        let layer = if service {
            Layer::Service
        } else {
            Layer::Customer
        };
        Some(Self {
            parent: below,
            id,
            layer,
        })
    }
}

/// The interface that frames of the interface `index` leave by, and the tag that they carry there; or why
/// the program cannot send them, for people. `below` tells an interface's name and its tag.
pub(crate) fn carrier<'n>(
    index: u32,
    name: &str,
    tag: Option<Tag>,
    below: impl Fn(u32) -> Option<(&'n str, Option<Tag>)>,
) -> Result<(u32, Option<u16>), String> {
    let Some(tag) = tag else {
        return Ok((index, None));
    };
    if tag.layer == Layer::Service {
        return Err(format!(
            "interface {name} tags frames with a provider's tag (802.1ad), which the program does not write; use an \
             802.1Q one"
        ));
    }
    let parent = tag.parent.and_then(|parent| Some((parent, below(parent)?)));
    match parent {
        None => Err(format!(
            "the interface that carries {name} is in another network namespace, where the program cannot send"
        )),
        Some((_, (carrier, Some(_)))) => Err(format!(
            "interface {name} is a tag on {carrier}, which is one itself (QinQ): the program writes one tag alone; use \
             an interface with one"
        )),
        Some((parent, (_, None))) => Ok((parent, Some(tag.id))),
    }
}

impl Mirror {
    /// What carries frames of a link, as [`carrier`] says.
    pub(super) fn carrier(&self, index: u32, link: &Link) -> Result<(u32, Option<u16>), String> {
        let below = |index: u32| {
            let link = self.links.get(&index)?;
            Some((link.name.as_str(), link.tag))
        };
        carrier(index, &link.name, link.tag, below)
    }

    /// Every interface that is a tag, as the program has to know it: the kernel names it as the way to a
    /// client.
    pub(super) fn vlan_devices(&self) -> VlanDevices {
        let tagged = self.links.iter().filter(|(_, link)| link.tag.is_some());
        let device = |(index, link): (&u32, &Link)| {
            let tagged = match self.carrier(*index, link) {
                Ok((parent, Some(id))) => Some(Tagged { parent, id }),
                Ok((_, None)) | Err(_) => None,
            };
            (*index, tagged)
        };
        tagged.map(device).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Layer, Tag};
    use crate::nexthop::mirror::{Event, Link};
    use crate::nexthop::monitor::events;

    /// An attribute as the kernel lays it out (linux/rtnetlink.h, `struct rtattr`).
    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).expect("short");
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// The message that the kernel tells of a VLAN interface with, number 9 on number 2 (`rtnl_fill_ifinfo`,
    /// `vlan_fill_info`).
    fn told(protocol: u16, elsewhere: bool) -> Link {
        let data = [
            attribute(5, &protocol.to_be_bytes()),
            attribute(1, &10_u16.to_ne_bytes()),
            attribute(2, &[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
        ]
        .concat();
        let info = [attribute(1, b"vlan\0"), attribute(2, &data)].concat();
        let mut attributes = [
            attribute(3, b"near.10\0"),
            attribute(4, &1_500_u32.to_ne_bytes()),
            attribute(5, &2_u32.to_ne_bytes()),
            attribute(1, &[2, 0, 0, 0, 0, 1]),
            attribute(18, &info),
        ]
        .concat();
        if elsewhere {
            attributes.extend(attribute(37, &0_i32.to_ne_bytes()));
        }
        // struct ifinfomsg: unspecified family, Ethernet, number 9, up with a carrier.
        let mut body = vec![0, 0];
        body.extend(1_u16.to_ne_bytes());
        body.extend(9_u32.to_ne_bytes());
        body.extend(0x1_0043_u32.to_ne_bytes());
        body.extend([0; 4]);
        body.extend(attributes);
        let length = u32::try_from(16 + body.len()).expect("short");
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(libc::RTM_NEWLINK.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(body);
        let mut events = events(&message);
        let Some(Event::Link(9, link)) = events.pop() else {
            panic!("{events:?}");
        };
        link
    }

    #[test]
    fn a_vlan_is_read_from_what_the_kernel_tells() {
        let tag = |parent, layer| Tag {
            parent,
            id: 10,
            layer,
        };
        let link = told(0x8100, false);
        assert_eq!(
            (link.name.as_str(), link.up, link.carrier),
            ("near.10", true, true)
        );
        assert_eq!(link.tag, Some(tag(Some(2), Layer::Customer)));
        assert_eq!(told(0x88a8, false).tag, Some(tag(Some(2), Layer::Service)));
        assert_eq!(told(0x8100, true).tag, Some(tag(None, Layer::Customer)));
    }
}

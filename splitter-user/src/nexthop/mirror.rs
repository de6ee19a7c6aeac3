//! A copy of the kernel's links and neighbours, and what a change to them means. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};

use super::tag::Tag;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub name: String,
    /// None where frames are not Ethernet's.
    pub mac: Option<[u8; 6]>,
    pub mtu: u32,
    pub up: bool,
    pub carrier: bool,
    pub loopback: bool,
    /// None where frames go out as they come.
    pub tag: Option<Tag>,
}

impl Link {
    /// The link of `message`, with its number. None if the message is of another kind that shares the type: a bridge tells
    /// of its ports, and a wireless driver of its events.
    pub(super) fn of(message: LinkMessage) -> Option<(u32, Self)> {
        if message.header.interface_family != AddressFamily::Unspec {
            return None;
        }
        let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
        let (mut name, mut mtu, mut mac) = (None, None, None);
        let (mut below, mut elsewhere, mut infos) = (None, false, Vec::new());
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(text) => name = Some(text),
                LinkAttribute::Mtu(octets) => mtu = Some(octets),
                LinkAttribute::Link(index) => below = Some(index),
                LinkAttribute::LinkNetNsId(_) => elsewhere = true,
                LinkAttribute::LinkInfo(found) => infos = found,
                LinkAttribute::Address(address) if ethernet => mac = address.try_into().ok(),
                _ => {}
            }
        }
        let flags = message.header.flags;
        let link = Self {
            name: name?,
            mac,
            mtu: mtu?,
            up: flags.contains(LinkFlags::Up),
            carrier: flags.contains(LinkFlags::LowerUp),
            loopback: flags.contains(LinkFlags::Loopback),
            tag: Tag::of(&infos, below.filter(|_| !elsewhere)),
        };
        Some((message.header.index, link))
    }
}

/// What is known of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Neighbour {
    /// Its address, confirmed or being confirmed.
    Fresh([u8; 6]),
    /// Its address, which nobody confirmed for a while.
    Stale([u8; 6]),
    /// It was asked for and has not answered yet.
    Asked,
    /// It did not answer.
    Silent,
}

impl Neighbour {
    /// Where frames for it go.
    pub(super) fn mac(self) -> Option<[u8; 6]> {
        match self {
            Self::Fresh(mac) | Self::Stale(mac) => Some(mac),
            Self::Asked | Self::Silent => None,
        }
    }

    fn of(state: NeighbourState, mac: Option<[u8; 6]>) -> Self {
        match (state, mac) {
            (NeighbourState::Failed, _) => Self::Silent,
            (NeighbourState::Incomplete | NeighbourState::None, _) | (_, None) => Self::Asked,
            (NeighbourState::Stale, Some(mac)) => Self::Stale(mac),
            (_, Some(mac)) => Self::Fresh(mac),
        }
    }
}

/// A neighbour's place: the interface and its address there.
pub(super) type Place = (u32, IpAddr);

/// The place and the knowledge of `message`; none for what is no neighbour of IPv4 or IPv6.
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<(Place, Neighbour)> {
    if !matches!(
        message.header.family,
        AddressFamily::Inet | AddressFamily::Inet6
    ) {
        return None;
    }
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some(IpAddr::V4(*v4))
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some(IpAddr::V6(*v6))
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    Some((
        (message.header.ifindex, address?),
        Neighbour::of(message.header.state, mac),
    ))
}

/// A change, as the kernel tells of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Link(u32, Link),
    LinkGone(u32),
    Neighbour(Place, Neighbour),
    NeighbourGone(Place),
    /// An address, a route, a rule or a nexthop object: what it does to a way, only the kernel knows.
    Routing,
    /// Changes were lost.
    Lost,
}

/// What has to be done about changes; the greater includes the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    Nothing,
    /// Put the ways together anew from what is known.
    Combine,
    /// Ask for the routes anew.
    Routes,
    /// Read everything anew.
    Everything,
}

/// Whether a next hop that is cached elsewhere may be wrong now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Caches {
    Hold,
    Expire,
}

/// The copy.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mirror {
    pub links: BTreeMap<u32, Link>,
    pub neighbours: BTreeMap<Place, Neighbour>,
}

impl Mirror {
    /// Follows a change, and says what it means.
    pub(super) fn apply(&mut self, event: Event) -> (Work, Caches) {
        match event {
            Event::Link(index, link) => {
                let same = self.links.get(&index) == Some(&link);
                self.links.insert(index, link);
                if same {
                    (Work::Nothing, Caches::Hold)
                } else {
                    (Work::Routes, Caches::Expire)
                }
            }
            Event::LinkGone(index) => {
                self.links.remove(&index);
                self.neighbours.retain(|place, _| place.0 != index);
                (Work::Routes, Caches::Expire)
            }
            Event::Neighbour(place, neighbour) => {
                let before = self.neighbours.insert(place, neighbour);
                change(before, Some(neighbour))
            }
            Event::NeighbourGone(place) => {
                let before = self.neighbours.remove(&place);
                change(before, None)
            }
            Event::Routing => (Work::Routes, Caches::Expire),
            Event::Lost => (Work::Everything, Caches::Expire),
        }
    }

    /// Whether what the caches took from `before` may be wrong in `self`.
    pub(super) fn since(&self, before: &Self) -> Caches {
        let moved = before.neighbours.iter().any(|(place, then)| {
            change(Some(*then), self.neighbours.get(place).copied()).1 == Caches::Expire
        });
        if moved || self.links != before.links {
            Caches::Expire
        } else {
            Caches::Hold
        }
    }
}

/// A neighbour that becomes known spoils no cache: there was no address to keep. One that is forgotten does, as it may come
/// back with another address.
fn change(before: Option<Neighbour>, after: Option<Neighbour>) -> (Work, Caches) {
    let (had, has) = (
        before.and_then(Neighbour::mac),
        after.and_then(Neighbour::mac),
    );
    let caches = if had.is_some() && had != has {
        Caches::Expire
    } else {
        Caches::Hold
    };
    // Whether somebody is silent or merely asked for is told to people.
    let work = if had == has && (has.is_some() || before == after) {
        Work::Nothing
    } else {
        Work::Combine
    };
    (work, caches)
}

#[cfg(test)]
mod tests {
    use super::{Caches, Event, Link, Mirror, Neighbour, Work};

    const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
    const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

    fn link(mtu: u32) -> Link {
        Link {
            name: "near".to_owned(),
            mac: Some(A),
            mtu,
            up: true,
            carrier: true,
            loopback: false,
            tag: None,
        }
    }

    #[test]
    fn a_neighbour_s_changes_mean_this() {
        use Neighbour::{Asked, Fresh, Silent, Stale};
        let place = (2, "198.18.2.11".parse().expect("an address"));
        let cases = [
            (None, Some(Asked), Work::Combine, Caches::Hold),
            (None, Some(Fresh(A)), Work::Combine, Caches::Hold),
            (Some(Asked), Some(Asked), Work::Nothing, Caches::Hold),
            (Some(Asked), Some(Silent), Work::Combine, Caches::Hold),
            (Some(Asked), Some(Fresh(A)), Work::Combine, Caches::Hold),
            (Some(Silent), Some(Stale(A)), Work::Combine, Caches::Hold),
            (Some(Silent), None, Work::Combine, Caches::Hold),
            (Some(Fresh(A)), Some(Stale(A)), Work::Nothing, Caches::Hold),
            (Some(Stale(A)), Some(Fresh(A)), Work::Nothing, Caches::Hold),
            (
                Some(Fresh(A)),
                Some(Fresh(B)),
                Work::Combine,
                Caches::Expire,
            ),
            (Some(Stale(A)), Some(Silent), Work::Combine, Caches::Expire),
            (Some(Stale(A)), None, Work::Combine, Caches::Expire),
        ];
        for (before, after, work, caches) in cases {
            let mut mirror = Mirror::default();
            mirror
                .neighbours
                .extend(before.map(|neighbour| (place, neighbour)));
            let event = match after {
                Some(neighbour) => Event::Neighbour(place, neighbour),
                None => Event::NeighbourGone(place),
            };
            assert_eq!(
                mirror.apply(event),
                (work, caches),
                "{before:?} -> {after:?}"
            );
            assert_eq!(mirror.neighbours.get(&place).copied(), after);
        }
    }

    #[test]
    fn a_link_told_of_again_without_a_change_means_nothing() {
        let mut mirror = Mirror::default();
        assert_eq!(
            mirror.apply(Event::Link(2, link(1_500))),
            (Work::Routes, Caches::Expire)
        );
        assert_eq!(
            mirror.apply(Event::Link(2, link(1_500))),
            (Work::Nothing, Caches::Hold)
        );
        assert_eq!(
            mirror.apply(Event::Link(2, link(9_000))),
            (Work::Routes, Caches::Expire)
        );
    }

    #[test]
    fn a_link_that_goes_takes_its_neighbours_along() {
        let mut mirror = Mirror::default();
        for index in [2, 3] {
            mirror.apply(Event::Link(index, link(1_500)));
            let place = (index, "2001:db8:2::11".parse().expect("an address"));
            mirror.apply(Event::Neighbour(place, Neighbour::Fresh(A)));
        }
        assert_eq!(
            mirror.apply(Event::LinkGone(2)),
            (Work::Routes, Caches::Expire)
        );
        assert_eq!(
            mirror
                .neighbours
                .keys()
                .map(|place| place.0)
                .collect::<Vec<_>>(),
            [3]
        );
    }

    #[test]
    fn what_was_missed_is_seen_when_everything_is_read_anew() {
        let place = (2, "198.18.2.11".parse().expect("an address"));
        let with = |neighbour| Mirror {
            neighbours: [(place, neighbour)].into(),
            ..Mirror::default()
        };
        let before = with(Neighbour::Stale(A));
        assert_eq!(with(Neighbour::Fresh(A)).since(&before), Caches::Hold);
        assert_eq!(with(Neighbour::Fresh(B)).since(&before), Caches::Expire);
        assert_eq!(Mirror::default().since(&before), Caches::Expire);
        assert_eq!(before.since(&Mirror::default()), Caches::Hold);
    }
}

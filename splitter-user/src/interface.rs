//! The interfaces of this network namespace, and whether the program may be attached to them.
//!
//! Everything here asks the kernel once and blocks for as long as that takes: for the start of the agent and for `doctor`.

mod ethtool;
pub(crate) mod netlink;
#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp, XdpAttached,
};

use crate::nexthop::Tag;

/// Why an interface cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// There is none of that name.
    #[error("there is no interface \"{name}\" here; there are: {}. Name one of those", .existing.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        existing: Vec<String>,
    },
    /// The loopback interface.
    #[error(
        "\"{name}\" is the loopback interface, whose packets never come from clients; name the interfaces towards clients and backends"
    )]
    Loopback {
        /// Its name.
        name: String,
    },
    /// Something without Ethernet headers.
    #[error(
        "interface \"{name}\" carries no Ethernet frames, the program reads nothing else; name an Ethernet interface"
    )]
    NotEthernet {
        /// Its name.
        name: String,
    },
    /// Somebody else's XDP program is there.
    #[error(
        "interface \"{name}\" already carries another XDP program (id {program_id}, {mode}); see whose it is with \
         `bpftool prog show id {program_id}`, and remove it with `ip link set dev {name} xdp off` if nobody needs it"
    )]
    ForeignProgram {
        /// The interface.
        name: String,
        /// How the program is attached.
        mode: XdpMode,
        /// The program.
        program_id: u32,
    },
    /// The kernel did not answer.
    #[error("cannot list the interfaces: {0}")]
    Netlink(#[from] io::Error),
}

/// How an XDP program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the stack, for every driver, slower.
    Generic,
    /// On the card.
    Hardware,
    /// In more than one of these ways.
    Several,
}

impl std::fmt::Display for XdpMode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Hardware => "hardware",
            Self::Several => "several modes",
        })
    }
}

/// The XDP program of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Xdp {
    /// How it is attached.
    pub mode: XdpMode,
    /// Its id; 0 where the kernel names none.
    pub program_id: u32,
}

/// An interface as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its own address on the wire, if it has one of Ethernet's kind.
    pub mac: Option<[u8; 6]>,
    /// Octets that one packet may have.
    pub mtu: u32,
    /// Up, and with a carrier.
    pub running: bool,
    /// The loopback interface.
    pub loopback: bool,
    /// The kernel's name for its kind (`veth`, `vlan`, ...), none for plain hardware.
    pub kind: Option<String>,
    /// The other end's number: of a veth in this same namespace, or of the interface below.
    pub link: Option<u32>,
    /// The tag that it stands for, if it does (IEEE 802.1Q).
    pub tag: Option<Tag>,
    /// Its XDP program.
    pub xdp: Option<Xdp>,
}

impl Interface {
    /// The interface `name`, if the program may be attached to it: there is one, it is not the loopback, and it is Ethernet.
    pub fn find(name: &str) -> Result<Self, InterfaceError> {
        let mut interfaces = list()?;
        let Some(position) = interfaces
            .iter()
            .position(|interface| interface.name == name)
        else {
            let existing = interfaces
                .into_iter()
                .map(|interface| interface.name)
                .collect();
            return Err(InterfaceError::Unknown {
                name: name.to_owned(),
                existing,
            });
        };
        let found = interfaces.swap_remove(position);
        if found.loopback {
            return Err(InterfaceError::Loopback { name: found.name });
        }
        if found.mac.is_none() {
            return Err(InterfaceError::NotEthernet { name: found.name });
        }
        Ok(found)
    }

    /// Refuses an interface that carries an XDP program which is none of `ours`.
    pub fn refuse_foreign_program(&self, ours: &[u32]) -> Result<(), InterfaceError> {
        match self.xdp {
            Some(Xdp { mode, program_id }) if !ours.contains(&program_id) => {
                Err(InterfaceError::ForeignProgram {
                    name: self.name.clone(),
                    mode,
                    program_id,
                })
            }
            _ => Ok(()),
        }
    }

    /// The name of its driver, where it has one.
    pub fn driver(&self) -> Option<String> {
        ethtool::driver(&self.name).ok()
    }

    /// Whether it gathers packets before the stack sees them (GRO), where it can tell.
    pub fn gro(&self) -> Option<bool> {
        ethtool::gro(&self.name).ok()
    }

    /// Whether its driver takes VLAN tags off incoming frames, where it can tell.
    pub fn strips_tags(&self) -> Option<bool> {
        ethtool::strips_tags(&self.name).ok()
    }
}

/// All interfaces of this network namespace.
pub fn list() -> Result<Vec<Interface>, InterfaceError> {
    let answers = netlink::dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let links = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(link) => Some(interface(link)),
        _ => None,
    });
    Ok(links.collect())
}

/// An address of an interface, with the length of the prefix that is on its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The interface's number.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// The length of its prefix.
    pub prefix: u8,
}

/// All addresses of this network namespace.
pub fn addresses() -> Result<Vec<Address>, InterfaceError> {
    let answers = netlink::dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let addresses = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewAddress(message) => address(&message),
        _ => None,
    });
    Ok(addresses.collect())
}

fn interface(link: LinkMessage) -> Interface {
    let flags = link.header.flags;
    let mut interface = Interface {
        index: link.header.index,
        name: String::new(),
        mac: None,
        mtu: 0,
        running: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        loopback: flags.contains(LinkFlags::Loopback),
        kind: None,
        link: None,
        tag: None,
        xdp: None,
    };
    let ethernet = link.header.link_layer_type == LinkLayerType::Ether;
    let (mut elsewhere, mut infos) = (false, Vec::new());
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name = name,
            LinkAttribute::Mtu(mtu) => interface.mtu = mtu,
            LinkAttribute::Address(address) if ethernet => interface.mac = address.try_into().ok(),
            LinkAttribute::Link(index) => interface.link = Some(index),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(found) => infos = found,
            LinkAttribute::Xdp(attributes) => interface.xdp = xdp(&attributes),
            _ => {}
        }
    }
    if elsewhere {
        interface.link = None;
    }
    interface.kind = infos.iter().find_map(kind);
    interface.tag = Tag::of(&infos, interface.link);
    interface
}

fn kind(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(InfoKind::Other(kind)) => Some(kind.clone()),
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

fn xdp(attributes: &[LinkXdp]) -> Option<Xdp> {
    let mode = attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::Attached(XdpAttached::Driver) => Some(XdpMode::Native),
        LinkXdp::Attached(XdpAttached::SocketBuffer) => Some(XdpMode::Generic),
        LinkXdp::Attached(XdpAttached::Hardware) => Some(XdpMode::Hardware),
        LinkXdp::Attached(XdpAttached::Multiple) => Some(XdpMode::Several),
        _ => None,
    })?;
    let program_id = attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::ProgId(id)
        | LinkXdp::DrvProgId(id)
        | LinkXdp::SkbProgId(id)
        | LinkXdp::HwProgId(id) => Some(*id),
        _ => None,
    });
    Some(Xdp {
        mode,
        program_id: program_id.unwrap_or(0),
    })
}

/// Of a point-to-point address `Address` is the other end: `Local` goes first.
fn address(message: &AddressMessage) -> Option<Address> {
    let local = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
    let any = || {
        message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
    };
    let address = local.or_else(any)?;
    Some(Address {
        index: message.header.index,
        address,
        prefix: message.header.prefix_len,
    })
}

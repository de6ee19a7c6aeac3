//! Where packets for backends go next: interface, MAC addresses, MTU. The data plane asks nobody on a packet's way; this
//! asks the kernel beforehand, keeps its neighbour entries fresh, and tells when anything changes.
//!
//! One task, [`Resolver::run`]. It owns two sockets: one hears of changes (links, addresses, routes, rules, neighbours), the
//! other asks. Its inputs and outputs are watch channels, which hold one value each: nobody waits for anybody. Cancelling it
//! anywhere is safe, as its whole state is a copy of the kernel's.
//!
//! ```text
//! backends (watch) ->  Resolver  -> NextHops (watch)   a hop, or the reason why not, for every backend
//! kernel's changes ->            -> epoch (watch)      grows when a next hop cached elsewhere may be wrong
//! ```
//!
//! - A change is answered at once, but no more than 20 times a second, and never in more than a fifth of the time.
//! - A neighbour that is not known is asked for every second, one that has gone stale every ten (`NTF_USE`: the kernel sends
//!   the question, and no packet of ours). Who does not answer is missing.
//! - Every 30 seconds, and when the kernel could not tell all its changes (`ENOBUFS`), everything is read anew.

mod combine;
mod kernel;
mod mirror;
mod monitor;
mod resolver;
mod tag;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

pub use self::resolver::{Outputs, Resolver};
pub(crate) use self::tag::carrier;
pub use self::tag::{Layer, Tag};

/// How a packet for a backend leaves this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The interface it leaves by.
    pub ifindex: u32,
    /// That interface's own address.
    pub source_mac: [u8; 6],
    /// The address of the backend, or of the gateway towards it.
    pub destination_mac: [u8; 6],
    /// Octets that a packet may have on that way.
    pub mtu: u32,
    /// The VLAN that frames are tagged with (IEEE 802.1Q); the interface is the one that carries them then.
    pub vlan: Option<u16>,
    /// The gateway on the way; none where the backend itself is the next hop.
    pub gateway: Option<IpAddr>,
    /// The address that this host would use itself towards the backend.
    pub source: IpAddr,
}

/// What is known about the backends asked for: each is in one of the two maps, once its turn has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NextHops {
    /// The ways that are known.
    pub hops: BTreeMap<IpAddr, NextHop>,
    /// Why there is none, for people.
    pub missing: BTreeMap<IpAddr, String>,
    /// Interfaces that are a tag on another one; none before the kernel has told of its interfaces.
    pub vlans: Option<VlanDevices>,
}

/// Interfaces that are a tag on another one, by number; none of those that the program cannot send by.
pub type VlanDevices = BTreeMap<u32, Option<Tagged>>;

/// What an interface that is a tag really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tagged {
    /// The interface that carries its frames.
    pub parent: u32,
    /// The VLAN that they are tagged with.
    pub id: u16,
}

/// The kernel's answers stopped. [`Resolver::run`] opens new sockets by itself.
#[derive(Debug, thiserror::Error)]
enum NexthopError {
    #[error("cannot ask the kernel for routes and neighbours: {0}")]
    Ask(rtnetlink::Error),
    #[error("cannot hear of changes of routes and neighbours: {0}")]
    Hear(#[from] io::Error),
}

impl From<rtnetlink::Error> for NexthopError {
    fn from(error: rtnetlink::Error) -> Self {
        Self::Ask(error)
    }
}

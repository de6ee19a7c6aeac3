//! The way back to clients: what the kernel's routes say, else where the client's packets came from.

use std::collections::HashMap;
use std::net::IpAddr;

use splitter_ebpf::abi::{CLIENT_HOPS, LEARNED_HOPS};
use splitter_ebpf::hash::{Key, scatter};
use splitter_ebpf::wire::WireAddress;

/// A next hop: MAC addresses as they stand in a frame, and the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hop {
    /// Destination, then source.
    pub(super) macs: [u8; 12],
    pub(super) ifindex: u32,
    /// Bytes that an IP packet may have; 0: as many as it likes.
    pub(super) mtu: u16,
    /// The tag that frames leave with.
    pub(super) tag: Option<u16>,
}

impl Hop {
    pub(super) fn new(destination: [u8; 6], source: [u8; 6], ifindex: u32) -> Self {
        let mut macs = [0; 12];
        macs[..6].copy_from_slice(&destination);
        macs[6..].copy_from_slice(&source);
        Self {
            macs,
            ifindex,
            mtu: 0,
            tag: None,
        }
    }

    /// The same, over a link that asks this of packets.
    pub(super) const fn by(mut self, mtu: u16, tag: Option<u16>) -> Self {
        (self.mtu, self.tag) = (mtu, tag);
        self
    }

    /// Back to where `frame` came from.
    pub(super) fn back(frame: &[u8], ifindex: u32) -> Self {
        let mac = |at: usize| frame[at..at + 6].try_into().expect("six bytes");
        Self::new(mac(6), mac(0), ifindex)
    }
}

/// Both memories. Clients that share a cell push each other out.
#[derive(Debug)]
pub(super) struct WaysBack {
    key: Key,
    /// By cell: a client's hash, and its hop.
    learned: HashMap<u64, (u64, Hop)>,
    /// By cell: a client, and its hop. Emptied when routes change.
    cached: HashMap<u64, (IpAddr, Hop)>,
    /// What the kernel says of the clients that it has a route to.
    routed: Hop,
}

impl WaysBack {
    pub(super) fn new(key: Key, routed: Hop) -> Self {
        Self {
            key,
            learned: HashMap::new(),
            cached: HashMap::new(),
            routed,
        }
    }

    fn hash(&self, client: IpAddr) -> u64 {
        let [a, b] = WireAddress::from(client).halves();
        let word = if client.is_ipv6() {
            a ^ b.rotate_left(31) ^ 6
        } else {
            a
        };
        scatter(self.key, word)
    }

    /// Remembers where a client's frame came from, and with which tag.
    pub(super) fn learn(&mut self, client: IpAddr, hop: Hop) {
        let hash = self.hash(client);
        self.learned.insert(hash % LEARNED_HOPS as u64, (hash, hop));
    }

    /// The hop towards a client.
    pub(super) fn towards(&mut self, client: IpAddr) -> Option<Hop> {
        let hash = self.hash(client);
        let cell = (hash >> 32) % CLIENT_HOPS as u64;
        if let Some((known, hop)) = self.cached.get(&cell)
            && *known == client
        {
            return Some(*hop);
        }
        let learned = self.learned.get(&(hash % LEARNED_HOPS as u64));
        let hop = if is_routed(client) {
            self.routed
        } else {
            learned.filter(|(whose, _)| *whose == hash)?.1
        };
        self.cached.insert(cell, (client, hop));
        Some(hop)
    }

    /// Routes may have changed.
    pub(super) fn forget_routes(&mut self) {
        self.cached.clear();
    }
}

/// Whether the kernel has a route to a client ([`route_to_clients`](crate::rig::route_to_clients)).
pub(super) fn is_routed(client: IpAddr) -> bool {
    match client {
        IpAddr::V4(v4) => v4.octets()[..2] == [198, 19],
        IpAddr::V6(v6) => v6.segments()[..3] == [0x2001, 0xdb8, 0xc],
    }
}

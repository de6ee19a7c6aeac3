//! What the hashes of a new flow cover, and where in the tables they lead.

use std::net::{IpAddr, SocketAddr};

use splitter_ebpf::abi::MAGLEV;
use splitter_ebpf::hash::{Key, siphash13};

use super::rewrite::octets;
use super::split::Listener;
use super::steering::Split;

/// The slot of a new flow, and its entry in its track's table.
pub(super) fn place(split: &Split, client: SocketAddr, listener: &Listener) -> (u16, usize) {
    let tuple = flow(client, listener);
    let Some(affinity) = split.by_client else {
        // Disjoint bits of one hash.
        let hash = hash(split.keys.slot, &tuple);
        return (slot(hash), entry(hash));
    };
    let client = prefix(client.ip(), affinity.bits);
    let within = if affinity.backend { &client } else { &tuple };
    (
        slot(hash(split.keys.slot, &client)),
        entry(hash(split.keys.backend, within)),
    )
}

/// A flow: both addresses, both ports and the protocol, as they lie in packets, in whole words.
fn flow(client: SocketAddr, listener: &Listener) -> Vec<u8> {
    let mut bytes = [octets(client.ip()), octets(listener.at.ip())].concat();
    bytes.extend(client.port().to_be_bytes());
    bytes.extend(listener.at.port().to_be_bytes());
    bytes.extend([listener.protocol, 0, 0, 0]);
    bytes
}

/// The first bits of an address, in whole words.
fn prefix(client: IpAddr, [v4, v6]: [u8; 2]) -> Vec<u8> {
    let bits = usize::from(if client.is_ipv6() { v6 } else { v4 });
    let mut bytes = octets(client);
    for bit in bits..bytes.len() * 8 {
        bytes[bit / 8] &= !(0x80 >> (bit % 8));
    }
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn hash(key: Key, bytes: &[u8]) -> u64 {
    let word = |at: usize| {
        let bytes = bytes[at * 8..at * 8 + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(bytes)
    };
    match bytes.len() {
        8 => siphash13(key, [word(0)]),
        16 => siphash13(key, [word(0), word(1)]),
        _ => siphash13(key, std::array::from_fn::<_, 5, _>(word)),
    }
}

/// The lower bits are the slot.
fn slot(hash: u64) -> u16 {
    u16::try_from(hash & 0xffff).expect("16 bits")
}

/// The upper half is the part of the table that lies before the entry (Lemire, 2019).
fn entry(hash: u64) -> usize {
    let entry = ((hash >> 32) * MAGLEV as u64) >> 32;
    usize::try_from(entry).expect("within a table")
}

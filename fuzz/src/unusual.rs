//! Packets whose headers lie anywhere, and those that ICMP errors quote.

use splitter_ebpf::headers::{ETHERNET, Frame, ICMP_HEADER};
use splitter_ebpf::unusual::quote::{Message, message, quote};
use splitter_ebpf::unusual::rewrite::{Ends, ends, error};
use splitter_ebpf::unusual::{Part, address, addresses, has_ports, segment, walk};
use splitter_ebpf::wire::{Family, ICMP, ICMPV6, WireAddress, WirePort};

use crate::sums;

/// Bytes before the frame: two addresses and two ports.
const ORDERS: usize = 36;

fn family_of(frame: &[u8]) -> Option<Family> {
    match frame.get(12..14)? {
        [8, 0] if frame.len() >= ETHERNET + 20 => Some(Family::V4),
        [0x86, 0xdd] if frame.len() >= ETHERNET + 40 => Some(Family::V6),
        _ => None,
    }
}

fn new_ends(orders: &[u8], family: Family) -> Ends {
    let side = |at: usize| {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(orders[at..at + 16].chunks_exact(4)) {
            *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        if family == Family::V4 {
            words[1..].fill(0);
        }
        let port = u16::from_ne_bytes([orders[at + 16], orders[at + 17]]);
        (WireAddress(words), WirePort(port))
    };
    Ends {
        source: side(0),
        destination: side(18),
    }
}

/// A packet with ports behind options or extension headers, whole or a first fragment: what is found lies
/// in the frame; with other ends it is as long and as right as it was, and with its own again the same.
pub fn fragments(data: &[u8]) {
    let Some((orders, frame)) = data.split_at_checked(ORDERS) else {
        return;
    };
    let Some(family) = family_of(frame) else {
        return;
    };
    let mut bytes = frame.to_vec();
    let length = bytes.len();
    let Some(extent) = walk(&Frame(&mut bytes), family, length) else {
        return;
    };
    assert!(extent.l3 < extent.l4 && extent.l4 <= extent.end && extent.end <= length);
    if extent.refusal.is_some() || extent.part == Part::Later || !has_ports(extent.protocol) {
        return;
    }
    let Some((found, _)) = segment(&Frame(&mut bytes), family, &extent) else {
        return;
    };
    let old = Ends {
        source: (found.source, found.source_port),
        destination: (found.destination, found.destination_port),
    };
    let new = new_ends(orders, family);
    let right = |frame: &[u8]| {
        (extent.part == Part::Whole).then(|| sums::transport_is_right(frame, family, &extent))
    };
    let before = right(frame);
    ends(&mut Frame(&mut bytes), family, &extent, &new);
    assert_eq!(before, right(&bytes), "checksums there");
    let Some((now, _)) = segment(&Frame(&mut bytes), family, &extent) else {
        panic!("a segment with other ends is none");
    };
    assert_eq!((now.source, now.source_port), new.source);
    assert_eq!((now.destination, now.destination_port), new.destination);
    ends(&mut Frame(&mut bytes), family, &extent, &old);
    assert_eq!(before, right(&bytes), "checksums back");
    sums::same_but_for_zeros(frame, &bytes);
}

/// An ICMP error: what it quotes lies in the frame; it and its quotation get other ends, and the error is
/// as right as it was; with its own ends again it is the same.
pub fn errors(data: &[u8]) {
    let Some((orders, frame)) = data.split_at_checked(ORDERS) else {
        return;
    };
    let Some(family) = family_of(frame) else {
        return;
    };
    let mut bytes = frame.to_vec();
    let length = bytes.len();
    let icmp = if family == Family::V4 { ICMP } else { ICMPV6 };
    let extent = match walk(&Frame(&mut bytes), family, length) {
        Some(extent) if extent.protocol == icmp && extent.part == Part::Whole => extent,
        _ => return,
    };
    if extent.l4 + ICMP_HEADER > extent.end
        || message(&Frame(&mut bytes), family, extent.l4) != Message::Error
    {
        return;
    }
    let Some(quote) = quote(&Frame(&mut bytes), family, &extent) else {
        return;
    };
    assert!(quote.extent.l3 < quote.extent.l4 && quote.extent.l4 + 4 <= extent.end);
    let old = Ends {
        source: quote.source,
        destination: quote.destination,
    };
    let (source, destination) = addresses(family);
    let hosts = [source, destination].map(|at| address(&Frame(&mut bytes), family, ETHERNET + at));
    let new = new_ends(orders, family);
    let before = sums::icmp_at_is_right(frame, family, &extent);
    let mut put = |ends: &Ends, hosts: (WireAddress, WireAddress)| {
        error(&mut Frame(&mut bytes), family, &extent, &quote, ends, hosts);
        bytes.clone()
    };
    let there = put(&new, (new.destination.0, new.source.0));
    assert_eq!(
        before,
        sums::icmp_at_is_right(&there, family, &extent),
        "there"
    );
    let back = put(&old, (hosts[0], hosts[1]));
    assert_eq!(
        before,
        sums::icmp_at_is_right(&back, family, &extent),
        "back"
    );
    sums::same_but_for_zeros(frame, &back);
}

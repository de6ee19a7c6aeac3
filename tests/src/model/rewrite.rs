//! Packets as they leave: addresses, ports, TTL, checksums by 16-bit words (RFC 1624 equation 3).

use std::net::{IpAddr, SocketAddr};

use splitter_ebpf::wire::{ICMP, TCP, UDP};

use super::packet::{ETHERNET, Headers, number};
use super::quote::Quote;
use super::shape::Shape;

/// Which end is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Destination,
}

/// An address as it lies in a packet.
pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The checksum after some bytes it covers have changed; both are of even length and place.
fn adjusted(checksum: usize, old: &[u8], new: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> Vec<u32> {
        bytes
            .chunks(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
            .collect()
    };
    let mut sum = 0xffff - u32::try_from(checksum).expect("16 bits");
    for (old, new) in words(old).into_iter().zip(words(new)) {
        sum += 0xffff - old + new;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    0xffff - u16::try_from(sum).expect("folded")
}

/// Writes `new` at `at`, and adjusts the checksum at `sum` if one is given.
fn replace(frame: &mut [u8], at: usize, new: &[u8], sums: &[usize]) {
    for sum in sums {
        let changed = adjusted(number(frame, *sum), &frame[at..at + new.len()], new);
        frame[*sum..sum + 2].copy_from_slice(&changed.to_be_bytes());
    }
    frame[at..at + new.len()].copy_from_slice(new);
}

/// Where the source address lies in an IP header, and how long it is.
const fn source(v6: bool) -> (usize, usize) {
    if v6 { (8, 16) } else { (12, 4) }
}

/// Where the checksum of a TCP or UDP header at `l4` lies.
const fn sum_at(protocol: u8, l4: usize) -> usize {
    if protocol == TCP { l4 + 16 } else { l4 + 6 }
}

/// Puts an address and a port at one end of a segment.
pub(super) fn translate(frame: &mut [u8], end: End, to: SocketAddr, segment: &Headers) {
    let sum = sum_at(segment.protocol, segment.l4);
    put(
        frame,
        end,
        to,
        [ETHERNET, segment.l4],
        Some(sum),
        segment.protocol,
    );
}

/// Puts an address and a port at one end of a packet whose headers are at these places; the checksum of
/// TCP or UDP may be beyond what is there.
fn put(
    frame: &mut [u8],
    end: End,
    to: SocketAddr,
    [l3, l4]: [usize; 2],
    sum: Option<usize>,
    protocol: u8,
) {
    let v6 = to.is_ipv6();
    let (source, size) = source(v6);
    let (address_at, port_at) = match end {
        End::Source => (l3 + source, l4),
        End::Destination => (l3 + source + size, l4 + 2),
    };
    // Without a checksum there is none to keep (RFC 768).
    let sum = sum.filter(|sum| protocol != UDP || number(frame, *sum) != 0);
    let l4_sums: Vec<usize> = sum.into_iter().collect();
    let mut sums = l4_sums.clone();
    if !v6 {
        sums.push(l3 + 10);
    }
    replace(frame, address_at, &octets(to.ip()), &sums);
    replace(frame, port_at, &to.port().to_be_bytes(), &l4_sums);
    if let Some(sum) = sum
        && protocol == UDP
        && number(frame, sum) == 0
    {
        frame[sum..sum + 2].copy_from_slice(&[0xff; 2]);
    }
}

/// Gives a packet these addresses: nothing of it but IPv4's own checksum covers them.
pub(super) fn hosts(frame: &mut [u8], v6: bool, hosts: [IpAddr; 2]) {
    let (source, size) = source(v6);
    let sums: &[usize] = if v6 { &[] } else { &[ETHERNET + 10] };
    for (place, host) in [source, source + size].into_iter().zip(hosts) {
        replace(frame, ETHERNET + place, &octets(host), sums);
    }
}

/// Lets an ICMP error be between two hosts and speak of a packet between two ends: every checksum that
/// covers any of that goes on to be as right or wrong as it was.
pub(super) fn error(
    frame: &mut [u8],
    shape: &Shape,
    quote: &Quote,
    [from, to]: [SocketAddr; 2],
    between: [IpAddr; 2],
) {
    let (inner, before) = (&quote.shape, frame.to_vec());
    let sum = Some(sum_at(inner.protocol, inner.l4)).filter(|at| at + 2 <= inner.end);
    for (end, to) in [(End::Source, from), (End::Destination, to)] {
        put(frame, end, to, [inner.l3, inner.l4], sum, inner.protocol);
    }
    hosts(frame, shape.v6, between);
    // ICMPv6 covers the addresses that it is between, ICMP does not (RFC 4443 section 2.3).
    let body = shape.l4 + 4;
    let addresses = if shape.v6 { 8..40 } else { 0..0 };
    let covered = [
        body..body + (shape.end - body) / 2 * 2,
        ETHERNET + addresses.start..ETHERNET + addresses.end,
    ];
    let covers = |frame: &[u8]| -> Vec<u8> {
        let parts = covered.iter().map(|part| &frame[part.clone()]);
        parts.collect::<Vec<_>>().concat()
    };
    let at = shape.l4 + 2;
    let sum = adjusted(number(&before, at), &covers(&before), &covers(frame));
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Carries a packet inside another one from one address to another (RFC 2003, RFC 2473); `label` is the
/// IPv6 flow label.
pub(super) fn encapsulate(frame: &mut Vec<u8>, from: IpAddr, to: IpAddr, label: u32) {
    let inner = &frame[ETHERNET..];
    let mut outer = Vec::new();
    if to.is_ipv6() {
        let first = number(inner, 0) & 0x0ff0 | 0x6000;
        let word = (u32::try_from(first).expect("16 bits") << 16) | label & 0xf_ffff;
        let length = u16::try_from(number(inner, 4) + 40).expect("short packets");
        outer.extend(word.to_be_bytes());
        outer.extend(length.to_be_bytes());
        outer.extend([41, 64]);
        outer.extend([octets(from), octets(to)].concat());
    } else {
        let length = u16::try_from(number(inner, 2) + 20).expect("short packets");
        outer.extend([0x45, inner[1]]);
        outer.extend(length.to_be_bytes());
        outer.extend([0, 0, 0x40, 0, 64, 4, 0, 0]);
        outer.extend([octets(from), octets(to)].concat());
        let sum = (!total(&[&outer])).to_be_bytes();
        outer[10..12].copy_from_slice(&sum);
    }
    frame.splice(ETHERNET..ETHERNET, outer);
}

/// Takes one hop off.
pub(super) fn hop(frame: &mut [u8], v6: bool) {
    if v6 {
        frame[ETHERNET + 7] -= 1;
        return;
    }
    let word = [frame[ETHERNET + 8] - 1, frame[ETHERNET + 9]];
    replace(frame, ETHERNET + 8, &word, &[ETHERNET + 10]);
}

/// Turns an echo request into its reply.
pub(super) fn echo(frame: &mut [u8], v6: bool) {
    let (source, size, l4, reply) = if v6 {
        (ETHERNET + 8, 16, ETHERNET + 40, 129)
    } else {
        (ETHERNET + 12, 4, ETHERNET + 20, 0)
    };
    // Swapped, they sum up to the same.
    let (before, after) = frame.split_at_mut(source + size);
    before[source..].swap_with_slice(&mut after[..size]);
    if v6 {
        frame[ETHERNET + 7] = 64;
    } else {
        let word = [64, frame[ETHERNET + 9]];
        replace(frame, ETHERNET + 8, &word, &[ETHERNET + 10]);
    }
    let word = [reply, frame[l4 + 1]];
    replace(frame, l4, &word, &[l4 + 2]);
    let (destination, source) = frame.split_at_mut(6);
    destination.swap_with_slice(&mut source[..6]);
}

/// Whether every checksum of a whole TCP, UDP or ICMP packet is right, summed up in full.
pub(super) fn is_valid(frame: &[u8], shape: &Shape) -> bool {
    let ip = &frame[shape.l3..];
    let l4 = &frame[shape.l4..shape.end];
    let pseudo = if shape.v6 { &ip[8..40] } else { &ip[12..20] };
    if !shape.v6 && total(&[&ip[..shape.l4 - shape.l3]]) != 0xffff {
        return false;
    }
    if shape.protocol == ICMP {
        return total(&[l4]) == 0xffff;
    }
    if shape.protocol == UDP && number(l4, 6) == 0 {
        return !shape.v6;
    }
    // UDP has a length of its own (RFC 768), which the pseudo header takes.
    let length = if shape.protocol == UDP {
        number(l4, 4)
    } else {
        l4.len()
    };
    let rest = [
        [0, shape.protocol],
        u16::try_from(length).expect("16 bits").to_be_bytes(),
    ]
    .concat();
    total(&[pseudo, &rest, &l4[..length]]) == 0xffff
}

/// The one's complement sum of parts; the last alone may be of odd length.
pub(super) fn total(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded")
}

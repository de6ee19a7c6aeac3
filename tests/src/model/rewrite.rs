//! Packets as they leave: addresses, ports, TTL, checksums by 16-bit words (RFC 1624 equation 3).

use std::net::{IpAddr, SocketAddr};

use splitter_ebpf::wire::{TCP, UDP};

use super::packet::{ETHERNET, number};

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

/// Puts an address and a port at one end.
pub(super) fn translate(frame: &mut [u8], end: End, to: SocketAddr, protocol: u8) {
    let v6 = to.is_ipv6();
    let (l4, source, size) = if v6 {
        (ETHERNET + 40, ETHERNET + 8, 16)
    } else {
        (ETHERNET + 20, ETHERNET + 12, 4)
    };
    let (address_at, port_at) = match end {
        End::Source => (source, l4),
        End::Destination => (source + size, l4 + 2),
    };
    let sum = if protocol == TCP { l4 + 16 } else { l4 + 6 };
    // Without a checksum there is none to keep (RFC 768).
    let unsummed = protocol == UDP && number(frame, sum) == 0;
    let l4_sums: &[usize] = if unsummed { &[] } else { &[sum] };
    let mut sums = l4_sums.to_vec();
    if !v6 {
        sums.push(ETHERNET + 10);
    }
    replace(frame, address_at, &octets(to.ip()), &sums);
    replace(frame, port_at, &to.port().to_be_bytes(), l4_sums);
    if protocol == UDP && !unsummed && number(frame, sum) == 0 {
        frame[sum..sum + 2].copy_from_slice(&[0xff; 2]);
    }
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

/// Whether every checksum of a TCP or UDP packet is right, summed up in full; `None` for other packets.
pub(super) fn is_valid(frame: &[u8], v6: bool, protocol: u8) -> bool {
    let ip = &frame[ETHERNET..];
    let (pseudo, l4, length) = if v6 {
        (&ip[8..40], &ip[40..], number(ip, 4))
    } else {
        (&ip[12..20], &ip[20..], number(ip, 2) - 20)
    };
    if !v6 && total(&[&ip[..20]]) != 0xffff {
        return false;
    }
    if protocol == UDP && number(l4, 6) == 0 {
        return !v6;
    }
    // UDP has a length of its own (RFC 768), which the pseudo header takes.
    let length = if protocol == UDP {
        number(l4, 4)
    } else {
        length
    };
    let rest = [
        [0, protocol],
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

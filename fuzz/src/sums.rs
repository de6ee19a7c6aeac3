//! Checksums in full (RFC 1071), and what of a packet a translation must leave alone.

use splitter_ebpf::headers::ETHERNET;
use splitter_ebpf::unusual::Extent;
use splitter_ebpf::wire::{Family, UDP};

/// The one's complement sum of `parts`, of which the last alone may be of odd length.
fn total(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u64::from(u16::from_be_bytes([
            pair[0],
            pair.get(1).copied().unwrap_or(0),
        ]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded")
}

fn number(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

/// Where the transport begins, and how long the IP header says that it is.
fn transport(frame: &[u8], family: Family) -> (usize, usize) {
    match family {
        Family::V4 => (
            ETHERNET + 20,
            number(frame, ETHERNET + 2).saturating_sub(20),
        ),
        Family::V6 => (ETHERNET + 40, number(frame, ETHERNET + 4)),
    }
}

fn header_is_right(frame: &[u8], family: Family) -> bool {
    family == Family::V6 || total(&[&frame[ETHERNET..ETHERNET + 20]]) == 0xffff
}

/// Whether the header's and the transport's checksum are right; of UDP without one it is.
pub(crate) fn right(frame: &[u8], family: Family, protocol: u8) -> [bool; 2] {
    let (l4, mut length) = transport(frame, family);
    if protocol == UDP {
        if number(frame, l4 + 6) == 0 {
            return [header_is_right(frame, family), true];
        }
        length = number(frame, l4 + 4);
    }
    let addresses = match family {
        Family::V4 => &frame[ETHERNET + 12..ETHERNET + 20],
        Family::V6 => &frame[ETHERNET + 8..ETHERNET + 40],
    };
    let size = u16::try_from(length)
        .expect("a length of 16 bits")
        .to_be_bytes();
    let rest = [0, protocol, size[0], size[1]];
    let sum = total(&[addresses, &rest, &frame[l4..l4 + length]]);
    [header_is_right(frame, family), sum == 0xffff]
}

/// The same of an ICMP or ICMPv6 message.
pub(crate) fn icmp_is_right(frame: &[u8], family: Family) -> [bool; 2] {
    let (l4, length) = transport(frame, family);
    let message = &frame[l4..l4 + length];
    let sum = match family {
        Family::V4 => total(&[message]),
        Family::V6 => {
            let size = u16::try_from(length)
                .expect("a length of 16 bits")
                .to_be_bytes();
            let rest = [0, 0, size[0], size[1], 0, 0, 0, 58];
            total(&[&frame[ETHERNET + 8..ETHERNET + 40], &rest, message])
        }
    };
    [header_is_right(frame, family), sum == 0xffff]
}

/// The frame without its checksums, `hops` further on.
pub(crate) fn but_sums(frame: &[u8], family: Family, protocol: u8, hops: u8) -> Vec<u8> {
    let mut rest = frame.to_vec();
    let (l4, _) = transport(frame, family);
    let sum = l4 + if protocol == UDP { 6 } else { 16 };
    rest[sum..sum + 2].fill(0);
    match family {
        Family::V4 => {
            rest[ETHERNET + 10..ETHERNET + 12].fill(0);
            rest[ETHERNET + 8] -= hops;
        }
        Family::V6 => rest[ETHERNET + 7] -= hops,
    }
    rest
}

/// Without addresses and ports, too.
pub(crate) fn but_sums_and_places(frame: &[u8], family: Family, protocol: u8, hops: u8) -> Vec<u8> {
    let mut rest = but_sums(frame, family, protocol, hops);
    let (l4, _) = transport(frame, family);
    let addresses = match family {
        Family::V4 => ETHERNET + 12,
        Family::V6 => ETHERNET + 8,
    };
    rest[addresses..l4 + 4].fill(0);
    rest
}

/// Whether the checksums of a packet with ports, whose headers lie as `extent` says, are right.
pub(crate) fn transport_is_right(frame: &[u8], family: Family, extent: &Extent) -> [bool; 2] {
    let header = family == Family::V6 || total(&[&frame[ETHERNET..extent.l4]]) == 0xffff;
    let (l4, mut end) = (extent.l4, extent.end);
    if extent.protocol == UDP {
        if number(frame, l4 + 6) == 0 {
            return [header, true];
        }
        end = l4 + number(frame, l4 + 4);
    }
    let pseudo = pseudo(frame, family, extent.protocol, end - l4);
    [header, total(&[&pseudo, &frame[l4..end]]) == 0xffff]
}

/// The same of an ICMP or ICMPv6 message.
pub(crate) fn icmp_at_is_right(frame: &[u8], family: Family, extent: &Extent) -> [bool; 2] {
    let header = family == Family::V6 || total(&[&frame[ETHERNET..extent.l4]]) == 0xffff;
    let message = &frame[extent.l4..extent.end];
    let pseudo = match family {
        Family::V4 => Vec::new(),
        Family::V6 => pseudo(frame, family, 58, message.len()),
    };
    [header, total(&[&pseudo, message]) == 0xffff]
}

/// The pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1).
fn pseudo(frame: &[u8], family: Family, protocol: u8, length: usize) -> Vec<u8> {
    let addresses = match family {
        Family::V4 => &frame[ETHERNET + 12..ETHERNET + 20],
        Family::V6 => &frame[ETHERNET + 8..ETHERNET + 40],
    };
    let size = u16::try_from(length)
        .expect("a length of 16 bits")
        .to_be_bytes();
    [addresses, &[0, protocol], &size].concat()
}

/// Both frames are the same, but that a 16-bit word of zeros may have become one of ones or the other way
/// round: both are nothing in one's complement.
pub(crate) fn same_but_for_zeros(before: &[u8], after: &[u8]) {
    assert_eq!(before.len(), after.len());
    for (at, (a, b)) in before.iter().zip(after).enumerate() {
        let zeros = [0, 0xff].contains(a) && [0, 0xff].contains(b);
        assert!(a == b || zeros, "byte {at} was {a:02x} and is {b:02x}");
    }
}

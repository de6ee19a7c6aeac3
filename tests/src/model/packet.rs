//! Reading frames, byte by byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use splitter_ebpf::wire::{ICMP, ICMPV6, TCP, UDP};

/// Length of an Ethernet header.
pub(super) const ETHERNET: usize = 14;

/// A frame's headers, as far as they can be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// Not IP.
    Nothing,
    /// IP from one address to another, but no plain TCP or UDP segment.
    Unusual([IpAddr; 2]),
    /// A plain TCP or UDP segment: no options, no extension headers, no fragment.
    Segment(Headers),
}

/// A TCP or UDP segment's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) protocol: u8,
    pub(super) flags: u8,
    pub(super) ttl: u8,
    pub(super) content: Content,
    /// Bytes of the IP packet.
    pub(super) total: usize,
    /// It may not be fragmented.
    pub(super) whole: bool,
    /// Where its own header lies in the frame.
    pub(super) l4: usize,
    /// Nothing stands between the headers of IP and its own.
    pub(super) plain: bool,
    /// It is a first fragment: the rest of it is in others.
    pub(super) first: bool,
}

/// What a segment's lengths say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// They contradict each other, or the frame.
    Contradictory,
    /// A header alone.
    Nothing,
    /// Data.
    Data,
}

/// The 16-bit number at `at`.
pub(super) fn number(frame: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]))
}

/// An IPv4 or IPv6 address at `at`.
pub(super) fn address(frame: &[u8], at: usize, v6: bool) -> IpAddr {
    if v6 {
        let octets: [u8; 16] = frame[at..at + 16].try_into().expect("sixteen bytes");
        return Ipv6Addr::from(octets).into();
    }
    let octets: [u8; 4] = frame[at..at + 4].try_into().expect("four bytes");
    Ipv4Addr::from(octets).into()
}

/// Reads a frame without tags.
pub(super) fn read(frame: &[u8]) -> Known {
    match number(frame, 12) {
        0x0800 => read_v4(frame),
        0x86dd => read_v6(frame),
        _ => Known::Nothing,
    }
}

fn read_v4(frame: &[u8]) -> Known {
    let ip = &frame[ETHERNET..];
    if ip.len() < 20 || ip[0] >> 4 != 4 {
        return Known::Nothing;
    }
    let ends = [address(ip, 12, false), address(ip, 16, false)];
    if ip[0] & 15 != 5 || number(ip, 6) & 0x3fff != 0 {
        return Known::Unusual(ends);
    }
    let length = number(ip, 2).checked_sub(20);
    read_segment(&ip[20..], length, ends, ip[9], ip[8], ip[6] & 0x40 != 0)
}

fn read_v6(frame: &[u8]) -> Known {
    let ip = &frame[ETHERNET..];
    if ip.len() < 40 || ip[0] >> 4 != 6 {
        return Known::Nothing;
    }
    let ends = [address(ip, 8, true), address(ip, 24, true)];
    read_segment(&ip[40..], Some(number(ip, 4)), ends, ip[6], ip[7], true)
}

/// A segment behind an IP header that gives it `length` bytes.
fn read_segment(
    l4: &[u8],
    length: Option<usize>,
    [source, destination]: [IpAddr; 2],
    protocol: u8,
    ttl: u8,
    whole: bool,
) -> Known {
    let least = if protocol == TCP { 20 } else { 8 };
    if ![TCP, UDP].contains(&protocol) || l4.len() < least {
        return Known::Unusual([source, destination]);
    }
    let port = |at| u16::from_be_bytes([l4[at], l4[at + 1]]);
    let content = match length {
        Some(length) if length <= l4.len() && protocol == TCP => {
            content(20, usize::from(l4[12] >> 4) * 4, length)
        }
        Some(length) if length <= l4.len() && number(l4, 4) <= length => {
            content(8, 8, number(l4, 4))
        }
        _ => Content::Contradictory,
    };
    let header = if source.is_ipv6() { 40 } else { 20 };
    Known::Segment(Headers {
        from: SocketAddr::new(source, port(0)),
        to: SocketAddr::new(destination, port(2)),
        protocol,
        flags: if protocol == TCP { l4[13] } else { 0 },
        ttl,
        content,
        total: length.unwrap_or(0) + header,
        whole,
        l4: ETHERNET + header,
        plain: true,
        first: false,
    })
}

/// What lies behind a header of `header` bytes, at least `least`, of `length` in all.
fn content(least: usize, header: usize, length: usize) -> Content {
    if header < least || length < header {
        Content::Contradictory
    } else if length > header {
        Content::Data
    } else {
        Content::Nothing
    }
}

/// What lies behind tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tagged {
    pub(super) addresses: [IpAddr; 2],
    /// The VLAN.
    pub(super) vlan: u16,
    /// More than one tag, or a service provider's.
    pub(super) stacked: bool,
    pub(super) icmp: bool,
}

/// Whether a frame has a tag.
pub(super) fn is_tagged(frame: &[u8]) -> bool {
    [0x8100, 0x88a8].contains(&number(frame, 12))
}

/// Looks through one or two tags; `None`: not IP.
pub(super) fn read_tagged(frame: &[u8]) -> Option<Tagged> {
    if frame.len() < ETHERNET + 4 {
        return None;
    }
    let two = [0x8100, 0x88a8].contains(&number(frame, 16)) && frame.len() >= ETHERNET + 8;
    let at = if two { ETHERNET + 8 } else { ETHERNET + 4 };
    let ip = &frame[at..];
    let (addresses, protocol) = match number(frame, at - 2) {
        0x0800 if ip.len() >= 20 => ([address(ip, 12, false), address(ip, 16, false)], ip[9]),
        0x86dd if ip.len() >= 40 => ([address(ip, 8, true), address(ip, 24, true)], ip[6]),
        _ => return None,
    };
    Some(Tagged {
        addresses,
        vlan: u16::from_be_bytes([frame[14], frame[15]]) & 0xfff,
        stacked: two || number(frame, 12) == 0x88a8,
        icmp: [ICMP, ICMPV6].contains(&protocol),
    })
}

//! Where the headers of a packet lie, whatever stands between them (RFC 791 section 3.1, RFC 8200
//! section 4), and which part of its packet it is.

use std::net::{IpAddr, SocketAddr};

use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{TCP, UDP};

use super::packet::{Content, ETHERNET, Headers, address, number};

/// Which part of its packet a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// The first fragment.
    First,
    /// Any other.
    Later,
}

/// Where the parts of a packet lie, from the first byte of a frame on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) v6: bool,
    /// The IP header.
    pub(super) l3: usize,
    /// What follows all headers of IP.
    pub(super) l4: usize,
    /// Behind the last byte, as IP says.
    pub(super) end: usize,
    pub(super) protocol: u8,
    pub(super) part: Part,
    /// Bytes before a fragment's data in its packet.
    offset: usize,
    /// More fragments follow.
    more: bool,
    /// Identification of a fragment.
    pub(super) id: u32,
    /// Why it is not carried, if it is ours.
    pub(super) refusal: Option<Reason>,
}

/// Extension headers of one packet that are carried.
const CARRIED: usize = 6;

/// The shape of an IP packet in an untagged frame; `None` if its lengths contradict each other or the
/// frame, or it can be no part of a packet.
pub(super) fn of_frame(frame: &[u8]) -> Option<Shape> {
    let v6 = number(frame, 12) == 0x86dd;
    let mut shape = at(frame, v6, ETHERNET, frame.len())?;
    if shape.end > frame.len() {
        return None;
    }
    if !v6 && !options_are_carried(&frame[ETHERNET + 20..shape.l4]) {
        shape.refusal = Some(Reason::Ipv4Options);
    }
    (shape.part == Part::Whole || makes_sense(&shape)).then_some(shape)
}

/// Whether a fragment can be a part of a packet: all but the last are of multiples of eight bytes (RFC
/// 791, RFC 8200 section 4.5), none is empty or goes beyond 65,535 bytes, and none but the first reaches
/// into a TCP header (RFC 1858).
fn makes_sense(shape: &Shape) -> bool {
    let data = shape.end - shape.l4;
    let overlaps = shape.part == Part::Later && shape.protocol == TCP && shape.offset < 20;
    let right = !shape.more || data.is_multiple_of(8);
    right && data > 0 && shape.offset + data <= 65_535 && !overlaps
}

/// The shape of a packet whose IP header is at `l3`, of which nothing is known from `limit` on.
pub(super) fn at(bytes: &[u8], v6: bool, l3: usize, limit: usize) -> Option<Shape> {
    if v6 {
        at_v6(bytes, l3, limit)
    } else {
        at_v4(bytes, l3, limit)
    }
}

fn part(offset: usize, more: bool) -> Part {
    match (offset, more) {
        (0, false) => Part::Whole,
        (0, true) => Part::First,
        _ => Part::Later,
    }
}

fn at_v4(bytes: &[u8], l3: usize, limit: usize) -> Option<Shape> {
    let ip = bytes.get(l3..limit)?;
    if ip.len() < 20 || ip[0] >> 4 != 4 {
        return None;
    }
    let (header, total) = (usize::from(ip[0] & 15) * 4, number(ip, 2));
    if header < 20 || total < header || ip.len() < header {
        return None;
    }
    let (offset, more) = ((number(ip, 6) & 0x1fff) * 8, ip[6] & 0x20 != 0);
    Some(Shape {
        v6: false,
        l3,
        l4: l3 + header,
        end: l3 + total,
        protocol: ip[9],
        part: part(offset, more),
        offset,
        more,
        id: u32::from(u16::from_be_bytes([ip[4], ip[5]])),
        refusal: None,
    })
}

fn at_v6(bytes: &[u8], l3: usize, limit: usize) -> Option<Shape> {
    let ip = bytes.get(l3..limit)?;
    if ip.len() < 40 || ip[0] >> 4 != 6 {
        return None;
    }
    let end = l3 + 40 + number(ip, 4);
    let bytes = &bytes[..limit.min(end)];
    let mut shape = Shape {
        v6: true,
        l3,
        l4: l3 + 40,
        end,
        protocol: ip[6],
        part: Part::Whole,
        offset: 0,
        more: false,
        id: 0,
        refusal: None,
    };
    let (mut headers, mut cut) = (0, false);
    loop {
        let carried = match shape.protocol {
            // Only directly behind the IPv6 header (RFC 8200 section 4.1).
            0 => headers == 0,
            43 | 60 => true,
            44 => !cut,
            51 | 135 | 139 | 140 => false,
            _ if headers <= CARRIED => return Some(shape),
            _ => false,
        };
        if !carried || headers > CARRIED {
            shape.refusal = Some(Reason::Ipv6Extension);
            return Some(shape);
        }
        let header = bytes.get(shape.l4..)?;
        if header.len() < 8 {
            return None;
        }
        let mut length = 8;
        if shape.protocol == 44 {
            cut = true;
            (shape.offset, shape.more) = (number(header, 2) & 0xfff8, header[3] & 1 != 0);
            shape.part = part(shape.offset, shape.more);
            shape.id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        } else {
            length += usize::from(header[1]) * 8;
            if header.len() < length {
                return None;
            }
            // It has not come to its destination yet.
            if shape.protocol == 43 && header[3] != 0 {
                shape.refusal = Some(Reason::Ipv6Extension);
            }
        }
        shape.protocol = header[0];
        shape.l4 += length;
        headers += 1;
        if shape.part == Part::Later {
            return Some(shape);
        }
    }
}

/// Whether a list of options is whole, and no source route is in it.
fn options_are_carried(mut list: &[u8]) -> bool {
    while let Some(kind) = list.first() {
        let length = match kind {
            0 => return true,
            1 => 1,
            131 | 137 => return false,
            _ => match list.get(1) {
                Some(length) if *length >= 2 => usize::from(*length),
                _ => return false,
            },
        };
        match list.get(length..) {
            Some(rest) => list = rest,
            None => return false,
        }
    }
    true
}

/// The TCP or UDP header of a whole packet or a first fragment; `None` if it is not all there, or its
/// lengths contradict the packet's.
pub(super) fn segment(frame: &[u8], shape: &Shape) -> Option<Headers> {
    let l4 = &frame[shape.l4..shape.end];
    let header = if shape.protocol == TCP {
        usize::from(*l4.get(12)? >> 4) * 4
    } else {
        8
    };
    let least = if shape.protocol == TCP { 20 } else { 8 };
    if header < least || l4.len() < header {
        return None;
    }
    let mut length = l4.len();
    if shape.protocol == UDP {
        length = number(l4, 4);
        // A first fragment has less than its datagram.
        if length < 8 || (shape.part == Part::Whole && length > l4.len()) {
            return None;
        }
    }
    let port = |at| u16::from_be_bytes([l4[at], l4[at + 1]]);
    let ip = &frame[shape.l3..];
    let [from, to] = ends(ip, shape.v6);
    Some(Headers {
        from: SocketAddr::new(from, port(0)),
        to: SocketAddr::new(to, port(2)),
        protocol: shape.protocol,
        flags: if shape.protocol == TCP { l4[13] } else { 0 },
        ttl: hops(ip, shape.v6),
        content: if length > header {
            Content::Data
        } else {
            Content::Nothing
        },
        total: shape.end - shape.l3,
        whole: is_whole(ip, shape.v6),
        l4: shape.l4,
        plain: false,
        first: shape.part == Part::First,
    })
}

/// Source and destination of an IP packet.
pub(super) fn ends(ip: &[u8], v6: bool) -> [IpAddr; 2] {
    let (source, size) = if v6 { (8, 16) } else { (12, 4) };
    [address(ip, source, v6), address(ip, source + size, v6)]
}

/// Hops that an IP packet may take.
pub(super) const fn hops(ip: &[u8], v6: bool) -> u8 {
    if v6 { ip[7] } else { ip[8] }
}

/// Whether no router may cut an IP packet into fragments.
pub(super) const fn is_whole(ip: &[u8], v6: bool) -> bool {
    v6 || ip[6] & 0x40 != 0
}

/// Whether a protocol has ports.
pub(super) const fn has_ports(protocol: u8) -> bool {
    protocol == TCP || protocol == UDP
}

/// Whether ports may follow behind a header that was not read.
pub(super) const fn hides_ports(protocol: u8) -> bool {
    matches!(protocol, 0 | 43 | 44 | 60)
}

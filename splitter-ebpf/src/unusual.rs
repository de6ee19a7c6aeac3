//! Packets that are not a plain segment: headers at offsets of their own, fragments, and ICMP errors.
//!
//! [`walk`] finds where the headers of a packet lie, [`segment`] reads its ports where they are,
//! [`quote`] reads the packet that an ICMP error speaks of, and [`rewrite`] changes what was found. All
//! of it reads at offsets that the packet gives, so it needs a [`Packet`] that takes any.
//!
//! What is carried, and what is not:
//! - IPv4 options (RFC 791 section 3.1) are, but for source routes and lists that do not end where the
//!   header does.
//! - Of IPv6 extension headers (RFC 8200 section 4), hop-by-hop and destination options, a fragment
//!   header, and a routing header that has no segment left, up to [`HEADERS`] together.
//! - Fragments, if the first one holds the whole header of TCP or UDP, and no other one reaches into it
//!   (RFC 1858, RFC 5722, RFC 7112). An IPv6 packet with a fragment header that is not cut is whole
//!   (RFC 6946).

mod extension;
mod option;
pub mod quote;
pub mod rewrite;
mod sight;

#[cfg(test)]
mod tests;

pub use extension::HEADERS;
pub use sight::{Sight, copied};

use crate::headers::{ETHERNET, IPV4, Packet, Segment, TCP_HEADER, UDP_HEADER};
use crate::verdict::Reason;
use crate::wire::{Family, TCP, UDP, WireAddress, WirePort};

/// Which part of its packet a frame holds.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first fragment: ports are here.
    First,
    /// A later fragment: data alone.
    Later,
}

/// Where the parts of an IP packet lie. Places count from the frame's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The IP header.
    pub l3: usize,
    /// What follows all IP headers; the data of a later fragment.
    pub l4: usize,
    /// Behind the last byte, as the packet's own lengths say: of a quoted packet, it lies beyond the
    /// quotation more often than not.
    pub end: usize,
    /// Protocol of what follows. Of a later IPv6 fragment, what the fragment header says.
    pub protocol: u8,
    /// Which part of the packet this is.
    pub part: Part,
    /// Offset of a fragment's data in its packet, in bytes.
    pub offset: usize,
    /// Identification of a fragment, in packet order; IPv4 uses 16 bits.
    pub id: u32,
    /// Why the packet is not carried, if it is ours.
    pub refusal: Option<Reason>,
}

/// More fragments (RFC 791 section 3.1), in host order.
const MORE: u16 = 0x2000;
/// A fragment's offset in units of eight bytes, in host order.
const OFFSET: u16 = 0x1fff;
/// The longest packet that fragments can make up (RFC 791 section 3.1).
const LONGEST: usize = 65_535;

/// Finds the headers of the packet of `family` that a frame of `length` bytes holds behind its Ethernet
/// header. `None` if its lengths contradict each other or the frame, or its fragments could not make up
/// a packet.
#[must_use]
#[inline(always)]
pub fn walk(packet: &impl Packet, family: Family, length: usize) -> Option<Extent> {
    let mut extent = quoted(packet, family, ETHERNET, length)?;
    if extent.end > length {
        return None;
    }
    if matches!(family, Family::V4)
        && extent.refusal.is_none()
        && extent.l4 > extent.l3 + IPV4
        && !option::carried(packet, extent.l3 + IPV4, extent.l4)
    {
        extent.refusal = Some(Reason::Ipv4Options);
    }
    if matches!(extent.part, Part::Whole)
        || makes_sense(&extent, ends_here(packet, family, &extent))
    {
        return Some(extent);
    }
    None
}

/// Whether a fragment is its packet's last.
#[inline(always)]
fn ends_here(packet: &impl Packet, family: Family, extent: &Extent) -> bool {
    match family {
        Family::V4 => u16::from_be(packet.half(extent.l3 + 6)) & MORE == 0,
        // Only a later fragment can be the last, and of those nothing is read behind the header.
        Family::V6 => matches!(extent.part, Part::Later) && packet.byte(extent.l4 - 5) & 1 == 0,
    }
}

/// Whether a fragment can be a part of a packet that reaches its receiver as we saw it: all but the last
/// are of multiples of eight bytes, none ends beyond what a packet can be, and none but the first lies
/// where TCP has its header (RFC 1858 section 3, RFC 5722 section 4).
#[inline(always)]
fn makes_sense(extent: &Extent, last: bool) -> bool {
    let data = extent.end - extent.l4;
    let into_header =
        matches!(extent.part, Part::Later) && extent.protocol == TCP && extent.offset < TCP_HEADER;
    // Of a first IPv6 fragment, headers behind the fragment header are in multiples of eight too.
    (last || data.is_multiple_of(8)) && data > 0 && extent.offset + data <= LONGEST && !into_header
}

/// Finds the headers of a packet of `family` at `l3`, of which the frame holds what lies before `limit`.
/// `None` if they do not all lie there, or contradict each other.
#[must_use]
#[inline(always)]
pub fn quoted(packet: &impl Packet, family: Family, l3: usize, limit: usize) -> Option<Extent> {
    match family {
        Family::V4 => walk_v4(packet, l3, limit),
        Family::V6 => extension::walk(packet, l3, limit),
    }
}

#[inline(always)]
fn walk_v4(packet: &impl Packet, l3: usize, limit: usize) -> Option<Extent> {
    if l3 + IPV4 > limit {
        return None;
    }
    let version_ihl = packet.byte(l3);
    let header = (version_ihl & 15) as usize * 4;
    let total = u16::from_be(packet.half(l3 + 2)) as usize;
    if version_ihl >> 4 != 4 || header < IPV4 || total < header || l3 + header > limit {
        return None;
    }
    let fragment = u16::from_be(packet.half(l3 + 6));
    let offset = (fragment & OFFSET) as usize * 8;
    Some(Extent {
        l3,
        l4: l3 + header,
        end: l3 + total,
        protocol: packet.byte(l3 + 9),
        part: part(offset, fragment & MORE != 0),
        offset,
        id: packet.half(l3 + 4) as u32,
        refusal: None,
    })
}

#[inline(always)]
const fn part(offset: usize, more: bool) -> Part {
    if offset != 0 {
        Part::Later
    } else if more {
        Part::First
    } else {
        Part::Whole
    }
}

/// An address of `family` at `at`.
#[must_use]
#[inline(always)]
pub fn address(packet: &impl Packet, family: Family, at: usize) -> WireAddress {
    match family {
        Family::V4 => WireAddress::v4(packet.word(at)),
        Family::V6 => WireAddress::from_halves([packet.long(at), packet.long(at + 8)]),
    }
}

/// Where source and destination lie in an IP header of `family`.
#[must_use]
#[inline(always)]
pub const fn addresses(family: Family) -> (usize, usize) {
    match family {
        Family::V4 => (12, 16),
        Family::V6 => (8, 24),
    }
}

/// Reads the TCP or UDP header of a packet that [`walk`] found, whole or a first fragment, and whether
/// data follows it. `None` if it is not all there, or its lengths contradict those of the packet.
#[must_use]
#[inline(always)]
pub fn segment(packet: &impl Packet, family: Family, extent: &Extent) -> Option<(Segment, bool)> {
    let l4 = extent.l4;
    let length = extent.end - l4;
    let (flags, payload) = if extent.protocol == TCP {
        if length < TCP_HEADER {
            return None;
        }
        let header = (packet.byte(l4 + 12) >> 4) as usize * 4;
        if header < TCP_HEADER || header > length {
            return None;
        }
        (packet.byte(l4 + 13), length > header)
    } else {
        if length < UDP_HEADER {
            return None;
        }
        let datagram = u16::from_be(packet.half(l4 + 4)) as usize;
        // A first fragment holds less than its datagram.
        let most = match extent.part {
            Part::Whole => length,
            Part::First | Part::Later => LONGEST,
        };
        if datagram < UDP_HEADER || datagram > most {
            return None;
        }
        (0, datagram > UDP_HEADER)
    };
    let (source, destination) = addresses(family);
    let segment = Segment {
        source: address(packet, family, extent.l3 + source),
        destination: address(packet, family, extent.l3 + destination),
        source_port: WirePort(packet.half(l4)),
        destination_port: WirePort(packet.half(l4 + 2)),
        protocol: extent.protocol,
        flags,
    };
    Some((segment, payload))
}

/// Whether a protocol has ports, so that a packet of it can be a listener's.
#[must_use]
#[inline(always)]
pub const fn has_ports(protocol: u8) -> bool {
    protocol == TCP || protocol == UDP
}

/// Whether a packet whose headers were not followed to their end, at `protocol`, may yet have ports
/// behind them. The others that are refused hide what they carry, or are no client's of ours.
#[must_use]
#[inline(always)]
pub const fn may_have_ports(protocol: u8) -> bool {
    has_ports(protocol) || extension::is_carried(protocol)
}

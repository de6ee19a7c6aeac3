//! The packet that an ICMP error speaks of: it lies behind the error's own header, cut short (RFC 792,
//! RFC 4443 section 2.4 c).

use super::{Extent, Part, address, addresses, has_ports, quoted};
use crate::headers::{ICMP_HEADER, Packet};
use crate::wire::{Family, ICMP, ICMPV6, WireAddress, WirePort};

/// An address and a port.
pub type Side = (WireAddress, WirePort);

/// A TCP or UDP packet that an ICMP error quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// Where the ICMP header lies.
    pub icmp: usize,
    /// Where the quoted packet's parts lie. Its end is that of the quotation.
    pub extent: Extent,
    /// Who sent the quoted packet.
    pub source: Side,
    /// To whom.
    pub destination: Side,
}

/// What an ICMP message is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// An echo request.
    EchoRequest,
    /// An error about a packet, for the packet's sender to know.
    Error,
    /// An error that is not followed: redirects, source quench (RFC 6633), and numbers of errors that
    /// have no meaning yet.
    OtherError,
    /// Anything else.
    Other,
}

/// What the ICMP or ICMPv6 message at `at` is, by its type and code.
#[must_use]
#[inline(always)]
pub fn message(packet: &impl Packet, family: Family, at: usize) -> Message {
    let (kind, code) = (packet.byte(at), packet.byte(at + 1));
    match (family, kind) {
        (Family::V4, 8) | (Family::V6, 128) if code == 0 => Message::EchoRequest,
        // Unreachable, time exceeded, parameter problem (RFC 792); the same and packet too big
        // (RFC 4443 section 3).
        (Family::V4, 3 | 11 | 12) | (Family::V6, 1..=4) => Message::Error,
        (Family::V4, 4 | 5) | (Family::V6, 0..=127) => Message::OtherError,
        _ => Message::Other,
    }
}

/// Reads the packet that the error in `error` quotes: at least its IP headers and eight bytes behind
/// them, where TCP and UDP have their ports. `None` if that is not there, or has no ports to go by.
#[must_use]
#[inline(always)]
pub fn quote(packet: &impl Packet, family: Family, error: &Extent) -> Option<Quote> {
    let protocol = match family {
        Family::V4 => ICMP,
        Family::V6 => ICMPV6,
    };
    let icmp = error.l4;
    let l3 = icmp + ICMP_HEADER;
    if error.protocol != protocol || !matches!(error.part, Part::Whole) || l3 > error.end {
        return None;
    }
    let limit = quotation_ends(packet, family, icmp, error.end);
    let mut extent = quoted(packet, family, l3, limit)?;
    if extent.end > limit {
        extent.end = limit;
    }
    let l4 = extent.l4;
    if !has_ports(extent.protocol)
        || extent.refusal.is_some()
        || matches!(extent.part, Part::Later)
        || l4 + 8 > extent.end
    {
        return None;
    }
    let (source, destination) = addresses(family);
    Some(Quote {
        icmp,
        extent,
        source: (
            address(packet, family, l3 + source),
            WirePort(packet.half(l4)),
        ),
        destination: (
            address(packet, family, l3 + destination),
            WirePort(packet.half(l4 + 2)),
        ),
    })
}

/// Where the quotation ends in an ICMP message that ends at `end`: extensions may follow it, and then
/// its length is given (RFC 4884 section 4).
#[inline(always)]
fn quotation_ends(packet: &impl Packet, family: Family, icmp: usize, end: usize) -> usize {
    let length = match family {
        Family::V4 => packet.byte(icmp + 5) as usize * 4,
        Family::V6 => packet.byte(icmp + 4) as usize * 8,
    };
    // Packet too big and parameter problem have other things there.
    let extends = match family {
        Family::V4 => true,
        Family::V6 => matches!(packet.byte(icmp), 1 | 3),
    };
    let given = icmp + ICMP_HEADER + length;
    if extends && length != 0 && given < end {
        given
    } else {
        end
    }
}

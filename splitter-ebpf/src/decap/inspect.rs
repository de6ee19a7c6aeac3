//! Whether a frame carries a packet that is to be taken out of its tunnel.

use super::congestion::combine;
use super::{Config, IP6IP6, IPIP, Reason};
use crate::headers::{ETHERNET, IPV4, IPV6, Packet};
use crate::wire::{Family, WireAddress};

const ETHERTYPE_IPV4: u16 = 0x0800_u16.to_be();
const ETHERTYPE_IPV6: u16 = 0x86dd_u16.to_be();
/// More fragments, and the offset (RFC 791 section 3.1).
const FRAGMENT: u16 = 0x3fff_u16.to_be();
/// Next-header value of destination options (RFC 8200 section 4.6).
const DESTINATION_OPTIONS: u8 = 60;
/// Next-header value of a fragment header (RFC 8200 section 4.5).
const FRAGMENT_HEADER: u8 = 44;
/// Bytes of a destination-options header with a tunnel encapsulation limit and nothing else.
const LIMIT: usize = 8;

/// How the inner packet lies in its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inner {
    /// IPv4 behind an IPv4 header.
    V4,
    /// IPv6 behind an IPv6 header.
    V6,
    /// IPv6 behind an IPv6 header and a tunnel encapsulation limit, as Linux sends it.
    V6BehindLimit,
}

impl Inner {
    /// Where the inner packet starts in an untagged frame.
    #[must_use]
    pub const fn at(self) -> usize {
        ETHERNET + self.removed()
    }

    /// Bytes that are taken off.
    #[must_use]
    pub const fn removed(self) -> usize {
        match self {
            Self::V4 => IPV4,
            Self::V6 => IPV6,
            Self::V6BehindLimit => IPV6 + LIMIT,
        }
    }
}

/// What is to become of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is left as it is, and passed or dropped as the reason says.
    Leave(Reason),
    /// The inner packet is taken out.
    Decapsulate {
        /// Where it lies.
        inner: Inner,
        /// The congestion mark that it gets, where that is another than it has.
        ecn: Option<u8>,
    },
}

/// Looks at a frame. `config` gives what tunnels of a family are recognised by.
#[inline(always)]
pub fn inspect<'c>(packet: &impl Packet, config: impl Fn(Family) -> Option<&'c Config>) -> Verdict {
    let found = match ethertype(packet) {
        Some(ETHERTYPE_IPV4) => inspect_v4(packet, config),
        Some(ETHERTYPE_IPV6) => inspect_v6(packet, config),
        _ => Err(Reason::NotTunnelled),
    };
    match found {
        Ok(verdict) => verdict,
        Err(reason) => Verdict::Leave(reason),
    }
}

#[inline(always)]
fn ethertype(packet: &impl Packet) -> Option<u16> {
    packet.has(ETHERNET).then(|| packet.half(12))
}

/// A frame that is left alone is an error of this name.
type Found = Result<Verdict, Reason>;

#[inline(always)]
fn require(condition: bool, otherwise: Reason) -> Result<(), Reason> {
    if condition { Ok(()) } else { Err(otherwise) }
}

#[inline(always)]
fn inspect_v4<'c>(packet: &impl Packet, config: impl Fn(Family) -> Option<&'c Config>) -> Found {
    const INNER: usize = ETHERNET + IPV4;
    require(
        packet.has(INNER) && packet.byte(ETHERNET + 9) == IPIP && packet.byte(ETHERNET) >> 4 == 4,
        Reason::NotTunnelled,
    )?;
    let config = config(Family::V4).ok_or(Reason::NotTunnelled)?;
    let address = |at| WireAddress::v4(packet.word(at));
    require(config.ends_at(address(ETHERNET + 16)), Reason::OtherHost)?;
    require(config.trusts(address(ETHERNET + 12)), Reason::UnknownSource)?;
    match packet.byte(ETHERNET) & 15 {
        5 => {}
        6.. => return Err(Reason::OuterOptions),
        _ => return Err(Reason::Malformed),
    }
    require(header_sum(packet) == 0xffff, Reason::Malformed)?;
    require(
        packet.half(ETHERNET + 6) & FRAGMENT == 0,
        Reason::OuterFragment,
    )?;
    require(
        packet.has(INNER + IPV4) && packet.byte(INNER) >> 4 == 4,
        Reason::Malformed,
    )?;
    require(config.serves(address(INNER + 16)), Reason::OtherDestination)?;

    let outer_length = usize::from(u16::from_be(packet.half(ETHERNET + 2)));
    let length = usize::from(u16::from_be(packet.half(INNER + 2)));
    let header = usize::from(packet.byte(INNER) & 15) * 4;
    require(
        header >= IPV4 && length >= header && IPV4 + length <= outer_length,
        Reason::Malformed,
    )?;
    is_whole(packet, ETHERNET + outer_length)?;
    taken_out(Inner::V4, packet.byte(ETHERNET + 1), packet.byte(INNER + 1))
}

#[inline(always)]
fn inspect_v6<'c>(packet: &impl Packet, config: impl Fn(Family) -> Option<&'c Config>) -> Found {
    const NEXT: usize = ETHERNET + IPV6;
    require(
        packet.has(NEXT) && packet.byte(ETHERNET) >> 4 == 6,
        Reason::NotTunnelled,
    )?;
    let shape = match packet.byte(ETHERNET + 6) {
        IP6IP6 => Ok(Inner::V6),
        // The next header's number is the first byte of either header.
        DESTINATION_OPTIONS if packet.has(NEXT + LIMIT) && packet.byte(NEXT) == IP6IP6 => {
            if is_limit(packet, NEXT) {
                Ok(Inner::V6BehindLimit)
            } else {
                Err(Reason::OuterOptions)
            }
        }
        FRAGMENT_HEADER
            if packet.has(NEXT + 8)
                && matches!(packet.byte(NEXT), IP6IP6 | DESTINATION_OPTIONS) =>
        {
            Err(Reason::OuterFragment)
        }
        _ => return Err(Reason::NotTunnelled),
    };
    let config = config(Family::V6).ok_or(Reason::NotTunnelled)?;
    require(
        config.ends_at(address_v6(packet, ETHERNET + 24)),
        Reason::OtherHost,
    )?;
    require(
        config.trusts(address_v6(packet, ETHERNET + 8)),
        Reason::UnknownSource,
    )?;
    match shape? {
        Inner::V6BehindLimit => inside_v6::<{ NEXT + LIMIT }>(packet, config),
        _ => inside_v6::<NEXT>(packet, config),
    }
}

/// The inner packet at `AT`, behind an outer header that is in order.
#[inline(always)]
fn inside_v6<const AT: usize>(packet: &impl Packet, config: &Config) -> Found {
    require(
        packet.has(AT + IPV6) && packet.byte(AT) >> 4 == 6,
        Reason::Malformed,
    )?;
    require(
        config.serves(address_v6(packet, AT + 24)),
        Reason::OtherDestination,
    )?;
    let end = ETHERNET + IPV6 + usize::from(u16::from_be(packet.half(ETHERNET + 4)));
    let inner_end = AT + IPV6 + usize::from(u16::from_be(packet.half(AT + 4)));
    require(inner_end <= end, Reason::Malformed)?;
    is_whole(packet, end)?;
    let inner = if AT == ETHERNET + IPV6 {
        Inner::V6
    } else {
        Inner::V6BehindLimit
    };
    let ecn = |at: usize| packet.byte(at + 1) >> 4;
    taken_out(inner, ecn(ETHERNET), ecn(AT))
}

/// What the marks of both headers, in the lowest bits of `outer` and `inner`, make of the packet.
#[inline(always)]
fn taken_out(shape: Inner, outer: u8, inner: u8) -> Found {
    let mark = combine(outer, inner).ok_or(Reason::CongestionUnmarkable)?;
    Ok(Verdict::Decapsulate {
        inner: shape,
        ecn: (mark != inner & 3).then_some(mark),
    })
}

/// Whether the frame has all bytes up to `end`. It may have more: the stack trims what is behind the
/// length that the inner header gives.
#[inline(always)]
fn is_whole(packet: &impl Packet, end: usize) -> Result<(), Reason> {
    require(packet.holds(end), Reason::Malformed)
}

/// Exactly a tunnel encapsulation limit and its padding: next header, length 0, option 4 of one byte
/// (RFC 2473 section 4.1.1), PadN of one byte (RFC 8200 section 4.2).
#[inline(always)]
fn is_limit(packet: &impl Packet, at: usize) -> bool {
    packet.byte(at + 1) == 0
        && packet.half(at + 2) == u16::from_ne_bytes([4, 1])
        && packet.byte(at + 5) == 1
        && packet.half(at + 6) == u16::from_ne_bytes([1, 0])
}

#[inline(always)]
fn address_v6(packet: &impl Packet, at: usize) -> WireAddress {
    WireAddress::from_halves([packet.long(at), packet.long(at + 8)])
}

/// The one's complement sum of the outer IPv4 header: all ones if its checksum is right.
#[inline(always)]
fn header_sum(packet: &impl Packet) -> u64 {
    let word = |index: usize| u64::from(packet.word(ETHERNET + index * 4));
    let sum = word(0) + word(1) + word(2) + word(3) + word(4);
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}

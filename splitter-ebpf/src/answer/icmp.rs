//! ICMP errors (RFC 792, RFC 1191, RFC 4443): the packet is quoted as it arrived.

use super::header;
use super::{Cause, Resize};
use crate::checksum::Sum;
use crate::headers::{ETHERNET, ICMP_HEADER};
use crate::wire::{ICMP, ICMPV6, WireAddress};

/// Bytes that an IPv4 error has at most (RFC 1812 section 4.3.2.3).
const MOST_V4: usize = 576;
/// Bytes that an IPv6 error has at most: the least that every link carries (RFC 4443 section 2.4 c).
pub(super) const MOST_V6: usize = 1280;
/// Type of service of an IPv4 error: precedence "internetwork control" (RFC 1812 section 4.3.2.5).
const CONTROL: u8 = 0xc0;

/// What an error says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Fragmentation needed (RFC 1191 section 4), or packet too big (RFC 4443 section 3.2).
    TooBig {
        /// Bytes that the sender's IP packets may have.
        mtu: u16,
    },
    /// Time exceeded in transit (RFC 792, RFC 4443 section 3.3).
    Expired,
    /// Port unreachable (RFC 792, RFC 4443 section 3.1).
    Unreachable,
}

impl Message {
    /// Type and code.
    #[inline(always)]
    const fn kind<const V6: bool>(self) -> [u8; 2] {
        match (self, V6) {
            (Self::TooBig { .. }, false) => [3, 4],
            (Self::Expired, false) => [11, 0],
            (Self::Unreachable, false) => [3, 3],
            (Self::TooBig { .. }, true) => [2, 0],
            (Self::Expired, true) => [3, 0],
            (Self::Unreachable, true) => [1, 4],
        }
    }

    /// The header's second word, in packet order: the MTU lies in its last two bytes in both families.
    #[inline(always)]
    const fn rest(self) -> u32 {
        match self {
            Self::TooBig { mtu } => (mtu as u32).to_be(),
            Self::Expired | Self::Unreachable => 0,
        }
    }
}

/// Turns a packet of family `V6` into the error about it, from `source`, or from whom it was sent to.
/// False if the frame could not be cut or has no room in front.
#[inline(always)]
pub fn write<const V6: bool>(
    packet: &mut impl Resize,
    cause: &Cause,
    message: Message,
    source: Option<&WireAddress>,
) -> bool {
    let front = header::size::<V6>() + ICMP_HEADER;
    let room = if V6 { MOST_V6 } else { MOST_V4 } - front;
    let whole = cause.end - ETHERNET;
    let quoted = if whole < room { whole } else { room };
    if !packet.trim(ETHERNET + quoted) || !packet.grow(front) {
        return false;
    }
    header::ethernet::<V6>(packet, front);
    let (from, to) = (header::source::<V6>(), header::destination::<V6>());
    let quote = ETHERNET + front;
    let sender = header::copy_address::<V6>(packet, quote + from, ETHERNET + to);
    let addresses = sender.plus(match source {
        Some(source) => header::put_address::<V6>(packet, source, ETHERNET + from),
        None => header::copy_address::<V6>(packet, quote + to, ETHERNET + from),
    });
    let (protocol, service) = if V6 { (ICMPV6, 0) } else { (ICMP, CONTROL) };
    let length = ICMP_HEADER + quoted;
    header::ip::<V6>(packet, addresses, service, protocol, length);

    let l4 = ETHERNET + header::size::<V6>();
    let kind = u16::from_ne_bytes(message.kind::<V6>());
    let rest = message.rest();
    // Only ICMPv6 covers the addresses (RFC 4443 section 2.3).
    let sum = if V6 {
        header::pseudo(protocol, length).plus(addresses)
    } else {
        Sum::ZERO
    };
    let sum = sum.half(kind).word(rest).plus(packet.sum(quote, quoted));
    packet.set_half(l4, kind);
    packet.set_half(l4 + 2, sum.checksum());
    packet.set_word(l4 + 4, rest);
    true
}

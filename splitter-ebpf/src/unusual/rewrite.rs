//! Changing a packet whose headers lie anywhere: addresses, ports, and every checksum that covers them, by the difference alone (RFC 1624).
//!
//! What a checksum inside an ICMP error changes by changes the error's own checksum too, so each
//! function returns the difference that its writes make to a sum over them.

use super::Extent;
use super::quote::{Quote, Side};
use crate::checksum::Difference;
use crate::headers::PacketMut;
use crate::rewrite::{End, put_address};
use crate::wire::{Family, TCP, WireAddress};

/// Both ends of a packet as they shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Whom it comes from.
    pub source: Side,
    /// Whom it goes to.
    pub destination: Side,
}

/// Gives a TCP or UDP packet, whole or a first fragment, these ends.
#[inline(always)]
pub fn ends(packet: &mut impl PacketMut, family: Family, extent: &Extent, ends: &Ends) {
    let difference = hosts(packet, family, extent.l3, ends.source.0, ends.destination.0);
    let _ = ports(packet, extent, difference, ends);
}

/// Gives the IP packet at `l3` these addresses. Returns the difference that they make to a
/// pseudo-header's sum; that of IPv4's own checksum is not in it.
#[inline(always)]
pub fn hosts(
    packet: &mut impl PacketMut,
    family: Family,
    l3: usize,
    source: WireAddress,
    destination: WireAddress,
) -> Difference {
    let difference = put_address(packet, family, l3, End::Source, source);
    difference.and(put_address(
        packet,
        family,
        l3,
        End::Destination,
        destination,
    ))
}

/// Gives the TCP or UDP header of `extent` these ports, and its checksum what they and the
/// pseudo-header's `difference` make of it, if it lies before the extent's end. Returns what was written
/// changed a sum by, that checksum included.
#[inline(always)]
fn ports(
    packet: &mut impl PacketMut,
    extent: &Extent,
    difference: Difference,
    ends: &Ends,
) -> Difference {
    let l4 = extent.l4;
    let (source, destination) = (ends.source.1, ends.destination.1);
    let old = [packet.half(l4), packet.half(l4 + 2)];
    packet.set_half(l4, source.0);
    packet.set_half(l4 + 2, destination.0);
    let written = Difference::NONE
        .half(old[0], source.0)
        .half(old[1], destination.0);
    let at = l4 + if extent.protocol == TCP { 16 } else { 6 };
    if at + 2 > extent.end {
        return written;
    }
    let before = packet.half(at);
    let difference = difference
        .half(old[0], source.0)
        .half(old[1], destination.0);
    let after = if extent.protocol == TCP {
        difference.apply(before)
    } else {
        difference.apply_udp(before)
    };
    packet.set_half(at, after);
    written.half(before, after)
}

/// Lets an ICMP error speak of a packet with these ends, and gives the error itself the addresses
/// `source` and `destination`.
#[inline(always)]
pub fn error(
    packet: &mut impl PacketMut,
    family: Family,
    error: &Extent,
    quote: &Quote,
    ends: &Ends,
    hosts_of_error: (WireAddress, WireAddress),
) {
    let inner = &quote.extent;
    let sum_at = inner.l3 + 10;
    let before = packet.half(sum_at);
    let pseudo = hosts(packet, family, inner.l3, ends.source.0, ends.destination.0);
    let mut written = ports(packet, inner, pseudo, ends).and(pseudo);
    if matches!(family, Family::V4) {
        // The quoted header's checksum takes back what its addresses add, so that its header sums up to
        // the same; the sum is kept all the same, for it may have come broken.
        written = written.half(before, packet.half(sum_at));
    }
    let outer = hosts(packet, family, error.l3, hosts_of_error.0, hosts_of_error.1);
    if matches!(family, Family::V6) {
        // ICMPv6 covers a pseudo-header (RFC 4443 section 2.3), ICMP does not.
        written = written.and(outer);
    }
    let sum = written.apply(packet.half(quote.icmp + 2));
    packet.set_half(quote.icmp + 2, sum);
}

//! Ethernet and IP headers of what this host says by itself. Addresses go from place to place by the
//! word: a program has 512 bytes of stack in all.

use crate::checksum::Sum;
use crate::headers::{ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4, IPV6, PacketMut};
use crate::rewrite::{hop_back, macs};
use crate::wire::WireAddress;

/// TTL and hop limit.
const HOPS: u8 = 64;
/// Don't fragment: with it, an identification of 0 is in order (RFC 6864 section 4.1).
const DONT_FRAGMENT: u16 = 0x4000;

/// Bytes of the IP header that [`ip`] writes.
#[inline(always)]
pub const fn size<const V6: bool>() -> usize {
    if V6 { IPV6 } else { IPV4 }
}

/// Where the source address lies in an IP header.
#[inline(always)]
pub const fn source<const V6: bool>() -> usize {
    if V6 { 8 } else { 12 }
}

/// Where the destination address lies in an IP header.
#[inline(always)]
pub const fn destination<const V6: bool>() -> usize {
    if V6 { 24 } else { 16 }
}

/// Writes at 0 the Ethernet header that answers the one at `at`.
#[inline(always)]
pub fn ethernet<const V6: bool>(packet: &mut impl PacketMut, at: usize) {
    if at != 0 {
        packet.set_word(0, packet.word(at));
        packet.set_word(4, packet.word(at + 4));
        packet.set_word(8, packet.word(at + 8));
    }
    let hop = hop_back(packet, 0);
    macs(packet, &hop);
    packet.set_half(12, if V6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 });
}

/// Copies the address at `from` to `to`. Gives back its sum.
#[inline(always)]
pub fn copy_address<const V6: bool>(packet: &mut impl PacketMut, from: usize, to: usize) -> Sum {
    if V6 {
        let first = packet.long(from);
        packet.set_long(to, first);
        let second = packet.long(from + 8);
        packet.set_long(to + 8, second);
        Sum::ZERO.long(first).long(second)
    } else {
        let address = packet.word(from);
        packet.set_word(to, address);
        Sum::ZERO.word(address)
    }
}

/// Puts `address` at `to`. Gives back its sum.
#[inline(always)]
pub fn put_address<const V6: bool>(
    packet: &mut impl PacketMut,
    address: &WireAddress,
    to: usize,
) -> Sum {
    if V6 {
        let [first, second] = address.halves();
        packet.set_long(to, first);
        packet.set_long(to + 8, second);
        Sum::ZERO.long(first).long(second)
    } else {
        packet.set_word(to, address.0[0]);
        Sum::ZERO.word(address.0[0])
    }
}

/// Swaps source and destination of the IP header behind the Ethernet header. Gives back their sum.
#[inline(always)]
pub fn swap_addresses<const V6: bool>(packet: &mut impl PacketMut) -> Sum {
    let (source, destination) = (ETHERNET + source::<V6>(), ETHERNET + destination::<V6>());
    let mut sum = Sum::ZERO;
    let mut word = 0;
    while word < if V6 { 16 } else { 4 } {
        let (a, b) = (packet.word(source + word), packet.word(destination + word));
        packet.set_word(source + word, b);
        packet.set_word(destination + word, a);
        sum = sum.word(a).word(b);
        word += 4;
    }
    sum
}

/// The sum of the pseudo header for `length` bytes of `protocol`, but for its addresses: one sum for
/// both families (RFC 9293 section 3.1, RFC 8200 section 8.1).
#[inline(always)]
pub const fn pseudo(protocol: u8, length: usize) -> Sum {
    Sum::ZERO
        .half((length as u16).to_be())
        .half((protocol as u16).to_be())
}

/// Writes all of an IP header behind the Ethernet header but its addresses, whose sum is `addresses`:
/// for `length` bytes of `protocol` behind it, with `service` as type of service or traffic class.
#[inline(always)]
pub fn ip<const V6: bool>(
    packet: &mut impl PacketMut,
    addresses: Sum,
    service: u8,
    protocol: u8,
    length: usize,
) {
    if V6 {
        let [high, low] = (length as u16).to_be_bytes();
        let first = [0x60 | (service >> 4), service << 4, 0, 0];
        packet.set_word(ETHERNET, u32::from_ne_bytes(first));
        let second = [high, low, protocol, HOPS];
        packet.set_word(ETHERNET + 4, u32::from_ne_bytes(second));
        return;
    }
    let [high, low] = ((IPV4 + length) as u16).to_be_bytes();
    let first = u32::from_ne_bytes([0x45, service, high, low]);
    packet.set_word(ETHERNET, first);
    let [a, b] = DONT_FRAGMENT.to_be_bytes();
    let second = u32::from_ne_bytes([0, 0, a, b]);
    packet.set_word(ETHERNET + 4, second);
    let hop = u16::from_ne_bytes([HOPS, protocol]);
    packet.set_half(ETHERNET + 8, hop);
    let sum = addresses.word(first).word(second).half(hop);
    packet.set_half(ETHERNET + 10, sum.checksum());
}

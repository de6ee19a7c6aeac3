//! IP headers of what this host says by itself.

use crate::checksum::Sum;
use crate::headers::{ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4, IPV6, PacketMut};
use crate::rewrite::{hop_back, macs};
use crate::wire::WireAddress;

/// TTL and hop limit.
const HOPS: u8 = 64;
/// Don't fragment: with it, an identification of 0 is in order (RFC 6864 section 4.1).
const DONT_FRAGMENT: u16 = 0x4000;

/// From whom to whom.
#[derive(Clone, Copy)]
pub struct Ends {
    /// Source.
    pub source: WireAddress,
    /// Destination.
    pub destination: WireAddress,
}

impl Ends {
    /// Those of the packet whose IP header begins at `at`.
    #[inline(always)]
    pub fn of<const V6: bool>(packet: &impl PacketMut, at: usize) -> Self {
        if V6 {
            let half = |offset| packet.long(at + offset);
            Self {
                source: WireAddress::from_halves([half(8), half(16)]),
                destination: WireAddress::from_halves([half(24), half(32)]),
            }
        } else {
            Self {
                source: WireAddress::v4(packet.word(at + 12)),
                destination: WireAddress::v4(packet.word(at + 16)),
            }
        }
    }

    /// Those of a packet the other way.
    #[inline(always)]
    pub const fn swapped(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
        }
    }

    /// The sum of the pseudo header for `length` bytes of `protocol`: one sum for both families (RFC
    /// 9293 section 3.1, RFC 8200 section 8.1).
    #[inline(always)]
    pub const fn pseudo<const V6: bool>(&self, protocol: u8, length: usize) -> Sum {
        let sum = Sum::ZERO
            .half((length as u16).to_be())
            .half((protocol as u16).to_be());
        if V6 {
            let ([a, b], [c, d]) = (self.source.halves(), self.destination.halves());
            sum.long(a).long(b).long(c).long(d)
        } else {
            sum.word(self.source.0[0]).word(self.destination.0[0])
        }
    }
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

/// Writes an IP header behind the Ethernet header, for `length` bytes of `protocol` behind it.
/// `service` is the byte for type of service or traffic class.
#[inline(always)]
pub fn ip<const V6: bool>(
    packet: &mut impl PacketMut,
    ends: &Ends,
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
        let ([a, b], [c, d]) = (ends.source.halves(), ends.destination.halves());
        packet.set_long(ETHERNET + 8, a);
        packet.set_long(ETHERNET + 16, b);
        packet.set_long(ETHERNET + 24, c);
        packet.set_long(ETHERNET + 32, d);
        return;
    }
    let [high, low] = ((IPV4 + length) as u16).to_be_bytes();
    let first = u32::from_ne_bytes([0x45, service, high, low]);
    let [a, b] = DONT_FRAGMENT.to_be_bytes();
    let second = u32::from_ne_bytes([0, 0, a, b]);
    let hop = u16::from_ne_bytes([HOPS, protocol]);
    let (source, destination) = (ends.source.0[0], ends.destination.0[0]);
    let sum = Sum::ZERO
        .word(first)
        .word(second)
        .half(hop)
        .word(source)
        .word(destination);
    packet.set_word(ETHERNET, first);
    packet.set_word(ETHERNET + 4, second);
    packet.set_half(ETHERNET + 8, hop);
    packet.set_half(ETHERNET + 10, sum.checksum());
    packet.set_word(ETHERNET + 12, source);
    packet.set_word(ETHERNET + 16, destination);
}

/// Bytes of the IP header that [`ip`] writes.
#[inline(always)]
pub const fn size<const V6: bool>() -> usize {
    if V6 { IPV6 } else { IPV4 }
}

//! Changing a packet in place: addresses, ports, TTL, and the checksums that cover them.
//!
//! A checksum is updated by the difference alone (RFC 1624), so a packet that arrives broken leaves
//! broken, and its receiver notices.

use crate::abi::Hop;
use crate::checksum::Difference;
use crate::headers::{ETHERNET, IPV4, IPV6, Packet, PacketMut, TCP_HEADER};
use crate::wire::{Family, TCP, WireAddress, WirePort};

/// Which end of a segment is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Source address and port: a reply, which becomes the VIP's.
    Source,
    /// Destination address and port: a request, which goes to a backend.
    Destination,
}

/// Where a packet's headers begin, in bytes from the frame's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// The IP header.
    pub l3: usize,
    /// The TCP, UDP or ICMP header.
    pub l4: usize,
}

impl Layers {
    /// Those of an untagged frame without IPv4 options and IPv6 extension headers.
    #[must_use]
    #[inline(always)]
    pub const fn plain(family: Family) -> Self {
        let header = match family {
            Family::V4 => IPV4,
            Family::V6 => IPV6,
        };
        Self {
            l3: ETHERNET,
            l4: ETHERNET + header,
        }
    }
}

/// Whether the packet may take one more hop.
#[must_use]
#[inline(always)]
pub fn may_hop(packet: &impl Packet, family: Family) -> bool {
    match family {
        Family::V4 => packet.byte(ETHERNET + 8) > 1,
        Family::V6 => packet.byte(ETHERNET + 7) > 1,
    }
}

/// Takes one hop off the TTL or hop limit, and updates IPv4's header checksum.
#[inline(always)]
pub fn take_hop(packet: &mut impl PacketMut, family: Family, l3: usize) {
    match family {
        Family::V4 => {
            let difference = take_hop_v4(packet, l3);
            update_v4(packet, l3, difference);
        }
        Family::V6 => {
            let hop_limit = packet.byte(l3 + 7).wrapping_sub(1);
            packet.set_byte(l3 + 7, hop_limit);
        }
    }
}

/// Takes a hop off, and gives back what that means for the header's checksum.
#[inline(always)]
fn take_hop_v4(packet: &mut impl PacketMut, l3: usize) -> Difference {
    // TTL and protocol share a 16-bit word of the header's checksum.
    let hop = packet.half(l3 + 8);
    let [ttl, protocol] = hop.to_ne_bytes();
    let next = u16::from_ne_bytes([ttl.wrapping_sub(1), protocol]);
    packet.set_half(l3 + 8, next);
    Difference::NONE.half(hop, next)
}

#[inline(always)]
fn update_v4(packet: &mut impl PacketMut, l3: usize, difference: Difference) {
    let sum = difference.apply(packet.half(l3 + 10));
    packet.set_half(l3 + 10, sum);
}

/// Puts `address` at one end of a packet and takes one hop off its TTL, and updates IPv4's header
/// checksum. Gives back what the address means for a checksum over the pseudo header (RFC 9293 section
/// 3.1, RFC 8200 section 8.1).
#[inline(always)]
pub fn forward_address(
    packet: &mut impl PacketMut,
    family: Family,
    l3: usize,
    end: End,
    address: WireAddress,
) -> Difference {
    match family {
        Family::V4 => {
            let difference = put_v4(packet, l3, end, address);
            let hop = take_hop_v4(packet, l3);
            update_v4(packet, l3, difference.and(hop));
            difference
        }
        Family::V6 => {
            take_hop(packet, family, l3);
            put_v6(packet, l3, end, address)
        }
    }
}

/// The same without taking a hop off.
#[inline(always)]
pub fn put_address(
    packet: &mut impl PacketMut,
    family: Family,
    l3: usize,
    end: End,
    address: WireAddress,
) -> Difference {
    match family {
        Family::V4 => {
            let difference = put_v4(packet, l3, end, address);
            update_v4(packet, l3, difference);
            difference
        }
        Family::V6 => put_v6(packet, l3, end, address),
    }
}

/// Puts `port` at one end of a TCP or UDP segment and updates its checksum by that and `difference`.
#[inline(always)]
pub fn put_port(
    packet: &mut impl PacketMut,
    l4: usize,
    protocol: u8,
    end: End,
    port: WirePort,
    difference: Difference,
) {
    let at = match end {
        End::Source => l4,
        End::Destination => l4 + 2,
    };
    let difference = difference.half(packet.half(at), port.0);
    packet.set_half(at, port.0);
    if protocol == TCP {
        // Always so for a parsed segment; said once more because the verifier has forgotten it.
        if packet.has(l4 + TCP_HEADER) {
            let sum = difference.apply(packet.half(l4 + 16));
            packet.set_half(l4 + 16, sum);
        }
    } else {
        let sum = difference.apply_udp(packet.half(l4 + 6));
        packet.set_half(l4 + 6, sum);
    }
}

/// Puts `address` and `port` at one end of a TCP or UDP segment, takes one hop off its TTL, and updates
/// the checksums.
#[inline(always)]
pub fn translate(
    packet: &mut impl PacketMut,
    family: Family,
    layers: Layers,
    protocol: u8,
    end: End,
    address: WireAddress,
    port: WirePort,
) {
    let difference = forward_address(packet, family, layers.l3, end, address);
    put_port(packet, layers.l4, protocol, end, port, difference);
}

#[inline(always)]
fn put_v4(packet: &mut impl PacketMut, l3: usize, end: End, address: WireAddress) -> Difference {
    let at = l3
        + match end {
            End::Source => 12,
            End::Destination => 16,
        };
    let address = address.0[0];
    let difference = Difference::NONE.word(packet.word(at), address);
    packet.set_word(at, address);
    difference
}

#[inline(always)]
fn put_v6(packet: &mut impl PacketMut, l3: usize, end: End, address: WireAddress) -> Difference {
    let at = l3
        + match end {
            End::Source => 8,
            End::Destination => 24,
        };
    let [first, second] = address.halves();
    let difference = Difference::NONE
        .long(packet.long(at), first)
        .long(packet.long(at + 8), second);
    packet.set_long(at, first);
    packet.set_long(at + 8, second);
    difference
}

/// Writes both MAC addresses.
#[inline(always)]
pub fn macs(packet: &mut impl PacketMut, hop: &Hop) {
    packet.set_word(0, hop.macs[0]);
    packet.set_word(4, hop.macs[1]);
    packet.set_word(8, hop.macs[2]);
}

/// The hop back to where the packet came from over `ifindex`: its MAC addresses swapped.
#[must_use]
#[inline(always)]
pub fn hop_back(packet: &impl Packet, ifindex: u32) -> Hop {
    let (a, b, c) = (packet.word(0), packet.word(4), packet.word(8));
    // The source begins in the middle of the second word; memory order is kept by 64-bit shifts.
    let destination = a as u64 | ((b as u64) << 32);
    let source = ((b >> 16) as u64) | ((c as u64) << 16);
    let first = source & 0xffff_ffff;
    let second = (source >> 32) | ((destination & 0xffff) << 16);
    let third = (destination >> 16) & 0xffff_ffff;
    Hop {
        macs: [first as u32, second as u32, third as u32],
        ifindex,
    }
}

/// Turns an echo request with a whole header into its reply, in place, MAC addresses included.
#[inline(always)]
pub fn echo_reply(packet: &mut impl PacketMut, family: Family, ifindex: u32) -> Hop {
    const HOPS: u8 = 64;
    match family {
        Family::V4 => {
            let (source, destination) = (packet.word(ETHERNET + 12), packet.word(ETHERNET + 16));
            packet.set_word(ETHERNET + 12, destination);
            packet.set_word(ETHERNET + 16, source);
            let hop = packet.half(ETHERNET + 8);
            let [_, protocol] = hop.to_ne_bytes();
            let next = u16::from_ne_bytes([HOPS, protocol]);
            packet.set_half(ETHERNET + 8, next);
            let sum = Difference::NONE
                .half(hop, next)
                .apply(packet.half(ETHERNET + 10));
            packet.set_half(ETHERNET + 10, sum);
            echo_type(packet, ETHERNET + IPV4, 0);
        }
        Family::V6 => {
            let mut word = 0;
            while word < 16 {
                let (source, destination) = (
                    packet.word(ETHERNET + 8 + word),
                    packet.word(ETHERNET + 24 + word),
                );
                packet.set_word(ETHERNET + 8 + word, destination);
                packet.set_word(ETHERNET + 24 + word, source);
                word += 4;
            }
            packet.set_byte(ETHERNET + 7, HOPS);
            echo_type(packet, ETHERNET + IPV6, 129);
        }
    }
    let hop = hop_back(packet, ifindex);
    macs(packet, &hop);
    hop
}

#[inline(always)]
fn echo_type(packet: &mut impl PacketMut, at: usize, reply: u8) {
    let before = packet.half(at);
    let [_, code] = before.to_ne_bytes();
    let after = u16::from_ne_bytes([reply, code]);
    packet.set_half(at, after);
    let sum = Difference::NONE
        .half(before, after)
        .apply(packet.half(at + 2));
    packet.set_half(at + 2, sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::Frame;

    #[test]
    fn hop_back_swaps_the_mac_addresses() {
        let mut frame = [0_u8; 60];
        frame[..12].copy_from_slice(&[1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16]);
        let hop = hop_back(&Frame(&mut frame), 7);
        assert_eq!(
            hop,
            Hop::new([11, 12, 13, 14, 15, 16], [1, 2, 3, 4, 5, 6], 7)
        );
        macs(&mut Frame(&mut frame), &hop);
        assert_eq!(frame[..12], [11, 12, 13, 14, 15, 16, 1, 2, 3, 4, 5, 6]);
    }
}

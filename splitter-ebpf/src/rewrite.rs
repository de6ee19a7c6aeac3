//! Changing a packet in place: addresses, ports, TTL, and the checksums that cover them.
//!
//! A checksum is updated by the difference alone (RFC 1624), so a packet that arrives broken leaves
//! broken, and its receiver notices.

use crate::abi::Hop;
use crate::checksum::Difference;
use crate::headers::{ETHERNET, IPV4, IPV6, PacketMut, TCP_HEADER};
use crate::wire::{Family, TCP, WireAddress, WirePort};

/// Which end of a segment is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Source address and port: a reply, which becomes the VIP's.
    Source,
    /// Destination address and port: a request, which goes to a backend.
    Destination,
}

/// Whether the packet may take one more hop.
#[must_use]
#[inline(always)]
pub fn may_hop(packet: &impl PacketMut, family: Family) -> bool {
    match family {
        Family::V4 => packet.byte(ETHERNET + 8) > 1,
        Family::V6 => packet.byte(ETHERNET + 7) > 1,
    }
}

/// Puts `address` and `port` at one end of a parsed TCP or UDP segment, takes one hop off its TTL,
/// and updates the checksums.
#[inline(always)]
pub fn translate(
    packet: &mut impl PacketMut,
    family: Family,
    protocol: u8,
    end: End,
    address: WireAddress,
    port: WirePort,
) {
    let (l4, difference) = match family {
        Family::V4 => (ETHERNET + IPV4, address_v4(packet, end, address.0[0])),
        Family::V6 => (ETHERNET + IPV6, address_v6(packet, end, address)),
    };
    let port_at = match end {
        End::Source => l4,
        End::Destination => l4 + 2,
    };
    let difference = difference.half(packet.half(port_at), port.0);
    packet.set_half(port_at, port.0);
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

#[inline(always)]
fn address_v4(packet: &mut impl PacketMut, end: End, address: u32) -> Difference {
    let at = ETHERNET
        + match end {
            End::Source => 12,
            End::Destination => 16,
        };
    let difference = Difference::NONE.word(packet.word(at), address);
    packet.set_word(at, address);
    // TTL and protocol share a 16-bit word of the header's checksum.
    let hop = packet.half(ETHERNET + 8);
    let [ttl, protocol] = hop.to_ne_bytes();
    let next = u16::from_ne_bytes([ttl.wrapping_sub(1), protocol]);
    packet.set_half(ETHERNET + 8, next);
    let sum = difference.half(hop, next).apply(packet.half(ETHERNET + 10));
    packet.set_half(ETHERNET + 10, sum);
    difference
}

#[inline(always)]
fn address_v6(packet: &mut impl PacketMut, end: End, address: WireAddress) -> Difference {
    let at = ETHERNET
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
    let hop_limit = packet.byte(ETHERNET + 7).wrapping_sub(1);
    packet.set_byte(ETHERNET + 7, hop_limit);
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
pub fn hop_back(packet: &impl PacketMut, ifindex: u32) -> Hop {
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

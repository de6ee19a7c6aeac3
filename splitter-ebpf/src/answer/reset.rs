//! A RST to whoever speaks of a TCP connection that does not exist (RFC 9293 section 3.10.7.1), or no longer.

use super::header;
use super::{Cause, Resize};
use crate::checksum::Sum;
use crate::flow::{ACK, FIN, RST, SYN};
use crate::headers::{ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, TCP_HEADER};
use crate::wire::TCP;

/// Turns a TCP segment of family `V6` that is no fragment, without RST, into the RST that answers it:
/// 54 or 74 bytes. False if its header contradicts its length, or the frame could not be cut.
#[inline(always)]
pub fn write<const V6: bool>(packet: &mut impl Resize, cause: &Cause) -> bool {
    let data = (packet.byte(cause.l4 + 12) >> 4) as usize * 4;
    if data < TCP_HEADER || cause.l4 + data > cause.end {
        return false;
    }
    let (sequence, acknowledged, flags) = if cause.flags & ACK != 0 {
        // What it acknowledges is what it expects next.
        (packet.word(cause.l4 + 8), 0, RST)
    } else {
        let controls = (cause.flags & SYN != 0) as u32 + (cause.flags & FIN != 0) as u32;
        let length = (cause.end - cause.l4 - data) as u32 + controls;
        let next = u32::from_be(packet.word(cause.l4 + 4)).wrapping_add(length);
        (0, next.to_be(), RST | ACK)
    };
    let [a, b, c, d] = packet.word(cause.l4).to_ne_bytes();
    let ports = u32::from_ne_bytes([c, d, a, b]);
    if !packet.trim(ETHERNET + header::size::<V6>() + TCP_HEADER) {
        return false;
    }
    header::ethernet::<V6>(packet, 0);
    let addresses = header::swap_addresses::<V6>(packet);
    put::<V6>(packet, addresses, ports, [sequence, acknowledged], flags);
    true
}

/// Turns a TCP segment of family `V6` that is no fragment into a RST between the same ends: 54 or 74 bytes,
/// with the sequence number that its receiver expects if nothing before it was lost. False as [`write()`] is.
#[inline(always)]
pub fn turn<const V6: bool>(packet: &mut impl Resize, cause: &Cause) -> bool {
    let (ports, sequence) = (packet.word(cause.l4), packet.word(cause.l4 + 4));
    if !packet.trim(ETHERNET + header::size::<V6>() + TCP_HEADER) {
        return false;
    }
    packet.set_half(12, if V6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 });
    let (from, to) = (
        ETHERNET + header::source::<V6>(),
        ETHERNET + header::destination::<V6>(),
    );
    let addresses = header::copy_address::<V6>(packet, from, from)
        .plus(header::copy_address::<V6>(packet, to, to));
    put::<V6>(packet, addresses, ports, [sequence, 0], RST);
    true
}

/// Writes a RST behind the Ethernet header, between addresses that are there and have this sum.
#[inline(always)]
fn put<const V6: bool>(
    packet: &mut impl Resize,
    addresses: Sum,
    ports: u32,
    [sequence, acknowledged]: [u32; 2],
    flags: u8,
) {
    let l4 = ETHERNET + header::size::<V6>();
    header::ip::<V6>(packet, addresses, 0, TCP, TCP_HEADER);
    // Its length in words, flags, no window.
    let fourth = u32::from_ne_bytes([(TCP_HEADER as u8 / 4) << 4, flags, 0, 0]);
    let sum = header::pseudo(TCP, TCP_HEADER)
        .plus(addresses)
        .word(ports)
        .word(sequence)
        .word(acknowledged)
        .word(fourth);
    packet.set_word(l4, ports);
    packet.set_word(l4 + 4, sequence);
    packet.set_word(l4 + 8, acknowledged);
    packet.set_word(l4 + 12, fourth);
    // The checksum, and no urgent pointer.
    packet.set_word(l4 + 16, sum.checksum().into());
}

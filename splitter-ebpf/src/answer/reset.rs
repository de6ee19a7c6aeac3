//! A RST to whoever speaks of a TCP connection that does not exist (RFC 9293 section 3.10.7.1).

use super::header;
use super::{Cause, Resize};
use crate::flow::{ACK, FIN, RST, SYN};
use crate::headers::{ETHERNET, TCP_HEADER};
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
    let l4 = ETHERNET + header::size::<V6>();
    if !packet.trim(l4 + TCP_HEADER) {
        return false;
    }
    header::ethernet::<V6>(packet, 0);
    let addresses = header::swap_addresses::<V6>(packet);
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
    true
}

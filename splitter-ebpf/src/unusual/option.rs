use crate::headers::Packet;

/// End of the list (RFC 791 section 3.1).
const END: u8 = 0;
/// No operation.
const NONE: u8 = 1;
/// Loose source and record route.
const LOOSE_ROUTE: u8 = 131;
/// Strict source and record route.
const STRICT_ROUTE: u8 = 137;
/// Bytes that a header of the greatest length has for options.
const MOST: usize = 40;

/// Whether the IPv4 options from `at` to `end` are carried: each of them ends within the header, and
/// none is a route, by which a sender could choose the way past this host.
#[inline(always)]
pub(super) fn carried(packet: &impl Packet, mut at: usize, end: usize) -> bool {
    let mut seen = 0;
    while seen < MOST {
        seen += 1;
        if at >= end {
            return true;
        }
        let kind = packet.byte(at);
        if kind == END {
            return true;
        }
        if kind == NONE {
            at += 1;
            continue;
        }
        if kind == LOOSE_ROUTE || kind == STRICT_ROUTE || at + 2 > end {
            return false;
        }
        let length = packet.byte(at + 1) as usize;
        if length < 2 || at + length > end {
            return false;
        }
        at += length;
    }
    true
}

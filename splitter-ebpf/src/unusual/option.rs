use crate::headers::Packet;

// Options (RFC 791 section 3.1): the end of the list, no operation, loose and strict source routes.
const END: u64 = 0;
const NONE: u64 = 1;
const LOOSE_ROUTE: u64 = 131;
const STRICT_ROUTE: u64 = 137;
/// Bytes that a header of the greatest length has for options.
const MOST: usize = 40;

/// Whether the IPv4 options from `at` to `end`, which are not empty, are carried: each of them ends within
/// the header, and none is a route, by which a sender could choose the way past this host.
///
/// Without branches but for the loop's end: the verifier would walk every combination of options.
#[inline(always)]
pub(super) fn carried(packet: &impl Packet, at: usize, end: usize) -> bool {
    let (mut at, end, mut refused, mut seen) = (at as u64, end as u64, 0, 0);
    while seen < MOST {
        seen += 1;
        let kind = packet.byte(at as usize) as u64;
        let beside = at + 1 - below(end - 1, at + 1);
        let length = packet.byte(beside as usize) as u64;
        let single = equal(kind, NONE);
        let route = equal(kind, LOOSE_ROUTE) | equal(kind, STRICT_ROUTE);
        let broken = below(length, 2) | below(end, at + length);
        let is_option = 1 ^ (single | equal(kind, END));
        refused |= is_option & (route | broken);
        at += single + is_option * length;
        // Nothing moves on from the end of the list.
        if below(at, end) & (single | is_option) & (1 ^ refused) == 0 {
            break;
        }
    }
    refused == 0
}

/// 1 if `a` is less than `b`, else 0, of numbers below 2^63.
#[inline(always)]
const fn below(a: u64, b: u64) -> u64 {
    a.wrapping_sub(b) >> 63
}

/// 1 if `a` is `b`, else 0, of numbers below 2^63.
#[inline(always)]
const fn equal(a: u64, b: u64) -> u64 {
    1 ^ (below(a, b) | below(b, a))
}

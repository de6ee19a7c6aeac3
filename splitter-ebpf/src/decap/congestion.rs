//! What the tunnel's congestion marks become at its end: RFC 6040 section 4.2, figure 4.

use super::Inner;
use crate::checksum::Difference;
use crate::headers::PacketMut;

/// Not ECN-capable, of the two lowest bits of the traffic class (RFC 3168 section 5).
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
/// Congestion experienced.
const CE: u8 = 0b11;

/// The mark that the inner packet leaves with, given those that both arrived with; `None`: it must
/// not be forwarded.
#[must_use]
#[inline(always)]
pub const fn combine(outer: u8, inner: u8) -> Option<u8> {
    match (outer & CE, inner & CE) {
        (CE, NOT_ECT) => None,
        (CE, _) => Some(CE),
        (ECT_1, ECT_0) => Some(ECT_1),
        (_, inner) => Some(inner),
    }
}

/// Writes the mark `ecn` into the inner packet, whose header starts at `AT`, before anything is moved.
#[inline(always)]
pub fn mark<const AT: usize>(packet: &mut impl PacketMut, inner: Inner, ecn: u8) {
    match inner {
        Inner::V4 => {
            let old = packet.half(AT);
            let [version, class] = old.to_ne_bytes();
            let new = u16::from_ne_bytes([version, (class & !CE) | (ecn & CE)]);
            let checksum = packet.half(AT + 10);
            packet.set_half(AT, new);
            packet.set_half(AT + 10, Difference::NONE.half(old, new).apply(checksum));
        }
        // The class lies across the first two bytes.
        Inner::V6 | Inner::V6BehindLimit => {
            let byte = packet.byte(AT + 1);
            packet.set_byte(AT + 1, (byte & !(CE << 4)) | ((ecn & CE) << 4));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_combine_as_figure_4_of_rfc_6040_says() {
        // Rows are the inner marks Not-ECT, ECT(0), ECT(1), CE; columns the outer ones, likewise.
        let marks = [NOT_ECT, ECT_0, ECT_1, CE];
        let table = [
            [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None],
            [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)],
            [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)],
            [Some(CE), Some(CE), Some(CE), Some(CE)],
        ];
        for (inner, row) in marks.into_iter().zip(table) {
            for (outer, expected) in marks.into_iter().zip(row) {
                assert_eq!(combine(outer, inner), expected, "{outer:02b} {inner:02b}");
            }
        }
    }
}

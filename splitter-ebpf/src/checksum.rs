//! Internet checksums (RFC 1071), and their incremental update (RFC 1624 equation 3).
//!
//! Sums are kept in memory order: one's complement addition commutes with swapping bytes (RFC 1071
//! section 2, "Byte Order Independence"), so nothing here swaps.

/// A one's complement difference, gathered over every word that a rewrite changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Difference(u64);

impl Difference {
    /// No change.
    pub const NONE: Self = Self(0);

    /// Adds the change of a 32-bit word from `old` to `new`, both in memory order.
    #[must_use]
    #[inline(always)]
    pub const fn word(self, old: u32, new: u32) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// Adds the change of a 64-bit word from `old` to `new`, both in memory order.
    #[must_use]
    #[inline(always)]
    pub const fn long(self, old: u64, new: u64) -> Self {
        self.word(old as u32, new as u32)
            .word((old >> 32) as u32, (new >> 32) as u32)
    }

    /// Adds the change of a 16-bit word from `old` to `new`, both in memory order.
    #[must_use]
    #[inline(always)]
    pub const fn half(self, old: u16, new: u16) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// Adds a 32-bit word that was not there before, in memory order.
    #[must_use]
    #[inline(always)]
    pub const fn plus(self, word: u32) -> Self {
        Self(self.0 + word as u64)
    }

    /// The checksum of all that was added, where nothing stood before.
    #[must_use]
    #[inline(always)]
    pub const fn checksum(self) -> u16 {
        !fold(self.0)
    }

    /// Both changes.
    #[must_use]
    #[inline(always)]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The checksum `field` after the change, both in memory order.
    #[must_use]
    #[inline(always)]
    pub const fn apply(self, field: u16) -> u16 {
        !fold(self.0 + (!field) as u64)
    }

    /// The same for UDP, where a computed 0 is sent as all ones (RFC 768) and a field of 0 on IPv4
    /// means that there is no checksum and stays.
    #[must_use]
    #[inline(always)]
    pub const fn apply_udp(self, field: u16) -> u16 {
        if field == 0 {
            return 0;
        }
        let sum = self.apply(field);
        if sum == 0 { 0xffff } else { sum }
    }
}

/// A one's complement sum over whatever a checksum covers, its own field as 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum(pub u64);

impl Sum {
    /// Over nothing.
    pub const ZERO: Self = Self(0);

    /// Adds two bytes in memory order.
    #[must_use]
    #[inline(always)]
    pub const fn half(self, half: u16) -> Self {
        Self(self.0 + half as u64)
    }

    /// Adds four bytes in memory order.
    #[must_use]
    #[inline(always)]
    pub const fn word(self, word: u32) -> Self {
        Self(self.0 + word as u64)
    }

    /// Adds eight bytes in memory order.
    #[must_use]
    #[inline(always)]
    pub const fn long(self, long: u64) -> Self {
        self.word(long as u32).word((long >> 32) as u32)
    }

    /// Adds what another sum covers.
    #[must_use]
    #[inline(always)]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The checksum, in memory order: good for up to 256 KiB.
    #[must_use]
    #[inline(always)]
    pub const fn checksum(self) -> u16 {
        !fold(self.0)
    }
}

/// Folds a sum of up to 48 bits into 16 with end-around carries.
#[inline(always)]
const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) as u16
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// The full sum over bytes, as RFC 1071 section 4.1 writes it.
    fn full(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_ne_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).expect("folded")
    }

    #[test]
    fn the_example_of_rfc_1624_section_4() {
        let new = Difference::NONE.half(0x5555_u16.to_be(), 0x3285_u16.to_be());
        assert_eq!(new.apply(0xdd2f_u16.to_be()), 0x0000);
    }

    proptest! {
        #[test]
        fn an_incremental_update_equals_the_full_sum(
            words in prop::collection::vec(any::<u32>(), 5..40), new in any::<u32>(), at in 0_usize..5, half in any::<u16>()
        ) {
            let bytes = |words: &[u32]| words.iter().flat_map(|w| w.to_ne_bytes()).collect::<Vec<_>>();
            let mut changed = words.clone();
            let before = full(&bytes(&words));
            let low = u16::from_ne_bytes([words[at].to_ne_bytes()[0], words[at].to_ne_bytes()[1]]);
            let [_, _, c, d] = new.to_ne_bytes();
            let [a, b] = half.to_ne_bytes();
            changed[at] = u32::from_ne_bytes([a, b, c, d]);
            let [.., old_c, old_d] = words[at].to_ne_bytes();
            let difference = Difference::NONE.half(low, half)
                .half(u16::from_ne_bytes([old_c, old_d]), u16::from_ne_bytes([c, d]));
            let after = full(&bytes(&changed));
            // 0 and 0xffff are one value in one's complement.
            prop_assert!(difference.apply(before) == after || (after == 0xffff || difference.apply(before) == 0xffff));
            let whole = Difference::NONE.word(words[at], changed[at]);
            prop_assert_eq!(whole.apply(before) % 0xffff, after % 0xffff);
        }
    }

    proptest! {
        #[test]
        fn a_sum_by_words_of_any_size_equals_the_sum_by_halves(
            longs in prop::collection::vec(any::<u64>(), 0..200), word in any::<u32>(), half in any::<u16>()
        ) {
            let mut bytes: Vec<u8> = longs.iter().flat_map(|long| long.to_ne_bytes()).collect();
            bytes.extend(word.to_ne_bytes());
            bytes.extend(half.to_ne_bytes());
            let sum = longs.into_iter().fold(Sum::ZERO, Sum::long).word(word).half(half);
            prop_assert_eq!(sum.checksum(), full(&bytes));
        }
    }

    #[test]
    fn udp_without_a_checksum_keeps_none_and_a_computed_zero_becomes_all_ones() {
        assert_eq!(Difference::NONE.half(1, 2).apply_udp(0), 0);
        assert_eq!(
            Difference::NONE.half(0x5555, 0x3285).apply_udp(0xdd2f),
            0xffff
        );
    }
}

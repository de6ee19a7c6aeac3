//! Sets of a bucket's lanes, as bits, without branches: which lanes are free is as good as random, and
//! the verifier walks every branch.

/// The lanes of a bucket, below 8.
pub type Lanes = u32;

/// The first lane of a set, below 8; of the empty set, any.
#[must_use]
#[inline(always)]
pub const fn first(lanes: Lanes) -> u32 {
    // Multiplied by a de Bruijn sequence, each power of two has other bits from 5 on (Leiserson,
    // Prokop and Randall, 1998). The verifier sees from the last mask that the lane is in range.
    const SEQUENCE: u32 = 0b0001_0111;
    const LANE_OF_BITS: u32 = 0x5637_4210;
    let lowest = lanes & lanes.wrapping_neg();
    let bits = (lowest.wrapping_mul(SEQUENCE) >> 5) & 7;
    (LANE_OF_BITS >> (4 * bits)) & 7
}

/// Whether at least three lanes are in the set.
#[must_use]
#[inline(always)]
pub const fn at_least_three(lanes: Lanes) -> bool {
    let but_one = lanes & lanes.wrapping_sub(1);
    but_one & but_one.wrapping_sub(1) != 0
}

/// The lanes whose word is `wanted`; `word` gives each lane's.
///
/// `negate` is the two's complement of its argument. The packet path passes one that the compiler cannot
/// see through, for it would make a branch of each comparison.
#[inline(always)]
pub fn equal(word: impl Fn(usize) -> u64, wanted: u64, negate: impl Fn(u64) -> u64) -> Lanes {
    let mut different = 0;
    let mut lane = 0;
    while lane < 8 {
        let rest = word(lane) ^ wanted;
        different |= ((rest | negate(rest)) >> 63) << lane;
        lane += 1;
    }
    (different ^ 0xff) as Lanes
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equal_finds_the_lanes_that_hold_the_word(words in any::<[u64; 8]>(), places in any::<u8>(), wanted in any::<u64>()) {
            let mut words = words;
            for (lane, word) in words.iter_mut().enumerate() {
                if places & (1 << lane) != 0 {
                    *word = wanted;
                }
            }
            let expected = words.iter().enumerate().filter(|(_, word)| **word == wanted).map(|(lane, _)| 1 << lane).sum::<u32>();
            prop_assert_eq!(equal(|lane| words[lane], wanted, u64::wrapping_neg), expected);
        }
    }

    #[test]
    fn every_set_has_its_first_lane_and_its_size() {
        for lanes in 1..256_u32 {
            assert_eq!(first(lanes), lanes.trailing_zeros());
            assert_eq!(at_least_three(lanes), lanes.count_ones() >= 3);
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_has_its_first_lane_and_its_size() {
        for lanes in 1..256_u32 {
            assert_eq!(first(lanes), lanes.trailing_zeros());
            assert_eq!(at_least_three(lanes), lanes.count_ones() >= 3);
        }
    }
}

//! Sharing whole units exactly.

use std::cmp::Reverse;

/// Shares `total` units in proportion to parts, exactly: by largest remainder, and with at least
/// `least` units for every part above 0, taken from whoever has most. Ties go to the first, so
/// callers put the parts into an order that means something.
///
/// All counts are 0 if all parts are. There must be room for `least` units each.
pub(crate) fn apportion(total: u32, least: u32, parts: &[u64]) -> Vec<u32> {
    let sum: u128 = parts.iter().map(|part| u128::from(*part)).sum();
    if sum == 0 {
        return vec![0; parts.len()];
    }
    let exact = |index: usize| u128::from(parts[index]) * u128::from(total);
    let floor = |index| u32::try_from(exact(index) / sum).unwrap_or(total);
    let mut counts: Vec<u32> = (0..parts.len()).map(floor).collect();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|index| Reverse(exact(*index) % sum));
    let missing = total - counts.iter().sum::<u32>();
    for index in order.iter().take(usize::try_from(missing).unwrap_or(0)) {
        counts[*index] += 1;
    }
    for index in 0..parts.len() {
        while parts[index] > 0 && counts[index] < least {
            let most = |other: &usize| (counts[*other], Reverse(*other));
            let richest = (0..parts.len()).max_by_key(most);
            let Some(richest) = richest.filter(|richest| counts[*richest] > least) else {
                break;
            };
            counts[richest] -= 1;
            counts[index] += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::apportion;

    #[test]
    fn the_largest_remainders_get_what_is_left_and_the_first_wins_a_tie() {
        assert_eq!(apportion(10, 0, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(apportion(10, 0, &[5, 4, 3]), [4, 3, 3]);
        assert_eq!(apportion(100, 0, &[2, 1]), [67, 33]);
    }

    #[test]
    fn every_part_above_zero_gets_the_least() {
        assert_eq!(apportion(100, 1, &[1_000_000, 1, 0, 1]), [98, 1, 0, 1]);
        assert_eq!(apportion(100, 2, &[1, 1_000_000]), [2, 98]);
    }

    #[test]
    fn nothing_is_shared_among_nobody() {
        assert_eq!(apportion(100, 1, &[0, 0]), [0, 0]);
        assert_eq!(apportion(100, 1, &[]), [0; 0]);
    }
}

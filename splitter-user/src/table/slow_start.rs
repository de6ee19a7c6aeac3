//! Slow start: the weight of a backend that has just become ready, within its track.
//!
//! Pure: what it gives follows from the time since then. Whoever calls knows the time.

use std::time::Duration;

use crate::model::Curve;

/// The part of a backend that is no longer in slow start.
pub const WHOLE: u32 = 1000;
/// Steps of a slow start: each is a track's table made anew.
const STEPS: u32 = 20;

/// The part of its weight, in thousandths, that a backend has so long after it became ready: a small one at
/// first, never 0, and from `duration` on [`WHOLE`].
#[must_use]
pub fn part(elapsed: Duration, duration: Duration, curve: Curve) -> u32 {
    if elapsed >= duration {
        return WHOLE;
    }
    match curve {
        Curve::Linear => {
            let steps = elapsed.as_millis() * u128::from(STEPS) / duration.as_millis().max(1);
            let steps = u32::try_from(steps).unwrap_or(STEPS).clamp(1, STEPS);
            steps * (WHOLE / STEPS)
        }
    }
}

/// The weights of a track's backends of one family: pairs of what each is given and its part. If all of them
/// are in slow start they share alike, as they would after it.
#[must_use]
pub fn weights(backends: &[(u32, u32)]) -> Vec<u32> {
    let any = backends.iter().any(|(_, part)| *part < WHOLE);
    if !any || share_alike(backends) {
        return backends.iter().map(|(weight, _)| *weight).collect();
    }
    backends
        .iter()
        .map(|(weight, part)| weight * part)
        .collect()
}

/// Whether all of them are in slow start, so that each has its whole weight.
#[must_use]
pub fn share_alike(backends: &[(u32, u32)]) -> bool {
    backends.iter().all(|(_, part)| *part < WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_line_goes_from_a_small_part_to_the_whole() {
        let at = |seconds| part(Duration::from_secs(seconds), MINUTE, Curve::Linear);
        assert_eq!(
            [at(0), at(3), at(30), at(57), at(59), at(60), at(600)],
            [50, 50, 500, 950, 950, 1000, 1000]
        );
    }

    #[test]
    fn those_that_all_start_share_alike_and_so_do_those_that_none_does() {
        assert_eq!(weights(&[(1, 50), (3, 950)]), [1, 3]);
        assert_eq!(weights(&[(1, WHOLE), (3, WHOLE)]), [1, 3]);
        assert_eq!(weights(&[(1, 50), (3, WHOLE)]), [50, 3000]);
        assert_eq!(weights(&[]), [0_u32; 0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn a_part_only_grows_and_is_never_nothing(
            duration in 1..10_000_000_u64, one in 0..10_000_000_u64, more in 0..10_000_000_u64,
        ) {
            let of = |elapsed| part(Duration::from_millis(elapsed), Duration::from_millis(duration), Curve::Linear);
            prop_assert!(0 < of(one) && of(one) <= of(one + more) && of(one + more) <= WHOLE);
            prop_assert_eq!(of(one) == WHOLE, one >= duration);
        }
    }
}

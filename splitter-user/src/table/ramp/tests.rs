#![expect(clippy::unwrap_used, reason = "test code")]

use proptest::prelude::*;

use super::super::split::{Share, allocate, target_counts};
use super::*;

const NAMES: [&str; 8] = [
    "blue", "canary", "green", "north", "red", "south", "teal", "white",
];

fn shares(parts: &Counts) -> Vec<Share<'static>> {
    (0..8)
        .zip(NAMES)
        .zip(parts)
        .map(|((track, name), parts)| Share {
            track,
            name,
            parts: (*parts).into(),
        })
        .collect()
}

#[test]
fn half_of_the_time_is_half_of_the_way() {
    let (start, goal) = (
        [62_259, 3_277, 0, 0, 0, 0, 0, 0],
        [32_768, 32_768, 0, 0, 0, 0, 0, 0],
    );
    let distance = distance(&start, &goal);
    assert_eq!(distance, 29_491);
    assert_eq!(moved(distance, 15_000, 30_000), 14_745);
    assert_eq!(counts(&start, &goal, 14_745)[..2], [47_514, 18_022]);
    assert_eq!(moved(distance, 30_000, 30_000), distance);
    assert_eq!(moved(distance, 90_000, 30_000), distance);
    assert_eq!(counts(&start, &goal, distance), goal);
}

#[test]
fn a_ramp_that_goes_nowhere_or_takes_no_time_is_at_its_end() {
    let start = [65_536, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(distance(&start, &start), 0);
    assert_eq!(counts(&start, &start, 7), start);
    assert_eq!(moved(100, 0, 0), 100);
}

/// Counts of a split of up to eight tracks.
fn split() -> impl Strategy<Value = Counts> {
    let part = prop_oneof![2 => Just(0_u32), 3 => 1..100_000_u32];
    prop::collection::vec(part, 8).prop_map(|mut parts| {
        if parts.iter().all(|part| *part == 0) {
            parts[0] = 1;
        }
        let parts: Counts = parts.try_into().unwrap();
        target_counts(&shares(&parts)).unwrap().try_into().unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn every_step_is_whole_and_only_gives_to_those_that_grow(
        start in split(), goal in split(), first in 0..=65_536_u32, step in 0..3_u32,
    ) {
        let distance = distance(&start, &goal);
        let first = first.min(distance);
        let second = (first + step).min(distance);
        let (one, two) = (counts(&start, &goal, first), counts(&start, &goal, second));
        prop_assert_eq!(one.iter().sum::<u32>(), 65_536);
        for track in 0..MAX_TRACKS {
            if goal[track] >= start[track] {
                prop_assert!(start[track] <= one[track] && one[track] <= two[track] && two[track] <= goal[track]);
            } else {
                prop_assert!(start[track] >= one[track] && one[track] >= two[track] && two[track] >= goal[track]);
            }
        }
        let gained: u32 = one.iter().zip(&start).map(|(one, start)| one.saturating_sub(*start)).sum();
        prop_assert_eq!(gained, first);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn a_client_that_a_step_moved_to_a_growing_track_stays_there(
        start in split(), goal in split(), first in 1..1000_u64,
    ) {
        let distance = distance(&start, &goal);
        let mut slots = allocate(None, &shares(&start)).unwrap();
        for elapsed in [first, 1000] {
            let counts = counts(&start, &goal, moved(distance, elapsed, 1000));
            let next = allocate(Some(&slots), &shares(&counts)).unwrap();
            prop_assert_eq!(next.counts(), counts);
            let pairs = slots.as_bytes().iter().zip(next.as_bytes());
            let kept = |(before, after): (&u8, &u8)| {
                let owner = usize::from(*before);
                before == after || goal[owner] < start[owner]
            };
            prop_assert!(pairs.into_iter().all(kept));
            slots = next;
        }
        prop_assert_eq!(slots.counts(), goal);
    }
}

#![expect(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::digest::digest;
use super::rearrange::{scatter, scattered};
use super::*;

const NAMES: [&str; 8] = [
    "blue", "canary", "green", "north", "red", "south", "teal", "white",
];

/// Shares for tracks 0, 1, ... with the names above.
fn shares(parts: &[u64]) -> Vec<Share<'static>> {
    (0..8)
        .zip(NAMES)
        .zip(parts)
        .map(|((track, name), parts)| Share {
            track,
            name,
            parts: *parts,
        })
        .collect()
}

fn table(before: Option<&Slots>, parts: &[u64]) -> Slots {
    allocate(before, &shares(parts)).unwrap()
}

fn counts(parts: &[u64]) -> Vec<u32> {
    target_counts(&shares(parts)).unwrap()
}

#[test]
fn the_scattered_order_is_a_permutation_and_puts_neighbours_apart() {
    let mut seen = vec![false; SLOTS];
    scattered().for_each(|slot| seen[usize::from(slot)] = true);
    assert!(seen.iter().all(|seen| *seen));
    let near = (0..u16::MAX).filter(|rank| scatter(*rank).abs_diff(scatter(rank + 1)) < 16);
    assert!(near.count() < 200);
}

#[test]
fn a_small_share_is_spread_over_all_slots() {
    let slots = table(None, &[5, 95]);
    for stretch in slots.as_bytes().chunks(SLOTS / 16) {
        let mine = stretch.iter().filter(|track| **track == 0).count();
        assert!(
            (150..260).contains(&mine),
            "{mine} of 4096, where 205 would be even"
        );
    }
}

#[test]
fn counts_are_exact_by_largest_remainder_with_ties_by_name() {
    assert_eq!(counts(&[5, 95]), [3_277, 62_259]);
    assert_eq!(counts(&[1, 1, 1]), [21_846, 21_845, 21_845]);
    assert_eq!(counts(&[99_900, 100]), [65_470, 66]);
    assert_eq!(counts(&[0, 1]), [0, 65_536]);
    let mut reversed = shares(&[1, 1, 1]);
    reversed.reverse();
    assert_eq!(target_counts(&reversed).unwrap(), [21_845, 21_845, 21_846]);
}

#[test]
fn a_track_above_zero_has_a_slot() {
    assert_eq!(counts(&[u64::MAX, 1, 0]), [65_535, 1, 0]);
}

#[test]
fn shares_that_make_no_table_say_why() {
    assert_eq!(allocate(None, &[]), Err(SplitError::Nothing));
    assert_eq!(allocate(None, &shares(&[0, 0])), Err(SplitError::Nothing));
    let mut wrong = shares(&[1, 1]);
    wrong[1].track = 8;
    assert!(matches!(
        allocate(None, &wrong),
        Err(SplitError::Number { track: 8, .. })
    ));
    wrong[1].track = 0;
    assert!(matches!(
        allocate(None, &wrong),
        Err(SplitError::Twice { .. })
    ));
    wrong[1] = Share {
        track: 1,
        ..wrong[0]
    };
    assert!(matches!(
        allocate(None, &wrong),
        Err(SplitError::Twice { .. })
    ));
}

#[test]
fn bytes_that_are_no_table_say_why() {
    assert_eq!(Slots::from_bytes(&[0; 7]), Err(SlotsError::Length(7)));
    let mut bytes = vec![7; SLOTS];
    assert!(Slots::from_bytes(&bytes).is_ok());
    bytes[9] = 8;
    assert_eq!(
        Slots::from_bytes(&bytes),
        Err(SlotsError::Track { slot: 9, track: 8 })
    );
}

#[test]
fn a_ramp_never_moves_a_client_out_of_the_growing_track() {
    let mut slots = table(None, &[95, 5]);
    let first = slots.clone();
    for green in [25, 50, 75, 100] {
        let next = table(Some(&slots), &[100 - green, green]);
        let pairs = slots.as_bytes().iter().zip(next.as_bytes());
        assert!(
            pairs
                .clone()
                .all(|(before, after)| *before == 0 || *after == 1)
        );
        slots = next;
    }
    assert_eq!(table(Some(&slots), &[95, 5]), first);
}

#[test]
fn the_table_never_changes_between_versions() {
    let names: Vec<(u8, &str)> = (0..8).zip(NAMES).collect();
    let two = table(None, &[95, 0, 5]);
    let three = table(Some(&two), &[50, 20, 30]);
    let four = table(Some(&three), &[0, 40, 35, 25]);
    let digests = [&two, &three, &four].map(|slots| digest(slots, &names, &[]));
    assert_eq!(
        digests,
        ["2b2bc554c0eb6f21", "eef5473e4090ae89", "d6fae89b9eaacf9b"]
    );
}

/// Parts of up to eight tracks, some of them 0, at least one not.
fn parts() -> impl Strategy<Value = Vec<u64>> {
    let part = prop_oneof![1 => Just(0), 1 => 1..50_u64, 3 => 1..100_000_u64];
    prop::collection::vec(part, 1..=8).prop_map(|mut parts| {
        if parts.iter().all(|part| *part == 0) {
            parts[0] = 1;
        }
        parts
    })
}

/// A table with some history.
fn history() -> impl Strategy<Value = Slots> {
    prop::collection::vec(parts(), 1..=2).prop_map(|steps| {
        let first = table(None, &steps[0]);
        let rest = steps[1..].iter();
        rest.fold(first, |before, parts| table(Some(&before), parts))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 10_000, ..ProptestConfig::with_cases(10_000) })]

    #[test]
    fn every_table_is_exact_moves_the_fewest_slots_and_takes_none_from_a_track_that_grows(
        before in history(), after in parts(),
    ) {
        let slots = table(Some(&before), &after);
        let mut wanted = counts(&after);
        wanted.resize(8, 0);
        prop_assert_eq!(wanted.iter().sum::<u32>(), 65_536);
        prop_assert_eq!(&slots.counts()[..], &wanted[..]);
        for (part, count) in after.iter().zip(&wanted) {
            prop_assert_eq!(*part > 0, *count > 0);
        }
        let (had, has) = (before.counts(), slots.counts());
        let grown: u32 = had.iter().zip(has).map(|(had, has)| has.saturating_sub(*had)).sum();
        prop_assert_eq!(moved(&before, &slots), usize::try_from(grown).unwrap());
        for (before, after) in before.as_bytes().iter().zip(slots.as_bytes()) {
            let owner = usize::from(*before);
            prop_assert!(before == after || has[owner] < had[owner]);
        }
    }

    #[test]
    fn counts_are_within_one_of_the_exact_share_unless_lifted_to_one(parts in parts()) {
        let sum: u64 = parts.iter().sum();
        for (part, count) in parts.iter().zip(counts(&parts)) {
            let exact = f64::from(u32::try_from(*part).unwrap()) * 65_536.0
                / f64::from(u32::try_from(sum).unwrap());
            prop_assert!((f64::from(count) - exact).abs() < 9.0);
            if parts.iter().all(|part| *part == 0 || part * 65_536 >= sum) {
                prop_assert!((f64::from(count) - exact).abs() < 1.0);
            }
        }
    }

    #[test]
    fn a_two_track_table_is_a_function_of_the_weights_alone(
        steps in prop::collection::vec(0..=100_u64, 0..2), last in 0..=100_u64,
        (a, b) in (0..8_usize, 0..8_usize),
    ) {
        prop_assume!(a != b);
        let two = |percent: u64| {
            let mut parts = vec![0; 8];
            parts[a] = percent;
            parts[b] = 100 - percent;
            parts
        };
        let mut before = None;
        for step in steps {
            before = Some(table(before.as_ref(), &two(step)));
        }
        prop_assert_eq!(table(before.as_ref(), &two(last)), table(None, &two(last)));
    }

    #[test]
    fn a_ramp_is_nested(before in history(), start in parts(), growing in 0..8_usize) {
        let growing = growing % start.len();
        let mut parts = start;
        parts[growing] += 1;
        let mut slots = table(Some(&before), &parts);
        parts[growing] *= 4;
        let next = table(Some(&slots), &parts);
        let pairs = slots.as_bytes().iter().zip(next.as_bytes());
        let mine = u8::try_from(growing).unwrap();
        prop_assert!(pairs.clone().all(|(before, after)| *before != mine || *after == mine));
        slots = next;
        prop_assert_eq!(table(Some(&slots), &parts), slots, "nothing moves when nothing changes");
    }

    #[test]
    fn names_decide_and_numbers_do_not(
        steps in prop::collection::vec(parts(), 1..3),
        numbers in Just((0..8_u8).collect::<Vec<_>>()).prop_shuffle(),
        order in Just((0..8_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let (mut one, mut other) = (None, None);
        for parts in &steps {
            let mine = shares(parts);
            let mut theirs = mine.clone();
            for share in &mut theirs {
                share.track = numbers[usize::from(share.track)];
            }
            let mut shuffled = Vec::new();
            for index in &order {
                shuffled.extend(theirs.get(*index));
            }
            one = Some(allocate(one.as_ref(), &mine).unwrap());
            other = Some(allocate(other.as_ref(), &shuffled).unwrap());
        }
        let (one, other) = (one.unwrap(), other.unwrap());
        let pairs = one.as_bytes().iter().zip(other.as_bytes());
        for (one, other) in pairs {
            prop_assert_eq!(numbers[usize::from(*one)], *other);
        }
        let plain: Vec<(u8, &str)> = (0..8).zip(NAMES).collect();
        let renumbered: BTreeMap<u8, &str> =
            plain.iter().map(|(n, name)| (numbers[usize::from(*n)], *name)).collect();
        let renumbered: Vec<(u8, &str)> = renumbered.into_iter().collect();
        prop_assert_eq!(digest(&one, &plain, &[]), digest(&other, &renumbered, &[]));
    }
}

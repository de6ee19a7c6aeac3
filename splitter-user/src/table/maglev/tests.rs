#![expect(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn member(number: u16, weight: u32) -> Member {
    let [high, low] = number.to_be_bytes();
    Member {
        id: number + 1,
        address: IpAddr::V4(Ipv4Addr::new(198, 18, high, low)),
        port: 80,
        weight,
    }
}

fn members(weights: &[u32]) -> Vec<Member> {
    (0..).zip(weights).map(|(n, w)| member(n, *w)).collect()
}

fn counts(table: &[u16]) -> BTreeMap<u16, u32> {
    let mut counts = BTreeMap::new();
    for id in table {
        *counts.entry(*id).or_insert(0) += 1;
    }
    counts
}

/// Entries that changed although neither owner is one of these.
fn disturbed(a: &[u16], b: &[u16], but: &[u16]) -> usize {
    let pairs = a.iter().zip(b);
    pairs
        .filter(|(a, b)| a != b && !but.contains(a) && !but.contains(b))
        .count()
}

#[test]
fn nobody_serves_an_empty_track() {
    for table in [build(&[]), build(&members(&[0, 0]))] {
        assert_eq!(table.len(), ENTRIES);
        assert!(table.iter().all(|id| *id == NOBODY));
    }
}

#[test]
fn the_number_of_entries_is_prime() {
    assert!((2..=256).all(|divisor| !ENTRIES.is_multiple_of(divisor)));
}

#[test]
fn one_backend_has_every_entry() {
    assert!(build(&members(&[3])).iter().all(|id| *id == 1));
}

#[test]
fn shares_are_exact_to_one_entry() {
    let counted = counts(&build(&members(&[1, 2, 3, 4])));
    let exact = |weight| f64::from(ALL) * f64::from(weight) / 10.0;
    for (id, count) in counted {
        assert!((f64::from(count) - exact(id)).abs() <= 1.0);
    }
    let equal = counts(&build(&members(&[7; 1_000])));
    assert!(equal.values().all(|count| (65..=66).contains(count)));
}

#[test]
fn the_lightest_of_a_full_track_still_has_an_entry() {
    let mut weights = vec![1_000; 1_024];
    weights[17] = 1;
    let counted = counts(&build(&members(&weights)));
    assert_eq!(counted.len(), 1_024);
    assert_eq!(counted[&18], 1);
    let mut weights = vec![1; 1_024];
    weights[0] = 1_000_000;
    let counted = counts(&build(&members(&weights)));
    assert_eq!((counted.len(), counted[&1]), (1_024, ALL - 1_023));
}

#[test]
fn a_backend_that_goes_moves_few_entries_of_the_others() {
    for count in [3, 10, 100, 1_000] {
        let all = members(&vec![1; count]);
        let before = build(&all);
        let gone = usize::midpoint(0, count);
        let mut left = all.clone();
        left.remove(gone);
        let after = build(&left);
        let moved = disturbed(&before, &after, &[all[gone].id]);
        assert!(
            moved < ENTRIES / 50,
            "{count} backends: {moved} entries moved"
        );
    }
}

#[test]
fn a_weight_that_changes_moves_little_more_than_it_must() {
    let weights = |first| members(&[first, 10, 10, 10, 10, 10, 10, 10, 10, 10]);
    let (before, after) = (build(&weights(10)), build(&weights(5)));
    let moved = disturbed(&before, &after, &[1]);
    assert!(moved < ENTRIES / 20, "{moved} entries moved");
}

#[test]
fn an_entry_depends_on_address_and_port_and_not_on_the_id() {
    let mut renamed = members(&[1, 2, 3]);
    let before = build(&renamed);
    renamed.iter_mut().for_each(|member| member.id += 100);
    let after = build(&renamed);
    assert!(before.iter().zip(&after).all(|(a, b)| a + 100 == *b));
    renamed.iter_mut().for_each(|member| member.port = 81);
    assert_ne!(build(&renamed), after);
}

#[test]
fn ipv6_backends_are_dealt_like_ipv4_ones() {
    let v6 = |n: u16| Member {
        address: IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, n)),
        ..member(n, 1)
    };
    let counted = counts(&build(&[v6(0), v6(1), v6(2)]));
    assert!(counted.values().all(|count| count.abs_diff(ALL / 3) <= 1));
}

#[test]
fn the_table_never_changes_between_versions() {
    let mut hash = Fnv::default();
    for id in build(&members(&[1, 2, 3, 1_000])) {
        id.to_be_bytes().iter().for_each(|byte| hash.add(*byte));
    }
    assert_eq!(format!("{:016x}", hash.0), "9ebfe1f276740d3a");
}

proptest! {
    #[test]
    fn the_order_of_backends_does_not_matter(
        shuffled in Just((0..40_u16).map(|n| member(n, u32::from(n % 5) + 1)).collect::<Vec<_>>())
            .prop_shuffle(),
    ) {
        let mut sorted = shuffled.clone();
        sorted.sort_unstable_by_key(|member| member.id);
        prop_assert_eq!(build(&shuffled), build(&sorted));
    }

    #[test]
    fn every_weight_is_honoured(weights in prop::collection::vec(1..=1_000_u32, 1..64)) {
        let sum: u32 = weights.iter().sum();
        let counted = counts(&build(&members(&weights)));
        for (id, weight) in (1..).zip(&weights) {
            let exact = f64::from(ALL) * f64::from(*weight) / f64::from(sum);
            let count = f64::from(*counted.get(&id).unwrap());
            prop_assert!((count - exact).abs() <= 1.0, "{} for {}", count, exact);
        }
    }
}

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

/// Backends of any weights, some of them 0, at places that may lie far apart.
fn any_members() -> impl Strategy<Value = Vec<Member>> {
    let weight = prop_oneof![1 => Just(0), 4 => 1..=1_000_u32];
    prop::collection::btree_map(0..u16::MAX, weight, 0..64).prop_map(|backends| {
        let ids = (1..).zip(backends);
        ids.map(|(id, (number, weight))| Member {
            id,
            ..member(number, weight)
        })
        .collect()
    })
}

/// Tables that are dealt as the whole one is, in the time that allows for many of them.
fn small_prime() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![257_u32, 521, 1_031])
}

/// Every backend has exactly the entries that its weight comes to, and nobody has none if somebody has weight.
fn is_exact(table: &[u16], members: &[Member]) -> bool {
    let mut sorted = members.to_vec();
    sorted.sort_unstable_by_key(|member| member.address);
    let weights: Vec<u64> = sorted.iter().map(|m| u64::from(m.weight)).collect();
    let targets = apportion(u32::try_from(table.len()).unwrap(), 1, &weights);
    let counted = counts(table);
    let wanted = sorted.iter().zip(targets).filter(|(_, count)| *count > 0);
    let mut wanted: BTreeMap<u16, u32> = wanted.map(|(m, count)| (m.id, count)).collect();
    if wanted.is_empty() {
        wanted.insert(NOBODY, u32::try_from(table.len()).unwrap());
    }
    counted == wanted
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn what_a_weight_comes_to_is_within_one_entry_of_it(weights in prop::collection::vec(1..=1_000_u64, 1..64)) {
        let sum: u64 = weights.iter().sum();
        let counts = apportion(ALL, 1, &weights);
        prop_assert_eq!(counts.iter().sum::<u32>(), ALL);
        for (count, weight) in counts.iter().zip(&weights) {
            let (has, wants) = (u64::from(*count) * sum, weight * u64::from(ALL));
            prop_assert!(has.abs_diff(wants) < sum, "{} for {} of {}", count, weight, sum);
        }
    }

    #[test]
    fn every_table_is_exact_and_the_order_of_backends_does_not_matter(
        (members, shuffled) in any_members().prop_flat_map(|members| (Just(members.clone()), Just(members).prop_shuffle())),
        entries in small_prime(),
    ) {
        let table = deal(&members, entries);
        prop_assert!(is_exact(&table, &members));
        prop_assert_eq!(deal(&shuffled, entries), table);
    }
}

proptest! {
    // A whole table takes milliseconds: ten thousand of them would take a minute.
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_whole_table_is_exact_too(members in any_members().prop_shuffle()) {
        prop_assert!(is_exact(&build(&members), &members));
    }
}

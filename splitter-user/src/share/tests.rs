#![expect(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn weights(list: &[(&str, &str)]) -> Vec<(String, Weight)> {
    let pair = |(name, weight): &(&str, &str)| ((*name).to_owned(), weight.parse().unwrap());
    list.iter().map(pair).collect()
}

fn shown(weights: &[(String, Weight)]) -> String {
    let pairs = weights
        .iter()
        .map(|(name, weight)| format!("{name}={weight}"));
    pairs.collect::<Vec<_>>().join(" ")
}

fn shift(current: &[(&str, &str)], given: &[(&str, &str)]) -> Result<String, String> {
    match set_weight(&weights(current), &weights(given)) {
        Ok(weights) => Ok(shown(&weights)),
        Err(error) => Err(error.to_string()),
    }
}

const TWO: &[(&str, &str)] = &[("blue", "95%"), ("green", "5%")];
const THREE: &[(&str, &str)] = &[("blue", "60%"), ("canary", "10%"), ("green", "30%")];
const FRESH: &[(&str, &str)] = &[("blue", "100%"), ("canary", "0%"), ("green", "0%")];

#[test]
fn tracks_left_out_share_the_rest_in_their_proportion() {
    assert_eq!(shift(TWO, &[("green", "25%")]).unwrap(), "blue=75 green=25");
    assert_eq!(
        shift(THREE, &[("canary", "40%")]).unwrap(),
        "blue=40 canary=40 green=20"
    );
    assert_eq!(
        shift(THREE, &[("canary", "0%")]).unwrap(),
        "blue=66.667 canary=0 green=33.333"
    );
    assert_eq!(
        shift(THREE, &[("green", "100%")]).unwrap(),
        "blue=0 canary=0 green=100"
    );
}

#[test]
fn one_track_at_zero_takes_the_rest_and_several_are_refused() {
    assert_eq!(
        shift(&[("blue", "100%"), ("green", "0%")], &[("blue", "90%")]).unwrap(),
        "blue=90 green=10"
    );
    let error = shift(FRESH, &[("blue", "90%")]).unwrap_err();
    assert!(
        error.contains("10% is left for canary, green, which are all at 0%"),
        "{error}"
    );
}

#[test]
fn rounding_never_takes_the_last_slot_of_a_track() {
    let tiny = &[("blue", "99.998%"), ("canary", "0.002%"), ("green", "0%")];
    assert_eq!(
        shift(tiny, &[("green", "50%")]).unwrap(),
        "blue=49.998 canary=0.002 green=50"
    );
    let error = shift(TWO, &[("green", "99.999%")]).unwrap_err();
    assert!(error.contains("0.001% is left for blue"), "{error}");
    assert!(error.contains("less than one slot"), "{error}");
}

#[test]
fn weights_that_cannot_be_say_why() {
    for (given, why) in [
        (
            &[("gren", "5%")][..],
            "no track `gren` in the service: it has blue, green; did you mean `green`?",
        ),
        (
            &[("green", "5%"), ("green", "6%")],
            "`green` is given twice",
        ),
        (
            &[("green", "0.001%")],
            "less than one slot of the split table (100/65536 %): write 0% or at least 0.002%",
        ),
        (
            &[("green", "60%"), ("blue", "60.5%")],
            "sum to 120.5%, which is more than 100%: take 20.5% away",
        ),
        (
            &[("green", "60%"), ("blue", "39%")],
            "sum to 99% and no track is left out",
        ),
        (&[], "no weight given"),
    ] {
        let error = shift(TWO, given).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_cutover_gives_everything_to_one_track() {
    let after = cutover(&weights(THREE), "green").unwrap();
    assert_eq!(shown(&after), "blue=0 canary=0 green=100");
    assert!(matches!(
        cutover(&weights(THREE), "red"),
        Err(ShareError::Unknown { .. })
    ));
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_drained_track_has_no_part_and_the_others_keep_their_proportion() {
    let parts = effective(&weights(THREE), &names(&["canary"])).unwrap();
    let parts: Vec<u64> = parts.iter().map(|(_, part)| *part).collect();
    assert_eq!(parts, [60_000, 0, 30_000]);
}

#[test]
fn somebody_must_take_new_flows() {
    let error = effective(&weights(TWO), &names(&["blue", "green"])).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("nothing would take new flows: blue, green would all be out"));
    assert!(text.contains("splitterctl ready"), "{text}");
    let text = effective(&weights(FRESH), &names(&["blue"]))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("canary, green at 0%") && text.contains("set-weight"),
        "{text}"
    );
}

#[test]
fn weights_in_force_are_kept_when_none_are_given() {
    let inherit = |tracks: &[&str], before: &[(&str, &str)]| {
        inherit(tracks, Some(&weights(before))).map(|after| shown(&after))
    };
    assert_eq!(inherit(&["green", "blue"], TWO).unwrap(), "green=5 blue=95");
    assert_eq!(
        inherit(&["blue", "new", "green"], TWO).unwrap(),
        "blue=95 new=0 green=5"
    );
    assert_eq!(inherit(&["blue"], TWO).unwrap(), "blue=100");
    let gone = inherit(&["blue", "new"], TWO).unwrap_err().to_string();
    assert!(gone.contains("green=5%"), "{gone}");
    assert_eq!(super::inherit(&["blue"], None).unwrap()[0].1, Weight::FULL);
    assert_eq!(
        super::inherit(&["blue", "green"], None),
        Err(ShareError::NoneInForce)
    );
}

#[test]
fn assignments_are_read() {
    assert_eq!(
        parse_assignment("green=25%").unwrap(),
        ("green".to_owned(), Weight::from_millis(25_000).unwrap())
    );
    for text in ["green", "green=", "=5%"] {
        let error = parse_assignment(text).unwrap_err().to_string();
        assert!(error.contains("is not TRACK=P%"), "{error}");
    }
    let error = parse_assignment("green=25").unwrap_err().to_string();
    assert!(
        error.contains("`green=25`") && error.contains("percent sign"),
        "{error}"
    );
}

#[test]
fn measured_shares_have_two_decimals() {
    assert_eq!(percent(498, 10_000).as_deref(), Some("4.98"));
    assert_eq!(percent(1, 3).as_deref(), Some("33.33"));
    assert_eq!(percent(u64::MAX, u64::MAX).as_deref(), Some("100.00"));
    assert_eq!(percent(0, 0), None);
}

fn any_weights() -> impl Strategy<Value = Vec<(String, Weight)>> {
    prop::collection::vec(0..1_000_u64, 1..=8).prop_map(|mut parts| {
        if parts.iter().all(|part| *part == 0) {
            parts[0] = 1;
        }
        let counts = apportion(100_000, 2, &parts);
        let weights = counts.into_iter().map(|c| Weight::from_millis(c).unwrap());
        let name = |index| format!("track-{index}");
        (0..8).map(name).zip(weights).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 10_000, ..ProptestConfig::with_cases(10_000) })]

    #[test]
    fn a_shift_is_exact(current in any_weights(), index in 0..8_usize, millis in 2..=99_980_u32) {
        let track = current[index % current.len()].0.clone();
        let weight = Weight::from_millis(millis).unwrap();
        if let Ok(after) = set_weight(&current, &[(track.clone(), weight)]) {
            prop_assert_eq!(after.iter().map(|(_, w)| w.millis()).sum::<u32>(), 100_000);
            for ((name, before), (same, after)) in current.iter().zip(&after) {
                prop_assert_eq!(name, same);
                prop_assert!(!after.is_under_one_slot());
                if *name == track {
                    prop_assert_eq!(*after, weight);
                } else if current.len() > 2 {
                    prop_assert_eq!(before.is_zero(), after.is_zero());
                }
            }
        }
    }

    #[test]
    fn shares_left_out_keep_their_proportion(current in any_weights(), millis in 0..=90_000_u32) {
        let weight = Weight::from_millis(millis).unwrap();
        prop_assume!(!weight.is_under_one_slot());
        let rest = f64::from(100_000 - millis);
        let others: u32 = current[1..].iter().map(|(_, w)| w.millis()).sum();
        prop_assume!(others > 0);
        let after = set_weight(&current, &[(current[0].0.clone(), weight)]).unwrap();
        for ((_, before), (_, after)) in current.iter().zip(&after).skip(1) {
            let exact = f64::from(before.millis()) * rest / f64::from(others);
            prop_assert!((f64::from(after.millis()) - exact).abs() <= 16.0);
        }
    }
}

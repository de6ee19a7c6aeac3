//! What ends a ramp, and what is in force, desired and gone back to after that.

use std::time::Duration;

use super::*;
use crate::state::{ServiceState, SplitFate};

fn weigh(track: &str, weight: &str, ramp: Option<u64>) -> Command {
    Command::SetWeight {
        target: service("web"),
        weights: vec![(track.to_owned(), weight.to_owned())],
        ramp: ramp.map(Duration::from_secs),
    }
}

fn later(world: &World, seconds: u64) -> World {
    step_of(world, Duration::from_secs(seconds)).unwrap().next
}

fn state(world: &World) -> &ServiceState {
    &world.services["web"]
}

fn track(name: &str) -> DrainTarget {
    DrainTarget::Track(name.to_owned())
}

fn ready(what: DrainTarget) -> Command {
    Command::Ready {
        service: "web".to_owned(),
        what,
    }
}

fn undo_to(generation: u64) -> Command {
    Command::Undo {
        target: service("web"),
        to_generation: Some(generation),
        existing: Existing::Keep,
    }
}

fn weight(world: &World, track: &str) -> String {
    let weights = weights(world);
    let found = weights.iter().find(|(name, _)| name == track);
    found.unwrap().1.to_string()
}

fn warnings(plan: &Plan) -> String {
    plan.changes[0].warnings.join("\n")
}

/// Blue with 60 %, green with 40 %, canary with none.
fn three() -> World {
    let tracks = [
        ("blue", "60%", "198.18.2.11"),
        ("green", "40%", "198.18.2.21"),
        ("canary", "0%", "198.18.2.31"),
    ];
    let text = yaml("web", "198.18.1.100", &tracks);
    after(&World::empty(16, 64, 64), &apply(&text))
}

#[test]
fn the_generation_of_a_ramp_makes_a_split_of_its_own() {
    let before = web();
    for seconds in [0, 15, 30] {
        let world = later(&after(&before, &weigh("green", "50%", Some(30))), seconds);
        let ramped = state(&world);
        assert_eq!((ramped.generation, ramped.split_since), (2, 2));
        assert!(matches!(ramped.fate_of(1), SplitFate::Anchor(_)));
        let back = after(&world, &undo_to(1));
        assert_eq!(
            state(&back).split.slots,
            state(&before).split.slots,
            "after {seconds} s"
        );
    }
}

#[test]
fn anchors_of_before_and_after_a_ramp_are_told_apart() {
    let ramped = later(&after(&web(), &weigh("green", "50%", Some(30))), 30);
    let world = after(&ramped, &cutover("green"));
    let ranges: Vec<(u64, u64)> = state(&world)
        .anchors
        .iter()
        .map(|anchor| (anchor.since, anchor.generation))
        .collect();
    assert_eq!(ranges, [(2, 2), (1, 1)]);
    assert_eq!(state(&after(&world, &undo_to(1))).slots_of("green"), 3_277);
    assert_eq!(state(&after(&world, &undo_to(2))).slots_of("green"), 32_768);
}

#[test]
fn undo_of_a_ramp_before_its_first_step_leaves_what_older_undos_go_back_to() {
    let shifted = after(&web(), &weigh("green", "20%", None));
    let begun = after(&shifted, &weigh("green", "50%", Some(30)));
    let back = after(&begun, &undo());
    assert_eq!(weights(&back), weights(&shifted));
    assert_eq!(state(&back).split_since, 2, "it is the split of before");
    assert!(matches!(state(&back).fate_of(3), SplitFate::Current));
    let older = after(&back, &undo());
    assert_eq!(state(&older).slots_of("green"), 3_277);
}

#[test]
fn a_change_before_the_first_step_of_a_ramp_leaves_one_anchor_of_the_split_of_before() {
    let begun = after(&web(), &weigh("green", "50%", Some(30)));
    let cut = after(&begun, &cutover("green"));
    let anchors = &state(&cut).anchors;
    assert_eq!(anchors.len(), 1);
    assert_eq!((anchors[0].since, anchors[0].generation), (1, 2));
    assert_eq!(anchors[0].weights, weights(&web()));
}

#[test]
fn a_ramp_ends_at_its_goal_when_a_track_with_slots_is_removed() {
    let half = later(&after(&web(), &weigh("green", "100%", Some(600))), 300);
    let only = yaml("web", "198.18.1.100", &[("green", "100%", "198.18.2.21")]);
    let plan = plan(&half, &apply(&only), None, NOW).unwrap();
    let web = &plan.next.services["web"];
    assert!(web.ramp.is_none());
    assert_eq!(web.slots_of("green"), 65_536, "nobody serves blue's slots");
    assert!(
        warnings(&plan).contains("ends the ramp"),
        "{}",
        warnings(&plan)
    );
}

#[test]
fn a_ramp_ends_at_its_goal_when_a_track_with_slots_has_no_backend_left_of_a_listeners_family() {
    let half = later(&after(&web(), &weigh("green", "100%", Some(600))), 300);
    let tracks = [
        ("blue", "0%", "198.18.2.11"),
        ("green", "100%", "198.18.2.21"),
    ];
    let text = yaml("web", "198.18.1.100", &tracks);
    let text = text.replace("[{address: 198.18.2.11, port: 80}]", "[]");
    let ended = after(&half, &apply(&text));
    assert!(state(&ended).ramp.is_none());
    assert_eq!(state(&ended).slots_of("green"), 65_536);
}

#[test]
fn a_ramp_that_is_stopped_keeps_the_desired_weights_of_tracks_that_are_out() {
    let drained = after(&three(), &drain(track("blue")));
    let begun = after(&drained, &weigh("canary", "20%", Some(600)));
    assert_eq!(weight(&begun, "blue"), "48");
    let half = later(&begun, 300);
    let plan = plan(&half, &ready(track("blue")), None, NOW).unwrap();
    let world = &plan.next;
    assert_eq!(weight(world, "blue"), "48");
    assert_eq!(state(world).slots_of("blue"), 31_457);
    assert_eq!(weight(world, "canary"), "10");
    assert_eq!(weight(world, "green"), "42");
    assert!(
        warnings(&plan).contains("ends the ramp") && warnings(&plan).contains("canary 10%"),
        "{}",
        warnings(&plan)
    );
    // What undo goes back to says so too.
    let anchor = state(world).anchor().unwrap();
    assert_eq!(anchor.weights, weights(world));
}

#[test]
fn a_drain_in_a_ramp_keeps_the_desired_weight_and_ready_gives_it_back() {
    let half = later(&after(&web(), &weigh("green", "50%", Some(30))), 15);
    let plan = plan(&half, &drain(track("green")), None, NOW).unwrap();
    assert!(state(&plan.next).ramp.is_none());
    assert_eq!(weight(&plan.next, "green"), "50");
    assert!(
        warnings(&plan).contains("ends the ramp"),
        "{}",
        warnings(&plan)
    );
    let back = after(&plan.next, &ready(track("green")));
    assert_eq!(state(&back).slots_of("green"), 32_768);
}

#[test]
fn a_drain_in_a_ramp_to_everything_leaves_its_flows_to_the_others_and_not_to_nobody() {
    let half = later(&after(&web(), &weigh("green", "100%", Some(30))), 15);
    let drained = after(&half, &drain(track("green")));
    assert_eq!(state(&drained).slots_of("blue"), 65_536);
    let back = after(&drained, &ready(track("green")));
    assert_eq!(
        state(&back).slots_of("green"),
        state(&half).slots_of("green")
    );
}

#[test]
fn a_ready_or_a_drain_that_changes_nothing_lets_a_ramp_go_on() {
    let half = later(&after(&web(), &weigh("green", "50%", Some(30))), 15);
    let again = plan(&half, &ready(track("green")), None, NOW).unwrap();
    assert!(again.is_empty() && state(&again.next).ramp.is_some());
    let drained = after(&three(), &drain(track("blue")));
    let half = later(&after(&drained, &weigh("canary", "20%", Some(30))), 15);
    let again = plan(&half, &drain(track("blue")), None, NOW + 5).unwrap();
    assert!(again.is_empty() && state(&again.next).ramp.is_some());
    assert!(again.changes[0].warnings.is_empty());
}

#[test]
fn a_ramp_among_tracks_that_are_all_out_comes_to_its_end() {
    let world = after(
        &after(&web(), &drain(track("blue"))),
        &drain(track("green")),
    );
    let begun = after(&world, &weigh("green", "50%", Some(30)));
    let done = later(&begun, 30);
    assert!(state(&done).ramp.is_none());
    assert_eq!(state(&done).slots_of("green"), 32_768);
}

//! undo, and what is drained, in maint or quarantined when it comes.

use std::time::Duration;

use super::*;
use crate::state::{Out, ServiceState};

const MINUTE: u64 = 60_000;

fn track(name: &str) -> DrainTarget {
    DrainTarget::Track(name.to_owned())
}

fn drain_for(name: &str, minutes: u64) -> Command {
    Command::Drain {
        service: "web".to_owned(),
        what: track(name),
        timeout: Some(Duration::from_millis(minutes * MINUTE)),
        on_timeout: Some(crate::model::OnTimeout::Reset),
        spread: None,
    }
}

fn quarantine(name: &str) -> Command {
    Command::Quarantine {
        service: "web".to_owned(),
        what: track(name),
        spread: None,
    }
}

fn maint(name: &str) -> Command {
    Command::Maint {
        service: "web".to_owned(),
        what: track(name),
    }
}

fn ready(name: &str) -> Command {
    Command::Ready {
        service: "web".to_owned(),
        what: track(name),
    }
}

fn state(world: &World) -> &ServiceState {
    &world.services["web"]
}

fn three(weights: [&str; 3]) -> String {
    let tracks = [
        ("blue", weights[0], "198.18.2.11"),
        ("green", weights[1], "198.18.2.21"),
        ("canary", weights[2], "198.18.2.31"),
    ];
    yaml("web", "198.18.1.100", &tracks)
}

fn warnings(plan: &Plan) -> String {
    plan.changes[0].warnings.join("\n")
}

#[test]
fn a_drain_that_undo_brings_back_begins_anew_with_its_old_length() {
    let drained = after(&web(), &drain_for("blue", 10));
    let ready = after(&drained, &ready("blue"));
    let hours = NOW + 300 * MINUTE;
    let plan = plan(&ready, &undo(), None, hours).unwrap();
    let record = &state(&plan.next).drained_tracks["blue"];
    assert_eq!(
        (record.since, record.deadline),
        (hours, hours + 10 * MINUTE)
    );
    assert_eq!(record.on_timeout, crate::model::OnTimeout::Reset);
    assert!(
        warnings(&plan).contains("track blue") && warnings(&plan).contains("draining again"),
        "{}",
        warnings(&plan)
    );
}

#[test]
fn maint_that_undo_brings_back_has_no_deadline_still() {
    let out = after(&web(), &maint("blue"));
    let ready = after(&out, &ready("blue"));
    let plan = plan(&ready, &undo(), None, NOW + MINUTE).unwrap();
    let record = &state(&plan.next).drained_tracks["blue"];
    assert_eq!(
        (record.out, record.since, record.deadline),
        (Out::Maint, NOW + MINUTE, u64::MAX)
    );
    assert!(
        warnings(&plan).contains("in maint again"),
        "{}",
        warnings(&plan)
    );
}

#[test]
fn a_track_that_is_out_before_and_after_an_undo_stays_out_as_it_is_today() {
    let drained = after(&web(), &drain_for("green", 10));
    let shifted = after(
        &drained,
        &apply(&yaml(
            "web",
            "198.18.1.100",
            &[
                ("blue", "50%", "198.18.2.11"),
                ("green", "50%", "198.18.2.21"),
                ("canary", "0%", "198.18.2.31"),
            ],
        )),
    );
    let weighed = after(&shifted, &cutover("canary"));
    let today = plan(&weighed, &quarantine("green"), None, NOW + MINUTE).unwrap();
    let back = plan(&today.next, &undo(), None, NOW + 2 * MINUTE).unwrap();
    assert_eq!(
        state(&back.next).drained_tracks["green"],
        state(&today.next).drained_tracks["green"]
    );
}

#[test]
fn undo_names_every_drain_maint_and_quarantine_that_it_ends() {
    for (out, word) in [
        (drain(track("green")), "drain"),
        (maint("green"), "maint"),
        (quarantine("green"), "quarantine"),
    ] {
        let away = after(&after(&web(), &cutover("green")), &cutover("blue"));
        let world = after(&away, &out);
        assert_eq!(state(&world).anchors.len(), 2, "no slot has moved");
        let plan = plan(&world, &undo(), None, NOW).unwrap();
        assert!(state(&plan.next).drained_tracks.is_empty());
        assert!(
            warnings(&plan).contains(&format!("ends the {word} of track green"))
                && warnings(&plan).contains(&format!("splitterctl {word} web green")),
            "{}",
            warnings(&plan)
        );
    }
}

#[test]
fn what_gets_no_flow_from_the_split_that_is_back_stays_out() {
    let world = after(
        &World::empty(16, 64, 64),
        &apply(&three(["60%", "40%", "0%"])),
    );
    let world = after(&after(&world, &cutover("green")), &quarantine("canary"));
    let plan = plan(&world, &undo(), None, NOW).unwrap();
    assert_eq!(
        state(&plan.next).drained_tracks,
        state(&world).drained_tracks
    );
    assert!(warnings(&plan).is_empty(), "{}", warnings(&plan));
}

#[test]
fn weights_of_tracks_that_are_gone_fall_to_those_that_are_left() {
    let world = after(
        &World::empty(16, 64, 64),
        &apply(&three(["90%", "5%", "5%"])),
    );
    let drained = after(&world, &drain(track("blue")));
    let without = yaml(
        "web",
        "198.18.1.100",
        &[
            ("green", "100%", "198.18.2.21"),
            ("canary", "0%", "198.18.2.31"),
        ],
    );
    let back = after(&after(&drained, &apply(&without)), &undo());
    let weights: Vec<String> = weights(&back)
        .into_iter()
        .map(|(track, weight)| format!("{track} {weight}"))
        .collect();
    assert_eq!(weights, ["green 50", "canary 50"]);
    assert_eq!(state(&back).split.slots, state(&drained).split.slots);
}

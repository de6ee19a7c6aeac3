//! What operators take out, and how the flows that are left end.

use std::time::Duration;

use super::*;
use crate::model::OnTimeout;
use crate::state::{Closing, Ending, Out, Split};

fn track(name: &str) -> DrainTarget {
    DrainTarget::Track(name.to_owned())
}

fn ready(what: DrainTarget) -> Command {
    Command::Ready {
        service: "web".to_owned(),
        what,
    }
}

fn leaving(command: Command) -> Command {
    match command {
        Command::Undo { target, .. } => Command::Undo {
            target,
            existing: Existing::Reset,
            to_generation: None,
        },
        Command::Cutover { target, to, .. } => Command::Cutover {
            target,
            to,
            existing: Existing::Reset,
        },
        other => other,
    }
}

/// Whether a track is out and keeps its slots nevertheless, since nobody is left to take them.
fn is_closed(service: &ServiceState, track: &str) -> bool {
    service.drained_tracks.contains_key(track) && service.slots_of(track) > 0
}

#[test]
fn the_last_track_may_drain_and_new_flows_find_nobody_until_it_is_ready() {
    let world = after(&web(), &cutover("green"));
    let plan = plan(&world, &drain(track("green")), None, NOW).unwrap();
    let service = &plan.next.services["web"];
    assert_eq!(service.split, world.services["web"].split, "nothing flips");
    assert!(is_closed(service, "green") && plan.layout);
    assert!(
        plan.changes[0].warnings[0].contains("`noBackend: drop`"),
        "{:?}",
        plan.changes[0].warnings
    );
    assert_eq!(plan.changes[0].after["green"], "0");
    let ready = after(&plan.next, &ready(track("green")));
    assert!(!is_closed(&ready.services["web"], "green"));
    assert_eq!(
        ready.services["web"].split.slots,
        world.services["web"].split.slots
    );
}

#[test]
fn all_tracks_may_drain_and_any_of_them_may_come_back_first() {
    let world = web();
    let blue = after(&world, &drain(track("blue")));
    assert_eq!(blue.services["web"].slots_of("green"), 65_536);
    let both = after(&blue, &drain(track("green")));
    assert!(is_closed(&both.services["web"], "green"));
    for (first, second) in [("blue", "green"), ("green", "blue")] {
        let one = after(&both, &ready(track(first)));
        assert_eq!(one.services["web"].slots_of(first), 65_536, "{first}");
        let again = after(&one, &ready(track(second)));
        assert_eq!(
            (
                again.services["web"].slots_of("blue"),
                again.services["web"].slots_of("green")
            ),
            (62_259, 3_277)
        );
    }
}

#[test]
fn a_track_without_weight_that_is_ready_before_all_others_gets_its_routes_and_fallback_back_and_no_slot()
 {
    let text = yaml(
        "web",
        "198.18.1.100",
        &[
            ("blue", "100%", "198.18.2.11"),
            ("green", "0%", "198.18.2.21"),
        ],
    ) + "  fallback: green\n  routes: [{match: {source: [198.18.9.0/24]}, track: green}]\n";
    let world = after(&World::empty(16, 64, 64), &apply(&text));
    let green_out = after(&world, &drain(track("green")));
    let both = after(&green_out, &drain(track("blue")));
    let staff = || "198.18.9.7".parse().unwrap();
    let steering = &both.services["web"].split.steering;
    assert_eq!(
        (steering.routes.find(staff()), steering.fallback),
        (None, None)
    );

    let plan = plan(&both, &ready(track("green")), None, NOW).unwrap();
    let service = &plan.next.services["web"];
    let green = service.number_of("green");
    let steering = &service.split.steering;
    assert_eq!(
        (steering.routes.find(staff()), steering.fallback),
        (green, green)
    );
    assert_eq!(service.split.slots, both.services["web"].split.slots);
    assert!(is_closed(service, "blue") && !service.drained_tracks.contains_key("green"));
    // It is a split of its own, which undo leaves for the one in which nobody was ready.
    let generation = service.generation;
    assert_eq!((generation, service.split_since), (4, 4));
    let back = after(&plan.next, &undo());
    assert_eq!(
        back.services["web"].split.steering,
        both.services["web"].split.steering
    );
    assert!(back.services["web"].drained_tracks.contains_key("green"));
    // With blue ready too, the slots are where they were all the time.
    let all = after(&plan.next, &ready(track("blue")));
    assert_eq!(
        all.services["web"].split,
        Split {
            table: all.services["web"].split.table,
            ..world.services["web"].split.clone()
        }
    );
}

#[test]
fn a_drain_takes_what_it_is_not_told_from_its_service() {
    let mut world = web();
    let policy = &mut world.services.get_mut("web").unwrap().spec.drain;
    policy.on_timeout = OnTimeout::Reset;
    policy.close_spread = Duration::from_secs(120);
    let drained = after(&world, &drain(track("green")));
    let record = &drained.services["web"].drained_tracks["green"];
    let closing = Closing {
        since: NOW + 1_800_000,
        spread: 120_000,
        ending: Ending::Reset,
    };
    assert_eq!(record.closing(), Some(closing));
    let told = Command::Drain {
        service: "web".to_owned(),
        what: track("green"),
        timeout: Some(Duration::from_secs(1)),
        on_timeout: Some(OnTimeout::Resteer),
        spread: Some(Duration::ZERO),
    };
    let drained = after(&world, &told);
    let closing = Closing {
        since: NOW + 1_000,
        spread: 0,
        ending: Ending::Resteer,
    };
    let record = &drained.services["web"].drained_tracks["green"];
    assert_eq!(record.closing(), Some(closing));
}

#[test]
fn maint_has_no_deadline_and_quarantine_does_not_wait_for_one() {
    let maint = Command::Maint {
        service: "web".to_owned(),
        what: track("green"),
    };
    let world = after(&web(), &maint);
    let record = &world.services["web"].drained_tracks["green"];
    assert_eq!(
        (record.out, record.deadline, record.closing()),
        (Out::Maint, u64::MAX, None)
    );
    assert_eq!(world.services["web"].slots_of("green"), 0);
    let quarantine = Command::Quarantine {
        service: "web".to_owned(),
        what: track("green"),
        spread: Some(Duration::from_secs(5)),
    };
    let world = after(&world, &quarantine);
    let record = &world.services["web"].drained_tracks["green"];
    let closing = Closing {
        since: NOW,
        spread: 5_000,
        ending: Ending::Reset,
    };
    assert_eq!(
        (record.out, record.closing()),
        (Out::Quarantined, Some(closing))
    );
}

#[test]
fn only_tracks_that_are_left_without_new_flows_are_closed() {
    let cut = after(&web(), &leaving(cutover("green")));
    let closings = &cut.services["web"].closings;
    assert_eq!(closings.keys().collect::<Vec<_>>(), ["blue"]);
    assert_eq!(
        closings["blue"],
        Closing {
            since: NOW,
            spread: 0,
            ending: Ending::Reset
        }
    );
    // Back to blue with its 95 %: green keeps 5 % and is not left; blue is wanted again.
    let plan = plan(&cut, &leaving(undo()), None, NOW).unwrap();
    assert!(plan.next.services["web"].closings.is_empty());
    assert!(
        plan.changes[0].warnings[0].contains("no flow is reset"),
        "{:?}",
        plan.changes[0].warnings
    );
}

#[test]
fn flows_of_a_track_that_is_left_are_kept_unless_somebody_says_reset() {
    let cut = after(&web(), &cutover("green"));
    assert!(cut.services["web"].closings.is_empty());
}

#[test]
fn a_track_that_new_flows_are_led_to_is_not_closed_and_the_answer_says_why() {
    let tracks = [
        ("blue", "0%", "198.18.2.11"),
        ("green", "100%", "198.18.2.21"),
    ];
    for steering in [
        "preview: {vip: 198.18.1.101, port: 80, protocol: tcp, track: green}",
        "routes: [{match: {source: [198.18.9.0/24]}, track: green}]",
        "fallback: green",
    ] {
        let more = format!("  release: shop\n  {steering}\n");
        let text = yaml("web", "198.18.1.100", &tracks).replace("  release: shop\n", &more);
        let led = after(&web(), &apply(&text));
        let plan = plan(&led, &leaving(cutover("blue")), None, NOW).unwrap();
        assert!(plan.next.services["web"].closings.is_empty(), "{steering}");
        let warnings = plan.changes[0].warnings.join("; ");
        assert!(
            warnings.contains("flows of track green are not reset"),
            "{steering}: {warnings}"
        );
    }
}

#[test]
fn a_ramp_back_to_a_track_that_was_left_ends_its_closing() {
    let cut = after(&web(), &leaving(cutover("green")));
    assert!(cut.services["web"].closings.contains_key("blue"));
    let ramp = Command::SetWeight {
        target: service("web"),
        weights: vec![("blue".to_owned(), "5%".to_owned())],
        ramp: Some(Duration::from_secs(600)),
    };
    let service = &after(&cut, &ramp).services["web"];
    assert_eq!(service.slots_of("blue"), 0, "no slot has moved yet");
    assert!(service.closings.is_empty());
}

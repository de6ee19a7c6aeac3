//! Ramps and slow starts, as plans: what changes when, and what ends them.

use std::time::Duration;

use super::*;
use crate::state::Ramp;

fn ramp(weights: &str, seconds: u64) -> Command {
    Command::SetWeight {
        target: service("web"),
        weights: vec![("green".to_owned(), weights.to_owned())],
        ramp: Some(Duration::from_secs(seconds)),
    }
}

/// The world once so many milliseconds more of its ramps have passed.
fn later(world: &World, ms: u64) -> World {
    step_of(world, Duration::from_millis(ms)).unwrap().next
}

fn green(world: &World) -> u32 {
    world.services["web"].slots_of("green")
}

fn state(world: &World) -> Option<&Ramp> {
    world.services["web"].ramp.as_ref()
}

#[test]
fn a_ramp_is_one_change_whose_slots_come_by_and_by() {
    let before = web();
    let begun = plan(&before, &ramp("50%", 30), None, NOW).unwrap();
    assert_eq!(begun.touched, ["web"]);
    assert_eq!(begun.changes[0].generation, 2);
    assert_eq!(begun.changes[0].after["green"], "50");
    let mut world = begun.next;
    assert_eq!(world.services["web"].split, before.services["web"].split);
    let mut had = green(&world);
    for second in 1..30 {
        world = later(&world, 1_000);
        let has = green(&world);
        assert_eq!(has, 3_277 + 29_491 * second / 30, "second {second}");
        assert!(has > had);
        had = has;
        assert_eq!(world.services["web"].generation, 2);
    }
    world = later(&world, 1_000);
    assert!(state(&world).is_none());
    let at_once = after(
        &before,
        &Command::SetWeight {
            target: service("web"),
            weights: vec![("green".to_owned(), "50%".to_owned())],
            ramp: None,
        },
    );
    assert_eq!(
        world.services["web"].split.slots,
        at_once.services["web"].split.slots
    );
    let back = after(&world, &undo());
    assert_eq!(
        back.services["web"].split.slots,
        before.services["web"].split.slots
    );
    assert_eq!(weights(&back), weights(&before));
}

#[test]
fn a_step_only_gives_to_the_track_that_grows_and_the_table_of_two_stays_canonical() {
    let mut world = after(&web(), &ramp("100%", 10));
    for _ in 0..10 {
        let next = later(&world, 1_000);
        let (one, two) = (
            &world.services["web"].split.slots,
            &next.services["web"].split.slots,
        );
        let pairs = one.as_bytes().iter().zip(two.as_bytes());
        assert!(
            pairs
                .into_iter()
                .all(|(before, after)| *before == 0 || *after == 1)
        );
        let counts = two.counts();
        let share = |track, name, parts: u32| crate::table::split::Share {
            track,
            name,
            parts: parts.into(),
        };
        let shares = [share(0, "blue", counts[0]), share(1, "green", counts[1])];
        let canonical = crate::table::split::allocate(None, &shares).unwrap();
        assert_eq!(**two, canonical);
        world = next;
    }
    assert_eq!(green(&world), 65_536);
}

#[test]
fn undo_in_the_middle_of_a_ramp_goes_to_the_split_before_it_and_a_second_one_to_the_middle() {
    let before = web();
    let middle = later(&after(&before, &ramp("50%", 30)), 15_000);
    let back = after(&middle, &undo());
    assert!(state(&back).is_none());
    assert_eq!(
        back.services["web"].split.slots,
        before.services["web"].split.slots
    );
    assert_eq!(weights(&back), weights(&before));
    assert_eq!(
        green(&later(&back, 60_000)),
        3_277,
        "nothing moves any more"
    );
    let again = after(&back, &undo());
    assert!(state(&again).is_none());
    assert_eq!(
        again.services["web"].split.slots,
        middle.services["web"].split.slots
    );
    assert_eq!(
        weights(&again)[1].1.to_string(),
        "27.499",
        "what is in force is what is desired"
    );
}

#[test]
fn undo_to_a_generation_of_before_a_ramp_goes_there_at_its_start_in_its_middle_and_at_its_end() {
    let before = web();
    let begun = after(&before, &ramp("50%", 30));
    for world in [begun.clone(), later(&begun, 15_000), later(&begun, 30_000)] {
        let back = plan(&world, &undo_to(1), None, NOW).unwrap();
        assert!(
            !back.is_empty(),
            "the split of generation 1 is not in force"
        );
        assert!(state(&back.next).is_none());
        assert_eq!(
            back.next.services["web"].split.slots,
            before.services["web"].split.slots
        );
        assert_eq!(weights(&back.next), weights(&before));
        let own = plan(&world, &undo_to(2), None, NOW).unwrap();
        assert!(own.is_empty(), "the ramp is what generation 2 made");
    }
}

#[test]
fn another_change_of_the_weights_ends_a_ramp_and_starts_from_where_it_stood() {
    let middle = later(&after(&web(), &ramp("50%", 30)), 15_000);
    let plan = plan(&middle, &cutover("green"), None, NOW).unwrap();
    assert_eq!(plan.changes[0].before["green"], "27.499");
    assert!(state(&plan.next).is_none());
    assert_eq!(green(&plan.next), 65_536);
    let drained = after(&middle, &drain(DrainTarget::Track("green".into())));
    assert!(state(&drained).is_none());
    assert_eq!(green(&drained), 0);
    assert_eq!(
        green(&after(&drained, &undo())),
        green(&middle),
        "it stood there"
    );
}

#[test]
fn a_change_that_is_none_of_the_weights_lets_a_ramp_go_on() {
    let middle = later(&after(&web(), &ramp("50%", 30)), 15_000);
    let tracks = [
        ("blue", "50%", "198.18.2.12"),
        ("green", "50%", "198.18.2.21"),
    ];
    let applied = after(&middle, &apply(&yaml("web", "198.18.1.100", &tracks)));
    assert_eq!(applied.services["web"].generation, 3);
    assert_eq!(state(&applied), state(&middle));
    assert_eq!(
        applied.services["web"].split.slots,
        middle.services["web"].split.slots
    );
    assert_eq!(green(&later(&applied, 15_000)), 32_768);
    let back = after(&applied, &undo());
    assert_eq!(
        green(&back),
        3_277,
        "undo still goes to the split before the ramp"
    );
}

#[test]
fn a_ramp_of_no_time_or_of_days_is_refused_and_one_to_where_it_is_has_nothing_to_do() {
    for seconds in [0, 24 * 3_600 + 1] {
        let error = refusal(&web(), &ramp("50%", seconds));
        assert!(
            error.message.contains("from 1s to 24h"),
            "{}",
            error.message
        );
    }
    assert!(plan(&web(), &ramp("5%", 30), None, NOW).unwrap().is_empty());
}

/// Two blue backends, the second one to come and go.
fn slow(both: bool) -> Command {
    let tracks = [
        ("blue", "95%", "198.18.2.11"),
        ("green", "5%", "198.18.2.21"),
    ];
    let second = if both {
        ", {address: 198.18.2.12, port: 80}"
    } else {
        ""
    };
    apply(&yaml("web", "198.18.1.100", &tracks).replacen(
        "      backends: [{address: 198.18.2.11, port: 80}]",
        &format!("      slowStart: {{duration: 60s}}\n      backends: [{{address: 198.18.2.11, port: 80}}{second}]"),
        1,
    ))
}

/// The part of blue's second backend, so many seconds after [`NOW`].
fn part(world: &World, seconds: u64) -> u32 {
    let web = &world.services["web"];
    let track = web.spec.track("blue").unwrap();
    web.part_of(track, &track.backends[1], NOW + seconds * 1_000)
}

#[test]
fn a_backend_that_is_added_or_ready_again_starts_slowly_and_one_that_was_there_does_not() {
    let world = after(&web(), &slow(false));
    assert!(world.services["web"].warming.is_empty(), "nobody came");
    let added = after(&world, &slow(true));
    assert_eq!(
        [part(&added, 0), part(&added, 30), part(&added, 60)],
        [50, 500, 1000]
    );
    let what = || DrainTarget::Backend {
        address: "198.18.2.12".parse().unwrap(),
        port: 80,
    };
    let drained = after(&added, &drain(what()));
    assert!(drained.services["web"].warming.is_empty());
    let ready = Command::Ready {
        service: "web".into(),
        what: what(),
    };
    assert_eq!(part(&after(&drained, &ready), 30), 500);
    // Another change meanwhile leaves its start alone, and forgets it when it is over.
    let soon = plan(&added, &cutover("green"), None, NOW + 30_000)
        .unwrap()
        .next;
    assert_eq!(part(&soon, 30), 500);
    let late = plan(&added, &cutover("green"), None, NOW + 61_000)
        .unwrap()
        .next;
    assert!(late.services["web"].warming.is_empty());
    // The split and its anchor know nothing of it.
    assert_eq!(added.services["web"].split, world.services["web"].split);
    assert_eq!(
        added.services["web"].anchor(),
        world.services["web"].anchor()
    );
}

#[test]
fn a_clock_that_is_set_back_ends_a_slow_start() {
    let added = after(&after(&web(), &slow(false)), &slow(true));
    let web = &added.services["web"];
    let track = web.spec.track("blue").unwrap();
    assert_eq!(web.part_of(track, &track.backends[1], NOW - 1), 1000);
}

#[test]
fn the_first_backends_of_a_service_or_of_a_track_share_alike() {
    let first = after(&World::empty(16, 64, 64), &slow(true));
    assert!(first.services["web"].warming.is_empty());
}

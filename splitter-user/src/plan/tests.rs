#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod properties;
mod ramps;
mod ways;

use super::*;
use crate::api::types::{DrainTarget, ErrorCode, Existing};
use crate::model::Weight;

mod anchors;
mod difference;
mod endpoints;
mod numbers;
mod out;
mod ramp_ends;
mod releases;
mod repeats;
mod travel;
mod undo_out;
mod words;

const NOW: u64 = 1_000_000;

fn yaml(name: &str, vip: &str, tracks: &[(&str, &str, &str)]) -> String {
    let mut text = format!(
        "apiVersion: splitter/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  release: shop\n  listeners:\n    \
         - {{vip: {vip}, port: 80, protocol: tcp}}\n  tracks:\n"
    );
    for (track, weight, backend) in tracks {
        text += &format!(
            "    - name: {track}\n      weight: {weight}\n      backends: [{{address: {backend}, port: 80}}]\n"
        );
    }
    text
}

fn apply(yaml: &str) -> Command {
    Command::Apply {
        yaml: yaml.to_owned(),
        origin: "test".to_owned(),
    }
}

fn service(name: &str) -> Target {
    Target::Service(name.to_owned())
}

/// What stands after a command that must succeed.
fn after(world: &World, command: &Command) -> World {
    plan(world, command, None, NOW).unwrap().next
}

fn web() -> World {
    let empty = World::empty(16, 64, 64);
    let tracks = [
        ("blue", "95%", "198.18.2.11"),
        ("green", "5%", "198.18.2.21"),
    ];
    after(&empty, &apply(&yaml("web", "198.18.1.100", &tracks)))
}

fn refusal(world: &World, command: &Command) -> ApiError {
    plan(world, command, None, NOW).unwrap_err()
}

fn weights(world: &World) -> Vec<(String, Weight)> {
    world.services["web"].weights()
}

fn cutover(to: &str) -> Command {
    Command::Cutover {
        target: service("web"),
        to: to.to_owned(),
        existing: Existing::Keep,
    }
}

fn undo() -> Command {
    Command::Undo {
        target: service("web"),
        to_generation: None,
        existing: Existing::Keep,
    }
}

fn undo_to(generation: u64) -> Command {
    Command::Undo {
        target: service("web"),
        to_generation: Some(generation),
        existing: Existing::Keep,
    }
}

fn drain(what: DrainTarget) -> Command {
    Command::Drain {
        service: "web".to_owned(),
        what,
        timeout: None,
        on_timeout: None,
        spread: None,
    }
}

#[test]
fn a_first_apply_makes_generation_one_with_exact_slots() {
    let world = web();
    let web = &world.services["web"];
    assert_eq!(web.generation, 1);
    assert_eq!(
        (web.slots_of("blue"), web.slots_of("green")),
        (62_259, 3_277)
    );
    assert!(web.anchors.is_empty());
}

#[test]
fn the_same_apply_again_changes_nothing() {
    let world = web();
    let tracks = [
        ("blue", "95%", "198.18.2.11"),
        ("green", "5%", "198.18.2.21"),
    ];
    let plan = plan(
        &world,
        &apply(&yaml("web", "198.18.1.100", &tracks)),
        None,
        NOW,
    )
    .unwrap();
    assert!(plan.is_empty());
    assert_eq!(plan.changes[0].generation, 1);
}

#[test]
fn a_cutover_gives_everything_to_one_track_and_undo_gives_the_same_slots_back() {
    let world = web();
    let green = after(&world, &cutover("green"));
    assert_eq!(green.services["web"].slots_of("green"), 65_536);
    assert_eq!(green.services["web"].generation, 2);
    let back = after(&green, &undo());
    assert_eq!(
        back.services["web"].split.slots,
        world.services["web"].split.slots
    );
    assert_eq!(weights(&back), weights(&world));
    assert_eq!(back.services["web"].generation, 3);
    let again = after(&back, &undo());
    assert_eq!(
        again.services["web"].slots_of("green"),
        65_536,
        "a second undo toggles"
    );
}

#[test]
fn repeating_a_cutover_keeps_what_undo_goes_back_to() {
    let world = after(&web(), &cutover("green"));
    let plan = plan(&world, &cutover("green"), None, NOW).unwrap();
    assert!(plan.is_empty());
    let back = after(&plan.next, &undo());
    assert_eq!(back.services["web"].slots_of("blue"), 62_259);
}

#[test]
fn undo_returns_the_affinity_that_the_split_was_made_with() {
    let world = web();
    let text = yaml(
        "web",
        "198.18.1.100",
        &[
            ("blue", "95%", "198.18.2.11"),
            ("green", "5%", "198.18.2.21"),
        ],
    )
    .replace(
        "  release: shop\n",
        "  release: shop\n  affinity: {key: clientIP}\n",
    );
    let changed = after(&world, &apply(&text));
    assert_ne!(
        changed.services["web"].split.affinity,
        world.services["web"].split.affinity
    );
    let back = after(&changed, &undo());
    assert_eq!(
        back.services["web"].split.affinity,
        world.services["web"].split.affinity
    );
    assert_eq!(
        back.services["web"].spec.affinity,
        world.services["web"].spec.affinity
    );
}

#[test]
fn there_is_nothing_to_undo_at_first() {
    let error = refusal(&web(), &undo());
    assert_eq!(error.code, ErrorCode::Refused);
    assert!(
        error.message.contains("nothing to undo"),
        "{}",
        error.message
    );
}

#[test]
fn undo_to_a_track_that_was_removed_says_so() {
    let world = after(&web(), &cutover("green"));
    let only_green = after(
        &world,
        &apply(&yaml(
            "web",
            "198.18.1.100",
            &[("green", "100%", "198.18.2.21")],
        )),
    );
    let error = refusal(&only_green, &undo());
    assert!(
        error.message.contains("blue") && error.message.contains("removed"),
        "{}",
        error.message
    );
}

#[test]
fn undo_uses_todays_backends() {
    let world = after(&web(), &cutover("green"));
    let tracks = [
        ("blue", "0%", "198.18.2.12"),
        ("green", "100%", "198.18.2.21"),
    ];
    let other_backend = after(&world, &apply(&yaml("web", "198.18.1.100", &tracks)));
    let back = after(&other_backend, &undo());
    let blue = back.services["web"].spec.track("blue").unwrap();
    assert_eq!(blue.backends[0].address.to_string(), "198.18.2.12");
    assert_eq!(back.services["web"].slots_of("blue"), 62_259);
}

#[test]
fn a_drained_track_has_no_slots_and_keeps_its_weight_for_ready() {
    let world = web();
    let drained = after(&world, &drain(DrainTarget::Track("green".into())));
    assert_eq!(drained.services["web"].slots_of("green"), 0);
    assert_eq!(weights(&drained), weights(&world));
    let command = Command::Ready {
        service: "web".into(),
        what: DrainTarget::Track("green".into()),
    };
    let ready = after(&drained, &command);
    assert_eq!(
        ready.services["web"].split.slots,
        world.services["web"].split.slots
    );
}

#[test]
fn no_cutover_to_a_track_that_drains() {
    let world = after(&web(), &drain(DrainTarget::Track("green".into())));
    let error = refusal(&world, &cutover("green"));
    assert!(
        error.message.contains("splitterctl ready web green"),
        "{}",
        error.message
    );
}

#[test]
fn a_drained_backend_leaves_the_split_alone_and_the_last_one_is_warned_of() {
    let world = web();
    let what = DrainTarget::Backend {
        address: "198.18.2.21".parse().unwrap(),
        port: 80,
    };
    let plan = plan(&world, &drain(what), None, NOW).unwrap();
    assert_eq!(plan.next.services["web"].split, world.services["web"].split);
    assert_eq!(plan.next.services["web"].generation, 2);
    assert_eq!(plan.changes[0].warnings.len(), 1);
    assert!(!plan.next.services["web"].takes_new_flows("198.18.2.21".parse().unwrap(), Some(80)));
}

#[test]
fn unknown_names_are_answered_with_the_known_ones() {
    let error = refusal(
        &web(),
        &Command::Cutover {
            target: service("wbe"),
            to: "green".into(),
            existing: Existing::Keep,
        },
    );
    assert_eq!(error.code, ErrorCode::NotFound);
    assert!(
        error.message.contains("wbe") && error.message.contains("web"),
        "{}",
        error.message
    );
    let error = refusal(
        &web(),
        &Command::Undo {
            target: Target::Release("shpo".into()),
            to_generation: None,
            existing: Existing::Keep,
        },
    );
    assert!(error.message.contains("shop"), "{}", error.message);
    let error = refusal(&web(), &drain(DrainTarget::Track("gren".into())));
    assert!(error.message.contains("blue, green"), "{}", error.message);
}

#[test]
fn another_generation_than_the_expected_one_is_a_conflict_before_all_else() {
    let error = plan(&web(), &cutover("nosuch"), Some(7), NOW).unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    assert!(plan(&web(), &cutover("green"), Some(1), NOW).is_ok());
}

#[test]
fn the_expected_generation_is_asked_of_every_service_of_a_release_and_is_0_for_one_that_is_new() {
    let tracks = [
        ("blue", "50%", "198.18.2.13"),
        ("green", "50%", "198.18.2.23"),
    ];
    let cart = apply(&yaml("cart", "198.18.1.101", &tracks));
    for (expected, fits) in [(0, true), (1, false)] {
        assert_eq!(plan(&web(), &cart, Some(expected), NOW).is_ok(), fits);
    }
    let both = after(&web(), &cart);
    let release = Command::Cutover {
        target: Target::Release("shop".into()),
        to: "green".into(),
        existing: Existing::Keep,
    };
    assert!(plan(&both, &release, Some(1), NOW).is_ok());
    let apart = after(&both, &cutover("green"));
    for (expected, other) in [
        (1, "web is at generation 2"),
        (2, "cart is at generation 1"),
    ] {
        let error = plan(&apart, &release, Some(expected), NOW).unwrap_err();
        assert_eq!(error.code, ErrorCode::Conflict);
        assert!(error.message.contains(other), "{}", error.message);
    }
}

#[test]
fn a_release_changes_all_its_services_or_none() {
    let world = web();
    let tracks = [
        ("blue", "50%", "198.18.2.13"),
        ("green", "50%", "198.18.2.23"),
    ];
    let world = after(&world, &apply(&yaml("cart", "198.18.1.101", &tracks)));
    let command = Command::Cutover {
        target: Target::Release("shop".into()),
        to: "green".into(),
        existing: Existing::Keep,
    };
    let plan = plan(&world, &command, None, NOW).unwrap();
    assert_eq!(plan.touched, ["cart", "web"]);
    assert!(
        plan.next
            .services
            .values()
            .all(|service| service.slots_of("green") == 65_536)
    );
}

#[test]
fn one_client_meets_one_version_in_all_services_of_a_release() {
    let world = web();
    // The tracks stand in another order, so they have other numbers.
    let tracks = [
        ("green", "5%", "198.18.2.23"),
        ("blue", "95%", "198.18.2.13"),
    ];
    let world = after(&world, &apply(&yaml("cart", "198.18.1.101", &tracks)));
    let (web, cart) = (&world.services["web"], &world.services["cart"]);
    assert_eq!(web.digest(), cart.digest());
    let header = |service: &ServiceState| service.split.header(&[1; 32], &world.listener_ids);
    assert_eq!(header(web), header(cart));
}

#[test]
fn what_is_removed_keeps_its_number_until_its_deadline() {
    let world = web();
    let gone = after(
        &world,
        &Command::Delete {
            service: "web".into(),
            now: false,
        },
    );
    assert!(gone.services.is_empty());
    let states: Vec<_> = gone.backend_ids.iter().map(|(_, _, state)| state).collect();
    let deletion = crate::state::Deletion::of(&crate::model::DrainPolicy::default(), NOW);
    assert_eq!(deletion.deadline, NOW + 30 * 60 * 1000);
    assert_eq!(states, vec![crate::state::IdState::Deleting(deletion); 2]);
}

#[test]
fn too_many_services_name_the_limit() {
    let world = World::empty(1, 64, 64);
    let world = after(
        &world,
        &apply(&yaml(
            "web",
            "198.18.1.100",
            &[("blue", "100%", "198.18.2.11")],
        )),
    );
    let error = refusal(
        &world,
        &apply(&yaml(
            "cart",
            "198.18.1.101",
            &[("blue", "100%", "198.18.2.12")],
        )),
    );
    assert!(
        error.message.contains("limits.services"),
        "{}",
        error.message
    );
}

#[test]
fn numbers_of_tracks_that_undo_needs_are_not_given_to_others() {
    let mut world = World::empty(4, 16, 64);
    let names: Vec<String> = (0..8).map(|n| format!("t{n}")).collect();
    let all: Vec<(&str, String)> = names
        .iter()
        .map(|n| (n.as_str(), "12.5%".to_owned()))
        .collect();
    let addresses: Vec<String> = (1..=8).map(|n| format!("198.18.2.{n}")).collect();
    let tracks: Vec<(&str, &str, &str)> = all
        .iter()
        .zip(&addresses)
        .map(|((n, w), a)| (*n, w.as_str(), a.as_str()))
        .collect();
    world = after(&world, &apply(&yaml("web", "198.18.1.100", &tracks)));
    // One track gives way to another: its slots are still in what undo goes back to.
    let mut changed = tracks.clone();
    changed[0] = ("new", "12.5%", "198.18.2.1");
    let error = refusal(&world, &apply(&yaml("web", "198.18.1.100", &changed)));
    assert!(error.message.contains("in one change"), "{}", error.message);
}

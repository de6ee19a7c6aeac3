//! Undo to any of the splits of before: the very slots, affinity and salt, whatever came in between.

use proptest::prelude::*;

use super::*;
use crate::state::{ANCHORS, ServiceState, Split, SplitFate};

fn set_weight(track: &str, weight: &str) -> Command {
    Command::SetWeight {
        target: service("web"),
        weights: vec![(track.to_owned(), weight.to_owned())],
        ramp: None,
    }
}

fn state(world: &World) -> &ServiceState {
    &world.services["web"]
}

/// What an operator may do between two changes of the split, or as one.
#[derive(Debug, Clone)]
enum Step {
    Weigh(u32),
    Cutover(&'static str),
    Salt(u8),
    Drain(&'static str),
    Ready(&'static str),
    Backend(u8),
    Undo,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let track = || prop_oneof![Just("blue"), Just("green")];
    let step = prop_oneof![
        4 => (1_u32..100).prop_map(Step::Weigh),
        1 => track().prop_map(Step::Cutover),
        1 => (0_u8..4).prop_map(Step::Salt),
        1 => track().prop_map(Step::Drain),
        1 => track().prop_map(Step::Ready),
        2 => (1_u8..9).prop_map(Step::Backend),
        1 => Just(Step::Undo),
    ];
    prop::collection::vec(step, 1..24)
}

impl Step {
    /// The command, for a service whose resource has this salt and backend.
    fn command(&self, salt: &mut u8, backend: &mut u8) -> Command {
        match self {
            Self::Weigh(percent) => set_weight("green", &format!("{percent}%")),
            Self::Cutover(track) => cutover(track),
            Self::Drain(track) => drain(DrainTarget::Track((*track).into())),
            Self::Ready(track) => Command::Ready {
                service: "web".into(),
                what: DrainTarget::Track((*track).into()),
            },
            Self::Undo => undo(),
            Self::Salt(new) => {
                *salt = *new;
                resource(*salt, *backend)
            }
            Self::Backend(new) => {
                *backend = *new;
                resource(*salt, *backend)
            }
        }
    }
}

/// The service without weights: those in force stay.
fn resource(salt: u8, backend: u8) -> Command {
    let blue = format!("198.18.2.{}", 10 + backend);
    let text = yaml(
        "web",
        "198.18.1.100",
        &[("blue", "x", &blue), ("green", "x", "198.18.2.21")],
    );
    let affinity = format!("  release: shop\n  affinity: {{key: clientIP, salt: s{salt}}}\n");
    apply(
        &text
            .replace("      weight: x\n", "")
            .replace("  release: shop\n", &affinity),
    )
}

/// Everything that decides which client meets which track.
fn identity(split: &Split) -> (Vec<u8>, crate::model::Affinity, String) {
    (
        split.slots.as_bytes().to_vec(),
        split.affinity.clone(),
        split.salt.clone(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn undo_gives_back_the_very_split_of_any_generation_that_is_an_anchor(steps in steps()) {
        let mut world = web();
        // What was in force after each generation.
        let mut splits = vec![identity(&state(&world).split)];
        let (mut salt, mut backend) = (0, 1);
        for step in &steps {
            let command = step.command(&mut salt, &mut backend);
            // The last track that takes flows cannot drain, and so on: then nothing happens.
            let Ok(plan) = plan(&world, &command, None, NOW) else { continue };
            world = plan.next;
            let now = state(&world);
            let generation = usize::try_from(now.generation).unwrap();
            prop_assert!(generation == splits.len() || generation == splits.len() + 1);
            splits.truncate(generation - 1);
            splits.push(identity(&now.split));
        }
        let now = state(&world);
        prop_assert!(now.anchors.len() <= ANCHORS);
        for generation in 1..=now.generation {
            let split = &splits[usize::try_from(generation - 1).unwrap()];
            let went = plan(&world, &undo_to(generation), None, NOW);
            match now.fate_of(generation) {
                SplitFate::Unknown => prop_assert!(false, "generation {generation} was there"),
                SplitFate::Gone => prop_assert!(went.is_err()),
                SplitFate::Current => {
                    prop_assert_eq!(&identity(&now.split), split);
                    prop_assert!(went.unwrap().is_empty());
                }
                SplitFate::Anchor(_) => {
                    let back = went.unwrap().next;
                    let back = state(&back);
                    prop_assert_eq!(&identity(&back.split), split, "generation {}", generation);
                    let backends = |service: &ServiceState| {
                        let tracks = service.spec.tracks.iter();
                        tracks.map(|track| track.backends.clone()).collect::<Vec<_>>()
                    };
                    prop_assert_eq!(backends(back), backends(now), "today's backends");
                }
            }
        }
    }
}

#[test]
fn the_last_eight_splits_can_be_gone_back_to_and_older_ones_are_named_as_gone() {
    let mut world = web();
    for percent in 10..20 {
        world = after(&world, &set_weight("green", &format!("{percent}%")));
    }
    let web = state(&world);
    assert_eq!((web.generation, web.anchors.len()), (11, ANCHORS));
    let error = refusal(&world, &undo_to(2));
    assert_eq!(error.code, ErrorCode::Refused);
    assert!(
        error
            .message
            .contains("gone; it can go back to generation 10, 9, 8, 7, 6, 5, 4 or 3"),
        "{}",
        error.message
    );
    let error = refusal(&world, &undo_to(99));
    assert!(
        error.message.contains("no such generation"),
        "{}",
        error.message
    );
    let oldest = after(&world, &undo_to(3));
    assert_eq!(weights(&oldest)[1].1.to_string(), "11");
    assert_eq!(state(&oldest).generation, 12);
}

#[test]
fn a_generation_that_left_the_split_alone_means_the_split_that_it_left() {
    let world = web();
    let backend = DrainTarget::Backend {
        address: "198.18.2.21".parse().unwrap(),
        port: 80,
    };
    let world = after(&world, &drain(backend));
    let world = after(&world, &cutover("green"));
    let anchor = state(&world).anchor().unwrap();
    assert_eq!((anchor.since, anchor.generation), (1, 2));
    for generation in [1, 2] {
        let back = after(&world, &undo_to(generation));
        assert_eq!(state(&back).slots_of("blue"), 62_259);
    }
    assert!(
        plan(&world, &undo_to(3), None, NOW).unwrap().is_empty(),
        "it is in force"
    );
}

#[test]
fn only_the_newest_anchor_keeps_a_table() {
    let mut world = web();
    for table in 0..4 {
        // As the writer does.
        let mut placed = world.clone();
        placed.services.get_mut("web").unwrap().split.table = table;
        world = after(
            &placed,
            &set_weight("green", &format!("{}%", 10 + u32::from(table))),
        );
    }
    let tables: Vec<u8> = state(&world)
        .anchors
        .iter()
        .map(|a| a.split.table)
        .collect();
    let none = crate::state::UNPLACED;
    assert_eq!(tables, [3, none, none, none]);
    assert_eq!(state(&after(&world, &undo_to(1))).split.table, none);
}

#[test]
fn generations_of_a_release_are_not_one_number() {
    let command = Command::Undo {
        target: Target::Release("shop".into()),
        to_generation: Some(1),
        existing: crate::api::types::Existing::Keep,
    };
    let error = refusal(&web(), &command);
    assert!(
        error.message.contains("its own generations"),
        "{}",
        error.message
    );
}

#[test]
fn a_track_for_each_release_drops_the_oldest_anchors_rather_than_being_refused() {
    let tracks = |new: u32| {
        let (old, new) = (format!("v{}", new - 1), format!("v{new}"));
        yaml(
            "web",
            "198.18.1.100",
            &[(&old, "50%", "198.18.2.11"), (&new, "50%", "198.18.2.21")],
        )
    };
    let mut world = after(&World::empty(4, 16, 64), &apply(&tracks(1)));
    let mut warned = 0;
    for release in 2..20 {
        let plan = plan(&world, &apply(&tracks(release)), None, NOW).unwrap();
        warned += plan.changes[0].warnings.len();
        world = plan.next;
        assert!(state(&world).anchor().is_some());
    }
    assert!(warned > 0, "nobody was told");
}

//! Undo gives back the very same clients.

use std::sync::Arc;

use splitter_ebpf::abi::SplitHeader;

use super::*;
use crate::state::Steering;
use crate::table::split::Slots;

/// Everything that decides which client meets which track.
#[derive(Debug, Clone, PartialEq)]
struct Sight {
    slots: Arc<Slots>,
    header: SplitHeader,
    steering: Steering,
}

fn sight(world: &World) -> Sight {
    let split = &world.services["web"].split;
    Sight {
        slots: Arc::clone(&split.slots),
        header: header(world),
        steering: split.steering.clone(),
    }
}

fn digest(world: &World) -> String {
    world.services["web"].digest()
}

/// A command that must succeed, and is a generation of its own if it changes anything.
fn next(world: &World, command: &Command) -> World {
    let plan = plan(world, command, None, NOW).unwrap();
    let (was, is) = (&world.services["web"], &plan.next.services["web"]);
    assert_eq!(is.generation, was.generation + u64::from(!plan.is_empty()));
    assert!(is.ramp.is_none() || plan.is_empty());
    plan.next
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn undo_returns_the_very_same_clients_and_a_second_one_what_was_undone(
        world in worlds(), steps in prop::collection::vec(step(), 0..3), change in step(),
    ) {
        let before = steps.iter().fold(world, |world, step| take(&world, step));
        let changed = take(&before, &change);
        let (was, is) = (&before.services["web"], &changed.services["web"]);
        let same = is.split.same_as(&was.split);
        if same && (is.ramp.is_none() || was.ramp.is_some()) {
            return Ok(());
        }
        let back = next(&changed, &undo());
        prop_assert_eq!(sight(&back), sight(&before));
        prop_assert_eq!(digest(&back), digest(&before));
        if same {
            // A ramp that had moved no slot yet.
            return Ok(());
        }
        let again = next(&back, &undo());
        prop_assert_eq!(sight(&again), sight(&changed));
        prop_assert_eq!(digest(&again), digest(&changed));
    }

    #[test]
    fn undo_to_a_generation_returns_the_clients_that_it_left_and_undo_again_those_of_today(
        world in worlds(), steps in prop::collection::vec(step(), 1..4), chosen in any::<prop::sample::Index>(),
    ) {
        let mut world = world;
        // The last of each generation, from the first one on.
        let mut were = vec![world.clone()];
        for step in &steps {
            let stepped = take(&world, step);
            let grown = stepped.services["web"].generation - world.services["web"].generation;
            prop_assert!(grown <= 1);
            world = stepped;
            if grown == 1 {
                were.push(world.clone());
            }
        }
        let index = chosen.index(were.len());
        let generation = u64::try_from(index).unwrap() + 1;
        let back = next(&world, &undo_to(generation));
        prop_assert_eq!(sight(&back), sight(&were[index]), "generation {}", generation);
        prop_assert_eq!(digest(&back), digest(&were[index]));
        if sight(&back) != sight(&world) {
            let again = next(&back, &undo());
            prop_assert_eq!(sight(&again), sight(&world));
        }
    }
}

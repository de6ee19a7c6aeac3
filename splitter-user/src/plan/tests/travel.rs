//! What is exported with its secret can be imported, whatever has been done before.

use std::time::Duration;

use super::*;
use crate::state::{HostState, ServiceState};

fn ramp() -> Command {
    Command::SetWeight {
        target: service("web"),
        weights: vec![("green".to_owned(), "50%".to_owned())],
        ramp: Some(Duration::from_secs(30)),
    }
}

/// The service as another host has it after an export and an import.
fn travelled(world: &World) -> ServiceState {
    let state = HostState::of(world.services.values(), &[7; 32]).unwrap();
    let text = state.to_yaml().unwrap();
    let import = Command::Import { text };
    let there = plan(&World::empty(16, 64, 64), &import, None, NOW).unwrap();
    there.next.services["web"].clone()
}

#[test]
fn a_service_travels_after_a_ramp() {
    let ramped = after(&web(), &ramp());
    let done = step_of(&ramped, Duration::from_secs(30)).unwrap().next;
    let there = travelled(&done);
    assert_eq!(there.split.slots, done.services["web"].split.slots);
    travelled(&after(&done, &cutover("green")));
}

#[test]
fn a_ramp_travels_and_goes_on_where_it_stood() {
    let ramped = after(&web(), &ramp());
    let half = step_of(&ramped, Duration::from_secs(15)).unwrap().next;
    let there = travelled(&half);
    assert_eq!(there.ramp, half.services["web"].ramp);
    assert!(there.ramp.is_some());
    assert_eq!(there.split.slots, half.services["web"].split.slots);
}

#[test]
fn a_salt_that_undo_has_written_down_travels() {
    let tracks = [
        ("blue", "95%", "198.18.2.11"),
        ("green", "5%", "198.18.2.21"),
    ];
    let text = yaml("web", "198.18.1.100", &tracks);
    let alone = text.replace("  release: shop\n", "");
    let world = after(&World::empty(16, 64, 64), &apply(&alone));
    let back = after(&after(&world, &apply(&text)), &undo());
    assert_eq!(
        back.services["web"].spec.affinity.salt.as_deref(),
        Some("web")
    );
    assert_eq!(travelled(&back).split.salt, "web");
}

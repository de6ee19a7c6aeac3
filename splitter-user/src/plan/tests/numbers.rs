//! Eight tracks, and the numbers that undo needs.

use super::*;

const EIGHT: [(&str, &str); 8] = [
    ("t0", "198.18.2.1"),
    ("t1", "198.18.2.2"),
    ("t2", "198.18.2.3"),
    ("t3", "198.18.2.4"),
    ("t4", "198.18.2.5"),
    ("t5", "198.18.2.6"),
    ("t6", "198.18.2.7"),
    ("t7", "198.18.2.8"),
];

/// These tracks, the first with all weight but for what is given to the last.
fn tracks(of: &[(&str, &str)], last: u32) -> Command {
    let weight = |index: usize| match index {
        0 => format!("{}%", 100 - last),
        _ if index + 1 == of.len() => format!("{last}%"),
        _ => "0%".to_owned(),
    };
    let weights: Vec<String> = (0..of.len()).map(weight).collect();
    let tracks: Vec<(&str, &str, &str)> = of
        .iter()
        .zip(&weights)
        .map(|((name, address), weight)| (*name, weight.as_str(), *address))
        .collect();
    apply(&yaml("web", "198.18.1.100", &tracks))
}

/// Seven tracks are left of eight; undo goes back to a split with the one that is gone.
fn seven() -> World {
    let eight = after(&World::empty(4, 16, 64), &tracks(&EIGHT, 10));
    after(&eight, &tracks(&EIGHT[..7], 10))
}

fn with_new() -> Vec<(&'static str, &'static str)> {
    let seven = EIGHT[..7].iter().copied();
    seven.chain([("new", "198.18.2.9")]).collect()
}

#[test]
fn the_only_anchor_gives_its_number_to_a_new_track_if_the_change_makes_another_anchor() {
    let plan = plan(&seven(), &tracks(&with_new(), 20), None, NOW).unwrap();
    let said = plan.changes[0].warnings.join("\n");
    assert!(said.contains("generation 1"), "{said}");
    let back = after(&plan.next, &undo());
    assert_eq!(
        back.services["web"].split.slots,
        seven().services["web"].split.slots
    );
}

#[test]
fn the_only_anchor_stays_if_nothing_could_be_undone_without_it() {
    let of: Vec<(&str, &str)> = EIGHT[..6]
        .iter()
        .copied()
        .chain([("new", "198.18.2.9"), EIGHT[6]])
        .collect();
    let error = refusal(&seven(), &tracks(&of, 10));
    assert!(
        error.message.contains("`new`") && error.message.contains("set-weight web"),
        "{}",
        error.message
    );
    // As it tells.
    let weighed = Command::SetWeight {
        target: service("web"),
        weights: vec![("t6".to_owned(), "11%".to_owned())],
        ramp: None,
    };
    let world = after(&seven(), &weighed);
    assert!(plan(&world, &tracks(&of, 11), None, NOW).is_ok());
}

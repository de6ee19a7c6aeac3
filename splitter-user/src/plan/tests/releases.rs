//! Verbs of a release, whose services count their generations each by itself.

use super::*;

fn cart(world: &World) -> World {
    let tracks = [
        ("blue", "50%", "198.18.2.13"),
        ("green", "50%", "198.18.2.23"),
    ];
    after(world, &apply(&yaml("cart", "198.18.1.101", &tracks)))
}

fn shop() -> Target {
    Target::Release("shop".to_owned())
}

fn undo_all() -> Command {
    Command::Undo {
        target: shop(),
        to_generation: None,
        existing: Existing::Keep,
    }
}

fn cutover_all() -> Command {
    Command::Cutover {
        target: shop(),
        to: "green".to_owned(),
        existing: Existing::Keep,
    }
}

#[test]
fn undo_of_a_release_leaves_out_a_service_that_has_nothing_to_undo_and_says_so() {
    let world = cart(&after(&web(), &cutover("green")));
    let plan = plan(&world, &undo_all(), None, NOW).unwrap();
    assert_eq!(plan.touched, ["web"]);
    let change = |name: &str| plan.changes.iter().find(|change| change.service == name);
    let said = change("cart").unwrap().warnings.join("\n");
    assert!(said.contains("nothing to undo"), "{said}");
    assert!(change("web").unwrap().warnings[0].contains("generation 1"));
}

#[test]
fn undo_of_a_release_is_refused_if_none_of_its_services_has_anything_to_undo() {
    let error = refusal(&cart(&web()), &undo_all());
    assert!(
        error.message.contains("cart") && error.message.contains("web"),
        "{}",
        error.message
    );
}

#[test]
fn undo_of_a_release_names_the_generations_that_its_services_go_back_to() {
    let world = after(&cart(&after(&web(), &cutover("green"))), &cutover_all());
    let plan = plan(&world, &undo_all(), None, NOW).unwrap();
    for change in &plan.changes {
        let said = change.warnings.join("\n");
        assert!(said.contains("goes back to generation 1"), "{said}");
    }
}

#[test]
fn one_expected_generation_of_services_that_differ_is_a_conflict_before_all_else() {
    let world = cart(&after(&web(), &cutover("green")));
    let both = format!(
        "{}---\n{}",
        yaml("web", "198.18.1.100", &[("blue", "1%", "198.18.2.11")]),
        yaml("cart", "198.18.1.101", &[("blue", "1%", "198.18.2.13")])
    );
    let unknown = Command::Cutover {
        target: shop(),
        to: "nosuch".to_owned(),
        existing: Existing::Keep,
    };
    for command in [unknown, apply(&both)] {
        for expected in [1, 2] {
            let error = plan(&world, &command, Some(expected), NOW).unwrap_err();
            assert_eq!(error.code, ErrorCode::Conflict);
            assert!(
                error
                    .message
                    .contains("cart is at generation 1, web is at generation 2")
                    && error.message.contains("one by one"),
                "{}",
                error.message
            );
        }
    }
    // Where they are the same, it is the one of each.
    let world = cart(&web());
    assert!(plan(&world, &cutover_all(), Some(1), NOW).is_ok());
    let error = plan(&world, &cutover_all(), Some(2), NOW).unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
}

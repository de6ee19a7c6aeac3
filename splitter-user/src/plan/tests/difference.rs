//! diff three ways, and what --prune removes.

use super::*;
use crate::api::types::{DiffAction, DiffRequest, DiffView, FieldDiff};

const WEB: [(&str, &str, &str); 2] = [
    ("blue", "95%", "198.18.2.11"),
    ("green", "5%", "198.18.2.21"),
];

fn diff(world: &World, yaml: String, prune: bool) -> DiffView {
    let request = DiffRequest {
        yaml,
        origin: "test".to_owned(),
        prune,
    };
    difference(world, &request, NOW).unwrap()
}

fn field<'d>(view: &'d DiffView, path: &str) -> Option<&'d FieldDiff> {
    view.services[0]
        .fields
        .iter()
        .find(|field| field.path == path)
}

fn set_weight(weight: &str) -> Command {
    Command::SetWeight {
        target: service("web"),
        weights: vec![("green".to_owned(), weight.to_owned())],
        ramp: None,
    }
}

fn cart() -> String {
    let tracks = [("blue", "100%", "198.18.3.11")];
    yaml("cart", "198.18.1.101", &tracks)
}

fn apply_from(yaml: String, origin: &str) -> Command {
    Command::Apply {
        yaml,
        origin: origin.to_owned(),
    }
}

fn pruned(yaml: String, origin: &str) -> Command {
    Command::ApplyAndPrune {
        yaml,
        origin: origin.to_owned(),
    }
}

#[test]
fn what_is_in_force_as_it_was_applied_is_no_difference() {
    let view = diff(&web(), yaml("web", "198.18.1.100", &WEB), false);
    assert!(!view.changed);
    let service = &view.services[0];
    assert_eq!(
        (service.action, service.fields.len()),
        (DiffAction::Keep, 0)
    );
    assert_eq!(service.origin.as_deref(), Some("test"));
}

#[test]
fn a_weight_that_was_moved_since_the_last_apply_shows_all_three_ways() {
    let world = after(&web(), &set_weight("25%"));
    let view = diff(&world, yaml("web", "198.18.1.100", &WEB), false);
    assert!(view.changed);
    let weight = field(&view, "spec.tracks.green.weight").unwrap();
    assert_eq!(
        (
            weight.file.as_deref(),
            weight.desired.as_deref(),
            weight.applied.as_deref()
        ),
        (Some("5%"), Some("25%"), Some("5%"))
    );
    assert!(weight.changes && weight.runtime);
    assert_eq!(
        view.services[0].fields.len(),
        2,
        "the weights of both tracks"
    );
}

#[test]
fn a_file_that_caught_up_with_a_runtime_change_changes_nothing_and_says_what_was_moved() {
    let world = after(&web(), &set_weight("25%"));
    let caught_up = [
        ("blue", "75%", "198.18.2.11"),
        ("green", "25%", "198.18.2.21"),
    ];
    let text = yaml("web", "198.18.1.100", &caught_up);
    let view = diff(&world, text.clone(), false);
    assert!(!view.changed);
    let weight = field(&view, "spec.tracks.green.weight").unwrap();
    assert!(!weight.changes && weight.runtime);
    // Applying it makes it what was applied last.
    let world = after(&world, &apply(&text));
    assert!(diff(&world, text, false).services[0].fields.is_empty());
}

#[test]
fn a_file_without_weights_keeps_those_in_force_and_drains_are_told() {
    let world = after(&web(), &set_weight("25%"));
    let world = after(&world, &drain(DrainTarget::Track("green".into())));
    let text = yaml("web", "198.18.1.100", &WEB)
        .replace("      weight: 95%\n", "")
        .replace("      weight: 5%\n", "");
    let view = diff(&world, text, false);
    assert!(!view.changed);
    assert_eq!(view.services[0].drained, ["track green"]);
}

#[test]
fn a_new_service_and_a_new_backend_are_fields_that_come() {
    let tracks = [WEB[0], ("green", "5%", "198.18.2.22")];
    let view = diff(&web(), yaml("web", "198.18.1.100", &tracks), false);
    let comes = field(&view, "spec.tracks.green.backends.[198.18.2.22]:80.address").unwrap();
    assert_eq!(
        (comes.desired.as_deref(), comes.file.as_deref()),
        (None, Some("198.18.2.22"))
    );
    let goes = field(&view, "spec.tracks.green.backends.[198.18.2.21]:80.address").unwrap();
    assert_eq!(
        (goes.desired.as_deref(), goes.file.as_deref()),
        (Some("198.18.2.21"), None)
    );
    let view = diff(&web(), cart(), false);
    assert_eq!(view.services[0].action, DiffAction::Create);
    assert!(
        view.services[0]
            .fields
            .iter()
            .all(|field| field.changes && !field.runtime)
    );
}

#[test]
fn what_an_apply_would_refuse_a_diff_refuses() {
    let request = DiffRequest {
        yaml: yaml("web", "198.18.1.100", &[("blue", "95%", "198.18.2.11")]),
        origin: "test".to_owned(),
        prune: false,
    };
    let error = difference(&web(), &request, NOW).unwrap_err();
    assert_eq!(error.code, ErrorCode::Refused);
}

#[test]
fn prune_removes_what_earlier_applies_of_the_same_file_made_and_nothing_else() {
    let both = format!("{}---\n{}", yaml("web", "198.18.1.100", &WEB), cart());
    let other = yaml("mail", "198.18.1.102", &[("blue", "100%", "198.18.4.11")]);
    let empty = World::empty(16, 64, 64);
    let world = after(&empty, &apply_from(both, "a.yaml"));
    let world = after(&world, &apply_from(other, "b.yaml"));
    let less = yaml("web", "198.18.1.100", &WEB);

    let request = DiffRequest {
        yaml: less.clone(),
        origin: "a.yaml".to_owned(),
        prune: true,
    };
    let view = difference(&world, &request, NOW).unwrap();
    let actions: Vec<_> = view
        .services
        .iter()
        .map(|one| (one.service.as_str(), one.action))
        .collect();
    assert_eq!(
        actions,
        [("cart", DiffAction::Prune), ("web", DiffAction::Keep)]
    );
    assert!(view.changed);

    let plan = plan(&world, &pruned(less.clone(), "a.yaml"), None, NOW).unwrap();
    assert_eq!(plan.deleted, ["cart"]);
    let names: Vec<&String> = plan.next.services.keys().collect();
    assert_eq!(names, ["mail", "web"]);
    assert!(!plan.next.applied.contains_key("cart"));
    // Without --prune, and from another file, nothing goes.
    assert!(
        after(&world, &apply_from(less.clone(), "a.yaml"))
            .services
            .contains_key("cart")
    );
    assert!(
        after(&world, &pruned(less, "c.yaml"))
            .services
            .contains_key("cart")
    );
}

#[test]
fn a_service_that_another_file_took_over_is_no_longer_pruned_by_the_first() {
    let empty = World::empty(16, 64, 64);
    let both = format!("{}---\n{}", yaml("web", "198.18.1.100", &WEB), cart());
    let world = after(&empty, &apply_from(both, "a.yaml"));
    let world = after(&world, &apply_from(cart(), "b.yaml"));
    let less = yaml("web", "198.18.1.100", &WEB);
    assert!(
        after(&world, &pruned(less, "a.yaml"))
            .services
            .contains_key("cart")
    );
}

#[test]
fn a_service_that_comes_may_have_the_listener_of_one_that_is_pruned() {
    let empty = World::empty(16, 64, 64);
    let world = after(&empty, &apply_from(cart(), "a.yaml"));
    let renamed = cart().replace("name: cart", "name: basket");
    let world = after(&world, &pruned(renamed, "a.yaml"));
    assert_eq!(world.services.keys().collect::<Vec<_>>(), ["basket"]);
}

#[test]
fn stdin_cannot_be_pruned_by() {
    let error = refusal(&web(), &pruned(cart(), "-"));
    assert!(error.message.contains("-f FILE"), "{}", error.message);
}

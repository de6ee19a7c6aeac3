//! From one host to another: the same clients meet the same tracks.

use super::*;
use crate::api::types::{DrainTarget, ErrorCode};

const OTHER_SECRET: [u8; 32] = [7; 32];

/// An agent of another host, with a secret of its own.
fn other_host() -> Under {
    let plane = Memory::new(layout(), &OTHER_SECRET).unwrap();
    let store = Store::open_in_memory().unwrap();
    restarted(plane, store, false)
}

fn restarted(plane: Memory, store: Store, adopted: bool) -> Under {
    let grace = Grace::start(|| Ok(())).unwrap();
    let addresses = watch::channel(BTreeSet::new()).0;
    Writer::recover(plane, store, OTHER_SECRET, adopted, grace, addresses).unwrap()
}

/// A service with some history, a drain and a salt of its own.
fn storied() -> Under {
    let mut writer = web();
    let text = YAML.replace("spec:\n", "spec:\n  affinity: {key: clientIP, salt: s1}\n");
    run(
        &mut writer,
        Command::Apply {
            yaml: text,
            origin: "test".into(),
        },
    );
    for weight in [3, 20, 71] {
        run(
            &mut writer,
            Command::SetWeight {
                target: target(),
                weights: vec![("green".to_owned(), format!("{weight}%"))],
                ramp: None,
            },
        );
    }
    run(
        &mut writer,
        Command::Drain {
            service: "web".into(),
            what: DrainTarget::Backend {
                address: "198.18.2.21".parse().unwrap(),
                port: 80,
            },
            timeout: None,
            on_timeout: None,
            spread: None,
        },
    );
    writer
}

fn import(text: &str) -> ChangeRequest {
    ChangeRequest::new(Command::Import { text: text.into() })
}

/// The header and the slots that packets find.
fn in_force(writer: &Under) -> (Vec<u8>, String) {
    let tables = writer.plane.tables();
    let table = tables.row(tables.selector().row()).table[1];
    let (header, slots) = tables.read_split(1, table).unwrap();
    (slots.to_vec(), format!("{header:?}"))
}

#[test]
fn an_import_puts_the_very_same_slots_and_keys_in_force_with_generations_and_anchors() {
    let mut from = storied();
    let text = from.export_state(None, ROOT).unwrap();
    let mut to = other_host();
    let changes = to.change(&import(&text), ROOT).unwrap();
    assert_eq!(changes[0].generation, 6);
    assert_eq!(in_force(&to), in_force(&from));
    let (a, b) = (&from.world.services["web"], &to.world.services["web"]);
    assert_eq!(a.digest(), b.digest());
    assert_eq!((&a.spec, a.split_since), (&b.spec, b.split_since));
    assert_eq!(a.drained_backends, b.drained_backends);
    let undo = Command::Undo {
        target: target(),
        to_generation: Some(2),
        existing: crate::api::types::Existing::Keep,
    };
    for newest in [true, false] {
        let undo = match newest {
            true => Command::Undo {
                target: target(),
                to_generation: None,
                existing: crate::api::types::Existing::Keep,
            },
            false => undo.clone(),
        };
        run(&mut from, undo.clone());
        run(&mut to, undo);
        assert_eq!(in_force(&to), in_force(&from));
    }
    // It outlives a restart and a reboot, for the journal keeps the secret that came along.
    let Writer { plane, store, .. } = to;
    let to = restarted(plane, store, true);
    assert_eq!(in_force(&to), in_force(&from));
    let Writer { store, .. } = to;
    let mut to = restarted(Memory::new(layout(), &OTHER_SECRET).unwrap(), store, false);
    assert_eq!(in_force(&to), in_force(&from));
    // What it exports is the same secret.
    let again = to.export_state(None, ROOT).unwrap();
    let secret = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("secret:"));
        line.unwrap().to_owned()
    };
    assert_eq!(secret(&again), secret(&text));
}

#[test]
fn a_rehearsal_of_an_import_changes_nothing_not_even_the_secret() {
    let text = storied().export_state(None, ROOT).unwrap();
    let mut to = other_host();
    let mut request = import(&text);
    request.dry_run = true;
    assert_eq!(to.change(&request, ROOT).unwrap().len(), 1);
    assert!(to.world.services.is_empty());
    assert_eq!(to.secret, OTHER_SECRET);
}

#[test]
fn another_secret_is_refused_while_a_service_or_a_number_is_left_and_taken_after_that() {
    let text = storied().export_state(Some("web"), ROOT).unwrap();
    let mut to = other_host();
    let shop = YAML
        .replace("name: web", "name: shop")
        .replace("198.18.1.100", "198.18.1.101")
        .replace("198.18.2.", "198.18.3.");
    run(
        &mut to,
        Command::Apply {
            yaml: shop,
            origin: "test".into(),
        },
    );
    let error = to.change(&import(&text), ROOT).unwrap_err();
    assert_eq!(error.code, ErrorCode::Refused);
    assert!(
        error.message.contains("another secret") && error.message.contains("1 services"),
        "{}",
        error.message
    );
    run(
        &mut to,
        Command::Delete {
            service: "shop".into(),
            now: true,
        },
    );
    to.change(&import(&text), ROOT).unwrap_err();
    assert_eq!(to.secret, OTHER_SECRET);
    scans(&mut to);
    // For so long fragments may follow a first one without a pin.
    half_a_minute(&to);
    scans(&mut to);
    to.change(&import(&text), ROOT).unwrap();
    assert_eq!(to.secret, SECRET);
}

#[test]
fn with_the_same_secret_services_are_imported_beside_others_and_none_is_replaced() {
    let mut from = storied();
    let text = from.export_state(None, ROOT).unwrap();
    let error = from.change(&import(&text), ROOT).unwrap_err();
    assert!(
        error.message.contains("there already: web"),
        "{}",
        error.message
    );
    run(
        &mut from,
        Command::Delete {
            service: "web".into(),
            now: false,
        },
    );
    from.change(&import(&text), ROOT).unwrap();
    assert_eq!(from.world.services["web"].generation, 6);
}

#[test]
fn a_secret_whose_services_could_not_be_put_in_force_is_not_kept() {
    let text = storied().export_state(None, ROOT).unwrap();
    let mut to = other_host();
    // The journal takes one change at a time.
    let other = crate::store::Prepared {
        sequence: 99,
        selector_before: 0,
        selector_after: 0,
        services: Vec::new(),
        deleted: Vec::new(),
        ids: Vec::new(),
        metas: Vec::new(),
        audit: super::super::policy::act("apply", String::new(), None, ROOT),
    };
    to.store.prepare(&other).unwrap();
    to.change(&import(&text), ROOT).unwrap_err();
    assert_eq!(to.secret, OTHER_SECRET);
    to.store.discard(99).unwrap();
    let Writer { plane, store, .. } = to;
    assert_eq!(restarted(plane, store, true).secret, OTHER_SECRET);
}

#[test]
fn an_import_that_is_killed_brings_its_secret_with_its_flip_and_not_before() {
    let text = storied().export_state(None, ROOT).unwrap();
    for (flipped, secret) in [(false, OTHER_SECRET), (true, SECRET)] {
        let mut to = other_host();
        let command = import(&text).command;
        let mut plan = crate::plan::plan(&to.world, &command, None, now_ms()).unwrap();
        to.secret = plan.secret.unwrap();
        to.cut_short(&mut plan, flipped);
        let Writer { plane, store, .. } = to;
        assert_eq!(restarted(plane, store, true).secret, secret, "{flipped}");
    }
}

#[test]
fn an_imported_secret_that_is_none_is_refused_at_the_start_instead_of_splitting_anew() {
    let Writer {
        plane, mut store, ..
    } = other_host();
    store.set_meta("split-secret", "07ab").unwrap();
    let grace = Grace::start(|| Ok(())).unwrap();
    let addresses = watch::channel(BTreeSet::new()).0;
    let refused = Writer::recover(plane, store, OTHER_SECRET, true, grace, addresses).err();
    let said = refused.expect("not a secret").to_string();
    for word in ["4 characters", "64 hexadecimal digits", "backup"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn what_no_export_wrote_is_refused_with_the_reason() {
    let text = storied().export_state(None, ROOT).unwrap();
    let cases = [
        (
            "kind: HostState",
            "kind: Service",
            "for `splitterctl apply`",
        ),
        (
            "splitter/v1\nkind: HostState",
            "splitter/v9\nkind: HostState",
            "splitter/v9",
        ),
        ("secret:", "sekret:", "sekret"),
        ("secret: ", "secret: 0", "64 hexadecimal digits"),
        ("generation: 6", "generation: 1", "generations"),
        ("blue: 0", "blue: 1", "numbered 0 to 7"),
        ("salt: s1\n", "salt: s2\n", "another affinity or salt"),
        ("address: \"198", "address: \"298", "298.18.2.11"),
    ];
    for (right, wrong, part) in cases {
        assert!(text.contains(right), "{right}:\n{text}");
        let error = other_host()
            .change(&import(&text.replacen(right, wrong, 1)), ROOT)
            .expect_err(wrong);
        let all = format!("{} {:?}", error.message, error.details);
        assert!(all.contains(part), "{wrong}: {all}");
    }
    for text in [
        "",
        "a: [",
        "- 1",
        "apiVersion: splitter/v1\nkind: HostState\n",
    ] {
        other_host().change(&import(text), ROOT).unwrap_err();
    }
}

#[test]
fn exporting_the_secret_leaves_a_trace() {
    let mut writer = web();
    writer.export_state(None, ROOT).unwrap();
    let newest = writer.store.audit(1).unwrap().remove(0).audit;
    assert_eq!(
        (newest.verb.as_str(), newest.uid),
        ("export --with-secret", 0)
    );
    let error = writer.export_state(Some("wbe"), ROOT).unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
}

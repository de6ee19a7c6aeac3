//! Splits of before, in the tables and in the journal.

use super::*;
use crate::state::{ANCHORS, UNPLACED};

fn set_weight(weight: u32) -> Command {
    Command::SetWeight {
        target: target(),
        weights: vec![("green".to_owned(), format!("{weight}%"))],
        ramp: None,
    }
}

fn undo_to(generation: u64) -> Command {
    Command::Undo {
        target: target(),
        to_generation: Some(generation),
        existing: crate::api::types::Existing::Keep,
    }
}

/// The header and the slots that packets find.
fn in_force(writer: &Under) -> (Vec<u8>, String) {
    let tables = writer.plane.tables();
    let service = &writer.world.services["web"];
    let table = tables.row(tables.selector().row()).table[1];
    assert_eq!(table, service.split.table);
    let (header, slots) = tables.read_split(1, table).unwrap();
    (slots.to_vec(), format!("{header:?}"))
}

/// A service with more splits behind it than are kept, and what was in force after each generation.
fn long_story() -> (Under, Vec<(Vec<u8>, String)>) {
    let mut writer = web();
    let mut seen = vec![in_force(&writer)];
    for weight in 1..=12 {
        run(&mut writer, set_weight(weight));
        seen.push(in_force(&writer));
    }
    (writer, seen)
}

#[test]
fn undo_to_any_anchor_puts_the_very_same_bytes_in_force_in_one_flip() {
    let (mut writer, mut seen) = long_story();
    for _ in 0..3 {
        let anchors = writer.world.services["web"].anchors.clone();
        assert_eq!(anchors.len(), ANCHORS);
        let oldest = anchors.last().unwrap().generation;
        let flips = writer.plane.tables().selector().sequence();
        let changes = run(&mut writer, undo_to(oldest));
        assert!(changes[0].flip_nanoseconds.is_some());
        assert_eq!(writer.plane.tables().selector().sequence(), flips + 1);
        let index = usize::try_from(oldest).unwrap() - 1;
        assert_eq!(in_force(&writer), seen[index]);
        seen.push(in_force(&writer));
    }
}

#[test]
fn the_split_before_stays_in_its_table_while_an_older_one_is_gone_back_to() {
    let (mut writer, _) = long_story();
    let left = writer.world.services["web"].split.clone();
    run(&mut writer, undo_to(7));
    let service = &writer.world.services["web"];
    let newest = service.anchor().unwrap();
    assert_eq!(newest.split, left);
    let slots = writer.plane.tables().read_split(1, left.table).unwrap().1;
    assert_eq!(slots.as_slice(), left.slots.as_bytes());
    assert!(
        service.anchors[1..]
            .iter()
            .all(|anchor| anchor.split.table == UNPLACED)
    );
}

#[test]
fn anchors_outlive_a_restart_and_a_reboot() {
    let (writer, mut seen) = long_story();
    let before = writer.world.services["web"].anchors.clone();
    let Writer { plane, store, .. } = writer;
    let mut writer = writer_over(plane, store, true);
    let after = &writer.world.services["web"].anchors;
    let all = |anchors: &[crate::state::Anchor]| -> Vec<_> {
        anchors
            .iter()
            .map(|a| {
                (
                    a.since,
                    a.generation,
                    a.split.slots.clone(),
                    a.weights.clone(),
                )
            })
            .collect()
    };
    assert_eq!(all(after), all(&before));
    run(&mut writer, undo_to(6));
    assert_eq!(in_force(&writer), seen[5]);
    seen.push(in_force(&writer));
    let Writer { store, .. } = writer;
    let mut writer = writer_over(Memory::new(layout(), &SECRET).unwrap(), store, false);
    run(&mut writer, undo_to(12));
    assert_eq!(in_force(&writer), seen[11]);
}

#[test]
fn an_anchor_keeps_its_weights_routes_fallback_and_drains_over_a_restart() {
    let mut writer = web();
    let routes = "  routes: [{match: {source: [198.18.9.0/24]}, track: green, reason: staff}]";
    let apply = Command::Apply {
        yaml: format!("{}\n{routes}\n  fallback: blue\n", YAML.trim_end()),
        origin: "test".into(),
    };
    run(&mut writer, apply);
    let what = || crate::api::types::DrainTarget::Track("green".into());
    let drain = Command::Drain {
        service: "web".into(),
        what: what(),
        timeout: None,
        on_timeout: None,
        spread: None,
    };
    run(&mut writer, drain);
    let ready = Command::Ready {
        service: "web".into(),
        what: what(),
    };
    run(&mut writer, ready);
    let anchors = |writer: &Under| -> Vec<crate::state::Anchor> {
        let mut anchors = writer.world.services["web"].anchors.clone();
        for anchor in &mut anchors {
            anchor.split.table = UNPLACED;
        }
        anchors
    };
    let before = anchors(&writer);
    let [drained, routed, ..] = before.as_slice() else {
        panic!("two anchors at least: {}", before.len());
    };
    assert!(drained.drained.contains_key("green"));
    assert_eq!(
        (routed.routes.len(), routed.fallback.as_deref()),
        (1, Some("blue"))
    );
    let Writer { plane, store, .. } = writer;
    assert_eq!(anchors(&writer_over(plane, store, true)), before);
}

#[test]
fn after_a_restart_a_change_that_is_taken_back_leaves_alone_the_table_that_undo_goes_back_to() {
    // Every table is the current one once.
    for changes in 1..=4 {
        let mut writer = web();
        for change in 1..=changes {
            run(&mut writer, set_weight(change * 10));
        }
        let Writer { plane, store, .. } = writer;
        let mut writer = writer_over(plane, store, true);
        let anchor = writer.world.services["web"].anchor().unwrap().split.clone();
        let mut plan = crate::plan::plan(&writer.world, &set_weight(77), None, now_ms()).unwrap();
        writer.cut_short(&mut plan, false);
        writer.take_back_last(&plan, "memory");
        let undo = Command::Undo {
            target: target(),
            to_generation: None,
            existing: Existing::Keep,
        };
        run(&mut writer, undo);
        assert!(
            in_force(&writer).0 == anchor.slots.as_bytes(),
            "after {changes} changes"
        );
    }
}

#[test]
fn a_journal_with_one_anchor_of_before_still_opens() {
    let mut writer = web();
    run(&mut writer, cutover("green"));
    let mut records = writer.store.load_services().unwrap();
    // As the version before wrote it.
    let without = |json: &str, key: &str| {
        let mut value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert!(value.as_object_mut().unwrap().remove(key).is_some());
        value.to_string()
    };
    let record = &mut records[0];
    record.state_json = without(&record.state_json, "split_since");
    record.anchors[0].state_json = without(&record.anchors[0].state_json, "since");
    let read = super::super::record::read_service(record).unwrap();
    assert_eq!(read.split_since, 2);
    let anchor = read.anchor().unwrap();
    assert_eq!((anchor.since, anchor.generation), (1, 1));
}

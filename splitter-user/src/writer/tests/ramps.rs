//! Ramps and slow starts through the writer: journal, tables, restart.

use super::*;
use std::time::Duration;

fn ramp(seconds: u64) -> Command {
    Command::SetWeight {
        target: target(),
        weights: vec![("green".to_owned(), "50%".to_owned())],
        ramp: Some(Duration::from_secs(seconds)),
    }
}

/// Green's slots, as packets find them.
fn green(writer: &Under) -> usize {
    let tables = writer.plane.tables();
    let table = tables.row(tables.selector().row()).table[1];
    let (_, slots) = tables.read_split(1, table).unwrap();
    slots.iter().filter(|track| **track == 1).count()
}

fn lines(writer: &Under) -> (usize, usize) {
    let history = writer.store.history(Some("web"), 1_000).unwrap().len();
    (history, writer.store.audit(1_000).unwrap().len())
}

#[test]
fn a_ramp_moves_slots_as_time_goes_and_leaves_one_line_of_history() {
    let mut writer = web();
    run(&mut writer, ramp(30));
    let before = lines(&writer);
    let start = Instant::now();
    writer.step_ramps(start);
    assert_eq!(green(&writer), 0);
    let mut had = 0;
    for second in 1..=29 {
        writer.step_ramps(start + Duration::from_secs(second));
        let has = green(&writer);
        assert!(has > had, "second {second}: {has} after {had}");
        had = has;
        assert_eq!(writer.world.services["web"].generation, 2);
    }
    assert!(writer.next_step(start + Duration::from_secs(29)).is_some());
    writer.step_ramps(start + Duration::from_secs(31));
    assert_eq!(green(&writer), 32_768);
    assert!(writer.next_step(start + Duration::from_secs(31)).is_none());
    assert_eq!(lines(&writer), before, "a step is no change of its own");
    run(
        &mut writer,
        Command::Undo {
            target: target(),
            existing: Existing::Keep,
            to_generation: None,
        },
    );
    assert_eq!(green(&writer), 0);
}

#[test]
fn an_agent_that_is_killed_in_a_ramp_goes_on_where_it_stood() {
    let mut writer = web();
    run(&mut writer, ramp(10));
    let start = Instant::now();
    writer.step_ramps(start);
    for second in 1..=5 {
        writer.step_ramps(start + Duration::from_secs(second));
    }
    assert_eq!(green(&writer), 16_384);
    let Writer { plane, store, .. } = writer;
    let mut writer = writer_over(plane, store, true);
    assert_eq!(green(&writer), 16_384);
    // However long nobody ran: the time of a ramp is that of its agents.
    let start = start + Duration::from_secs(7_200);
    writer.step_ramps(start);
    assert_eq!(green(&writer), 16_384);
    for second in 1..=5 {
        writer.step_ramps(start + Duration::from_secs(second));
    }
    assert_eq!(green(&writer), 32_768);
    run(
        &mut writer,
        Command::Undo {
            target: target(),
            existing: Existing::Keep,
            to_generation: None,
        },
    );
    assert_eq!(green(&writer), 0);
}

#[test]
fn a_reboot_in_a_ramp_has_the_same_slots_and_goes_on_too() {
    let mut writer = web();
    run(&mut writer, ramp(10));
    let start = Instant::now();
    writer.step_ramps(start);
    writer.step_ramps(start + Duration::from_secs(1));
    let had = green(&writer);
    assert!(had > 0);
    let Writer { store, .. } = writer;
    let mut writer = writer_over(Memory::new(layout(), &SECRET).unwrap(), store, false);
    assert_eq!(green(&writer), had);
    writer.step_ramps(start);
    writer.step_ramps(start + Duration::from_secs(20));
    assert_eq!(green(&writer), 32_768);
}

#[test]
fn a_slow_start_rewrites_its_track_alone_and_ends_at_the_table_without_it() {
    let mut writer = web();
    let slow = YAML.replace(
        "weight: 100%,",
        "weight: 100%, slowStart: {duration: 60s, curve: linear},",
    );
    let both = slow.replace(
        "[{address: 198.18.2.11, port: 80}]",
        "[{address: 198.18.2.11, port: 80}, {address: 198.18.2.12, port: 80}]",
    );
    let apply = |yaml: &str| Command::Apply {
        yaml: yaml.to_owned(),
        origin: "test".to_owned(),
    };
    run(&mut writer, apply(&slow));
    run(&mut writer, apply(&both));
    let index = track_table_index(1, 0, Family::V4);
    let second = |writer: &Under| {
        let id = writer
            .world
            .backend_ids
            .iter()
            .find(|(_, key, _)| key.address.to_string() == "198.18.2.12")
            .unwrap()
            .0;
        let tables = writer.plane.tables();
        (0..65_537)
            .filter(|entry| tables.track_entry(index, *entry) == id)
            .count()
    };
    let since = *writer.world.services["web"]
        .warming
        .values()
        .next()
        .unwrap();
    let (split, selector, generation) = (
        writer.world.services["web"].split.clone(),
        writer.plane.tables().selector(),
        writer.world.services["web"].generation,
    );
    let mut had = second(&writer);
    // One part of 21: the other has its whole weight.
    assert!((3_120..3_122).contains(&had), "{had}");
    for seconds in (3..60).step_by(3) {
        writer.warm(since + seconds * 1_000);
        let has = second(&writer);
        assert!(has > had || seconds == 3, "{seconds} s: {has} after {had}");
        had = has;
    }
    writer.warm(since + 60_000);
    let whole: Vec<u16> = (0..65_537)
        .map(|entry| writer.plane.tables().track_entry(index, entry))
        .collect();
    assert!(second(&writer).abs_diff(32_768) <= 1);
    assert_eq!(writer.world.services["web"].split, split);
    assert_eq!(
        writer.plane.tables().selector(),
        selector,
        "nothing was flipped"
    );
    assert_eq!(writer.world.services["web"].generation, generation);
    let mut plain = web();
    run(
        &mut plain,
        apply(&both.replace(" slowStart: {duration: 60s, curve: linear},", "")),
    );
    let never: Vec<u16> = (0..65_537)
        .map(|entry| plain.plane.tables().track_entry(index, entry))
        .collect();
    let address = |writer: &Under, id: u16| writer.world.backend_ids.key_of(id).unwrap().address;
    assert!(
        whole
            .iter()
            .zip(&never)
            .all(|(a, b)| address(&writer, *a) == address(&plain, *b))
    );
}

#[test]
fn a_restart_in_a_slow_start_goes_on_with_it() {
    let mut writer = web();
    let slow = YAML.replace("weight: 100%,", "weight: 100%, slowStart: {duration: 1h},");
    let both = slow.replace(
        "[{address: 198.18.2.11, port: 80}]",
        "[{address: 198.18.2.11, port: 80}, {address: 198.18.2.12, port: 80}]",
    );
    for yaml in [slow, both] {
        run(
            &mut writer,
            Command::Apply {
                yaml,
                origin: "test".into(),
            },
        );
    }
    let warming = writer.world.services["web"].warming.clone();
    assert_eq!(warming.len(), 1);
    let tracks = writer.tracks.clone();
    let Writer { plane, store, .. } = writer;
    let writer = writer_over(plane, store, true);
    assert_eq!(writer.world.services["web"].warming, warming);
    assert_eq!(writer.tracks, tracks);
}

#[test]
fn a_slow_start_is_shown_while_it_is_on_and_where_all_start_each_has_its_whole_weight() {
    const NOW: u64 = 1_700_000_000_000;
    let at = |seconds: u64| crate::writer::clock::FROZEN.set(Some(NOW + seconds * 1_000));
    at(0);
    let slow = YAML.replace(
        "weight: 100%,",
        "weight: 100%, slowStart: {duration: 100s},",
    );
    let mut writer = serving(&slow);
    let shown = |writer: &Under, track: usize| -> Vec<Option<(String, u64)>> {
        let view = writer.service_views(Some("web")).unwrap();
        let backends = view[0].tracks[track].backends.iter();
        backends
            .map(|backend| {
                let slow_start = backend.slow_start.clone()?;
                Some((slow_start.share, slow_start.remaining_seconds))
            })
            .collect()
    };
    let share = |share: &str, left: u64| Some((share.to_owned(), left));
    assert_eq!(shown(&writer, 0), [None]);
    let more = slow.replace(
        "198.18.2.11, port: 80}",
        "198.18.2.11, port: 80}, {address: 198.18.2.12, port: 80}",
    );
    let amber = "    - {name: amber, weight: 0%, slowStart: {duration: 100s}, backends: [{address: 198.18.2.31, port: 80}]}\n";
    run(
        &mut writer,
        Command::Apply {
            yaml: format!("{more}{amber}"),
            origin: "test".into(),
        },
    );
    at(37);
    assert_eq!(shown(&writer, 0), [None, share("35", 63)]);
    assert_eq!(shown(&writer, 2), [share("100", 63)], "it is alone");
    let json = serde_json::to_value(writer.service_views(Some("web")).unwrap()).unwrap();
    let backends = &json[0]["tracks"][0]["backends"];
    assert_eq!(
        backends[1]["slowStart"],
        serde_json::json!({"share": "35", "remainingSeconds": 63})
    );
    assert!(backends[0].get("slowStart").is_none(), "{backends}");
    at(100);
    assert_eq!(shown(&writer, 0), [None, None]);
    assert_eq!(shown(&writer, 2), [None]);
}

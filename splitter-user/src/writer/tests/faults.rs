//! What goes wrong half-way, and what was found wrong before.

use super::*;

fn apply(writer: &mut Under, yaml: &str) -> Vec<Change> {
    run(
        writer,
        Command::Apply {
            yaml: yaml.into(),
            origin: "test".into(),
        },
    )
}

#[test]
fn a_flow_seen_after_the_scan_read_the_clock_lives() {
    let mut writer = web();
    let blue = writer.backends_of("web", &DrainTarget::Track("blue".into()))[0];
    writer.plane.tick.set(1001);
    pin(&writer, 4000, blue, State::Established);
    // The chunk's clock was read just before the tick in which the packet came.
    writer.plane.tick.set(1000);
    scans(&mut writer);
    assert_eq!(writer.scan.last.total, 1);
}

#[test]
fn a_backend_that_comes_during_a_scan_keeps_its_flows() {
    let mut writer = writer_over(
        Memory::new(Layout::new(16, 64, 40_000), &SECRET).unwrap(),
        Store::open_in_memory().unwrap(),
        false,
    );
    apply(&mut writer, YAML);
    scans(&mut writer);
    writer.scan_now();
    writer.housekeep(Instant::now()).unwrap(); // the first of four chunks
    let cycle = writer.scan_cycle();
    apply(
        &mut writer,
        &YAML.replace(
            "{address: 198.18.2.11, port: 80}",
            "{address: 198.18.2.11, port: 80}, {address: 198.18.2.12, port: 80}",
        ),
    );
    assert_eq!(writer.scan_cycle(), cycle, "the scan still runs");
    let key = flow_key_v4(7, WirePort::new(4000), 1);
    let place = flow_place(
        writer.plane.tables().keys.flow,
        key,
        u32::try_from(writer.plane.tables().flow_buckets() - 1).unwrap(),
    );
    let last = writer.plane.tables().flow_buckets() - 1;
    writer.plane.tables().put_flow(
        last,
        0,
        key,
        Value::new(3, State::Established as u8, place.tag, 0),
    );
    while writer.scan_cycle() == cycle {
        writer.housekeep(Instant::now()).unwrap();
    }
    assert_eq!(writer.scan.last.total, 1);
}

#[test]
fn a_backend_that_comes_back_gets_todays_next_hop() {
    use crate::nexthop::NextHop;
    let mut writer = web();
    let hops = |mac: u8| {
        let mut hops = NextHops::default();
        for address in ["198.18.2.11", "198.18.2.21"] {
            hops.hops.insert(
                address.parse().unwrap(),
                NextHop {
                    ifindex: 7,
                    source_mac: [9; 6],
                    destination_mac: [mac; 6],
                    mtu: 1500,
                    vlan: None,
                    gateway: None,
                    source: "198.18.2.1".parse().unwrap(),
                },
            );
        }
        hops
    };
    writer.set_hops(hops(1));
    let green = "{name: green, weight: 0%, backends: [{address: 198.18.2.21, port: 80}]}";
    apply(
        &mut writer,
        &YAML.replace(green, "{name: green, weight: 0%, backends: []}"),
    );
    for _ in 0..3 {
        scans(&mut writer);
    }
    writer.set_hops(hops(2));
    apply(&mut writer, YAML);
    let id = writer.backends_of("web", &DrainTarget::Track("green".into()))[0];
    let backend = writer.plane.tables().backend(id);
    assert_eq!(
        backend.hops[backend.current_hop as usize],
        splitter_ebpf::abi::Hop::new([2; 6], [9; 6], 7)
    );
}

#[test]
fn canaries_may_come_and_go_at_zero() {
    let mut writer = web();
    for round in 0..10 {
        let yaml = YAML
            .replace("name: green", &format!("name: v{round}"))
            .replace("198.18.2.21", &format!("198.18.2.10{round}"));
        let request = ChangeRequest::new(Command::Apply {
            yaml,
            origin: "test".into(),
        });
        writer
            .change(&request, ROOT)
            .unwrap_or_else(|e| panic!("round {round}: {e}"));
    }
}

#[test]
fn what_was_pinned_before_a_failed_change_keeps_its_number() {
    // killed right before the flip, after the track table was replaced
    let mut writer = web();
    let yaml = YAML.replace(
        "{name: blue, weight: 100%, backends: [{address: 198.18.2.11, port: 80}]}",
        "{name: blue, weight: 50%, backends: [{address: 198.18.2.11, port: 80}, {address: 198.18.2.12, port: 80}]}",
    ).replace("green, weight: 0%", "green, weight: 50%");
    let command = Command::Apply {
        yaml,
        origin: "test".into(),
    };
    let mut plan = crate::plan::plan(&writer.world, &command, None, now_ms()).unwrap();
    writer.cut_short(&mut plan, false);
    // a packet meets the track table that is there already
    let index = track_table_index(1, 0, Family::V4);
    let seen: BTreeSet<u16> = (0..65_537)
        .map(|e| writer.plane.tables().track_entry(index, e))
        .collect();
    assert!(seen.contains(&3), "visible before the flip");
    pin(&writer, 4000, 3, State::Established);
    let Writer { plane, store, .. } = writer;
    let mut writer = writer_over(plane, store, true);
    scans(&mut writer);
    assert_eq!(writer.scan.last.total, 1, "its flow lives");
    let Writer { plane, store, .. } = writer;
    let mut writer = writer_over(plane, store, true);
    scans(&mut writer);
    assert_eq!(
        writer.scan.last.total, 1,
        "and the next agent knows its number too"
    );
}

#[test]
fn a_track_that_empties_serves_until_the_flip() {
    let mut writer = web();
    let yaml = YAML
        .replace(
            "{name: blue, weight: 100%, backends: [{address: 198.18.2.11, port: 80}]}",
            "{name: blue, weight: 0%, backends: []}",
        )
        .replace("green, weight: 0%", "green, weight: 100%");
    let command = Command::Apply {
        yaml,
        origin: "test".into(),
    };
    let mut plan = crate::plan::plan(&writer.world, &command, None, now_ms()).unwrap();
    writer.cut_short(&mut plan, false);
    let index = track_table_index(1, 0, Family::V4);
    assert_ne!(
        writer.plane.tables().track_entry(index, 5),
        0,
        "the split in force still names blue"
    );
}

#[test]
fn smaller_limits_after_a_reboot_are_an_error_and_no_panic() {
    let list: Vec<String> = (1..=100)
        .map(|n| format!("{{address: 198.18.2.{n}, port: 81}}"))
        .collect();
    let mut w = writer_over(
        Memory::new(Layout::new(16, 200, 1000), &SECRET).unwrap(),
        Store::open_in_memory().unwrap(),
        false,
    );
    apply(
        &mut w,
        &YAML.replace("{address: 198.18.2.11, port: 80}", &list.join(", ")),
    );
    let Writer { store, .. } = w;
    let r = Writer::recover(
        Memory::new(Layout::new(16, 50, 1000), &SECRET).unwrap(),
        store,
        SECRET,
        false,
        Grace::start(|| Ok(())).unwrap(),
        watch::channel(BTreeSet::new()).0,
    );
    assert!(r.is_err());
}

#[test]
fn a_cutover_touches_nothing_that_grows_with_backends() {
    let mut writer = web();
    let plan = crate::plan::plan(&writer.world, &cutover("green"), None, now_ms()).unwrap();
    assert!(
        !plan.layout && !plan.numbers,
        "no table of backends changes"
    );
    let ids = record::changed_ids(&writer.world, &plan.next);
    assert!(ids.is_empty(), "no number is written down");
    // Replacing a track table waits for a grace period; a cutover has none on its way.
    let before = writer.plane.barriers.get();
    run(&mut writer, cutover("green"));
    assert_eq!(writer.plane.barriers.get(), before);
    assert_eq!(owner(&writer, 5), 1);
}

#[test]
fn delete_now_survives_a_restart() {
    let mut writer = web();
    let blue = writer.backends_of("web", &DrainTarget::Track("blue".into()))[0];
    pin(&writer, 4000, blue, State::Established);
    run(
        &mut writer,
        Command::Delete {
            service: "web".into(),
            now: true,
        },
    );
    let Writer { plane, store, .. } = writer;
    let mut writer = writer_over(plane, store, true);
    closing::work(&mut writer, 3);
    assert_eq!(closing::cut(&writer), 1);
    closing::pass(&writer, 31);
    scans(&mut writer);
    assert_eq!(writer.scan.last.total, 0);
}

#[test]
fn a_change_that_is_taken_back_leaves_listeners_with_their_owner() {
    let mut writer = web();
    // What flip_to does with a delete that fails after its listeners were bound.
    let command = Command::Delete {
        service: "web".into(),
        now: false,
    };
    let mut plan = crate::plan::plan(&writer.world, &command, None, now_ms()).unwrap();
    writer.cut_short(&mut plan, false);
    let error = writer.take_back_last(&plan, "memory");
    assert_eq!(error.code, crate::api::types::ErrorCode::RolledBack);
    run(&mut writer, cutover("green"));
    assert_eq!(owner(&writer, 5), 1);
}

#[test]
fn a_number_that_a_change_gave_out_which_was_taken_back_is_not_another_backends_at_once() {
    let mut writer = web();
    let with = |more: &str| Command::Apply {
        yaml: YAML.replace(
            "{address: 198.18.2.11, port: 80}",
            &format!("{{address: 198.18.2.11, port: 80}}, {{address: {more}, port: 80}}"),
        ),
        origin: "test".into(),
    };
    let new = |world: &crate::state::World| -> Vec<u16> {
        let ids = world.backend_ids.iter().map(|(id, _, _)| id);
        ids.filter(|id| *id > 2).collect()
    };
    let mut plan = crate::plan::plan(&writer.world, &with("198.18.2.12"), None, now_ms()).unwrap();
    let given = new(&plan.next);
    writer.cut_short(&mut plan, false);
    writer.take_back_last(&plan, "memory");
    // Packets may have met it in the track's table.
    assert_eq!(new(&writer.world), given);
    run(&mut writer, with("198.18.2.13"));
    let what = DrainTarget::Backend {
        address: "198.18.2.13".parse().unwrap(),
        port: 80,
    };
    let other = writer.backends_of("web", &what);
    assert!(other.len() == 1 && !given.contains(&other[0]), "{other:?}");
}

#[test]
fn a_number_that_a_killed_agent_gave_out_before_its_flip_is_on_its_way_out_after_the_restart() {
    let mut writer = web();
    let yaml = YAML.replace(
        "{address: 198.18.2.11, port: 80}",
        "{address: 198.18.2.11, port: 80}, {address: 198.18.2.12, port: 80}",
    );
    let command = Command::Apply {
        yaml,
        origin: "test".into(),
    };
    let mut plan = crate::plan::plan(&writer.world, &command, None, now_ms()).unwrap();
    writer.cut_short(&mut plan, false);
    let Writer { plane, store, .. } = writer;
    let writer = writer_over(plane, store, true);
    let given = plan.next.backend_ids.iter().map(|(id, _, _)| id);
    let given = given.max().unwrap();
    let state = writer.world.backend_ids.state_of(given);
    assert!(
        matches!(state, Some(crate::state::IdState::Deleting(_))),
        "{given}: {state:?}"
    );
}

#[test]
fn drains_that_began_in_the_future_get_their_time_once_more_at_a_restart() {
    use super::super::clock::FROZEN;
    const HOUR: u64 = 3_600_000;
    FROZEN.set(Some(100 * HOUR));
    let mut writer = web();
    let drains = ["green", "198.18.2.11:80"].map(|what| Command::Drain {
        service: "web".into(),
        what: what.parse().unwrap(),
        timeout: Some(Duration::from_secs(60)),
        on_timeout: None,
        spread: None,
    });
    for drain in drains {
        run(&mut writer, drain);
    }
    FROZEN.set(Some(HOUR));
    let Writer { plane, store, .. } = writer;
    let writer = writer_over(plane, store, true);
    let web = &writer.world.services["web"];
    let drains = web
        .drained_tracks
        .values()
        .chain(web.drained_backends.values());
    let times: Vec<_> = drains.map(|drain| (drain.since, drain.deadline)).collect();
    assert_eq!(times, [(HOUR, HOUR + 60_000); 2]);
}

#[test]
fn a_state_that_is_gone_does_not_end_the_traffic_that_runs() {
    let mut writer = web();
    run(&mut writer, cutover("green"));
    let Writer { plane, .. } = writer;
    let again = Writer::recover(
        plane,
        Store::open_in_memory().unwrap(),
        SECRET,
        true,
        Grace::start(|| Ok(())).unwrap(),
        watch::channel(BTreeSet::new()).0,
    );
    assert!(again.is_err() || again.unwrap().plane.tables().endpoints.iter().count() > 0);
}

#[test]
fn undo_of_a_release_keeps_its_salt() {
    let mut writer = web();
    apply(
        &mut writer,
        &YAML
            .replace("weight: 100%", "weight: 50%")
            .replace("weight: 0%", "weight: 50%"),
    );
    apply(
        &mut writer,
        &YAML
            .replace("weight: 100%", "weight: 50%")
            .replace("weight: 0%", "weight: 50%")
            .replace("spec:\n", "spec:\n  release: shop\n"),
    );
    run(
        &mut writer,
        Command::Undo {
            target: target(),
            to_generation: None,
            existing: crate::api::types::Existing::Keep,
        },
    );
    let salt = writer.world.services["web"].split.salt.clone();
    run(
        &mut writer,
        Command::SetWeight {
            target: target(),
            weights: vec![("green".to_owned(), "60%".to_owned())],
            ramp: None,
        },
    );
    assert_eq!(writer.world.services["web"].split.salt, salt);
}

#[test]
fn a_first_change_that_was_taken_back_does_not_keep_the_agent_from_starting() {
    let mut writer = writer_over(
        Memory::new(layout(), &SECRET).unwrap(),
        Store::open_in_memory().unwrap(),
        false,
    );
    let command = Command::Apply {
        yaml: YAML.into(),
        origin: "test".into(),
    };
    let mut plan = crate::plan::plan(&writer.world, &command, None, now_ms()).unwrap();
    writer.cut_short(&mut plan, false);
    writer.take_back_last(&plan, "memory");
    let Writer { plane, store, .. } = writer;
    let writer = writer_over(plane, store, true);
    assert!(writer.world.services.is_empty());
}

#[test]
fn a_change_without_effect_keeps_what_undo_goes_back_to_after_an_undo_too() {
    let mut writer = web();
    apply(
        &mut writer,
        &YAML.replace("spec:\n", "spec:\n  release: shop\n"),
    );
    run(
        &mut writer,
        Command::Undo {
            target: target(),
            to_generation: None,
            existing: crate::api::types::Existing::Keep,
        },
    );
    let anchor = writer.world.services["web"].anchors.clone();
    let weights = vec![("green".to_owned(), "0%".to_owned())];
    run(
        &mut writer,
        Command::SetWeight {
            target: target(),
            weights,
            ramp: None,
        },
    );
    assert_eq!(writer.world.services["web"].anchors, anchor);
}

#[test]
fn delete_now_of_one_service_leaves_the_flows_of_another_at_the_same_listener() {
    let mut writer = web();
    // The listener moves to another service, which is then deleted in peace.
    let yaml = format!(
        "{}\n---\n{}",
        YAML.replace("198.18.1.100", "198.18.1.200"),
        YAML.replace("name: web", "name: next")
            .replace("198.18.2.11", "198.18.2.31")
            .replace("198.18.2.21", "198.18.2.41")
    );
    apply(&mut writer, &yaml);
    let next = writer.backends_of("next", &DrainTarget::Track("blue".into()))[0];
    pin(&writer, 4000, next, State::Established);
    let delete = |service: &str, now| Command::Delete {
        service: service.into(),
        now,
    };
    run(&mut writer, delete("next", false));
    run(&mut writer, delete("web", true));
    for _ in 0..3 {
        scans(&mut writer);
    }
    assert_eq!(writer.scan.last.total, 1);
    let vip = writer
        .world
        .listener_ids
        .iter()
        .any(|(_, listener, _)| listener.vip.to_string() == "198.18.1.100");
    assert!(vip, "its flow still finds its listener");
}

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::*;
use crate::api::types::{Command, DrainState, Existing, Target};
use crate::dataplane::memory::Memory;
use crate::loader::Layout;
use splitter_ebpf::abi::{Binding, track_table_index};
use splitter_ebpf::endpoint::{FlowPlace, flow_key_v4, flow_place};
use splitter_ebpf::flow::{State, Value};
use splitter_ebpf::wire::{Family, WirePort};

const SECRET: [u8; 32] = [9; 32];
const ROOT: Actor = Actor {
    uid: 0,
    gid: 0,
    pid: None,
};
const YAML: &str = "
apiVersion: splitter/v1
kind: Service
metadata: {name: web}
spec:
  listeners: [{vip: 198.18.1.100, port: 80, protocol: tcp}]
  tracks:
    - {name: blue, weight: 100%, backends: [{address: 198.18.2.11, port: 80}]}
    - {name: green, weight: 0%, backends: [{address: 198.18.2.21, port: 80}]}
";

type Under = Writer<Memory>;

fn layout() -> Layout {
    Layout::new(16, 64, 1000)
}

fn writer_over(plane: Memory, store: Store, adopted: bool) -> Under {
    let grace = Grace::start(|| Ok(())).unwrap();
    Writer::recover(
        plane,
        store,
        SECRET,
        adopted,
        grace,
        watch::channel(BTreeSet::new()).0,
    )
    .unwrap()
}

fn web() -> Under {
    serving(YAML)
}

fn serving(yaml: &str) -> Under {
    let mut writer = writer_over(
        Memory::new(layout(), &SECRET).unwrap(),
        Store::open_in_memory().unwrap(),
        false,
    );
    run(
        &mut writer,
        Command::Apply {
            yaml: yaml.into(),
            origin: "test".into(),
        },
    );
    writer
}

fn run(writer: &mut Under, command: Command) -> Vec<Change> {
    writer.change(&ChangeRequest::new(command), ROOT).unwrap()
}

fn target() -> Target {
    Target::Service("web".into())
}

fn cutover(to: &str) -> Command {
    Command::Cutover {
        target: target(),
        to: to.into(),
        existing: Existing::Keep,
    }
}

/// Who owns a slot, as a packet would find it.
fn owner(writer: &Under, slot: usize) -> u8 {
    let tables = writer.plane.tables();
    let listener = tables.listener(1);
    let service = Binding(listener.binding).service(tables.selector());
    assert_ne!(service, 0, "the listener belongs to nobody");
    let table = tables.row(tables.selector().row()).table[usize::from(service)];
    tables.read_split(service, table).unwrap().1[slot]
}

/// Scans until two whole scans have begun and ended after the last flip's grace period.
fn scans(writer: &mut Under) {
    if let Some(flip) = writer.tidy_after {
        assert!(writer.grace.wait_for(flip));
    }
    let wanted = writer.scan_cycle() + 2;
    while writer.scan_cycle() < wanted {
        writer.scan_now();
        writer.housekeep(Instant::now()).unwrap();
    }
}

/// As long as fragments follow a first one without a pin.
fn half_a_minute(writer: &Under) {
    let tick = &writer.plane.tick;
    tick.set(tick.get() + 130);
}

fn pin(writer: &Under, port: u16, backend: u16, state: State) -> FlowPlace {
    pin_through(writer, 1, port, backend, state)
}

fn pin_through(writer: &Under, listener: u16, port: u16, backend: u16, state: State) -> FlowPlace {
    let tables = writer.plane.tables();
    let key = flow_key_v4(7, WirePort::new(port), listener);
    let mask = u32::try_from(tables.flow_buckets() - 1).unwrap();
    let place = flow_place(tables.keys.flow, key, mask);
    let value = Value::new(backend, state as u8, place.tag, writer.plane.tick.get());
    tables.put_flow(place.buckets[0] as usize, 0, key, value);
    place
}

#[test]
fn a_change_is_in_the_tables_when_it_is_answered() {
    let mut writer = web();
    assert_eq!(owner(&writer, 5), 0);
    let changes = run(&mut writer, cutover("green"));
    assert!(changes[0].flip_nanoseconds.is_some());
    assert!(
        (0..65_536)
            .step_by(997)
            .all(|slot| owner(&writer, slot) == 1)
    );
    run(
        &mut writer,
        Command::Undo {
            target: target(),
            to_generation: None,
            existing: Existing::Keep,
        },
    );
    assert!(
        (0..65_536)
            .step_by(997)
            .all(|slot| owner(&writer, slot) == 0)
    );
}

#[test]
fn a_dry_run_changes_nothing() {
    let mut writer = web();
    let before = writer.plane.tables().selector();
    let mut request = ChangeRequest::new(cutover("green"));
    request.dry_run = true;
    let changes = writer.change(&request, ROOT).unwrap();
    assert_eq!((changes[0].dry_run, changes[0].moved), (true, 65_536));
    assert_eq!(writer.plane.tables().selector(), before);
    assert_eq!(writer.store.load_services().unwrap()[0].generation, 1);
}

#[test]
fn a_table_in_use_is_never_written() {
    let mut writer = web();
    for round in 0..40 {
        let service = &writer.world.services["web"];
        let (current, anchor) = (service.split.table, service.anchor().map(|a| a.split.table));
        run(
            &mut writer,
            cutover(if round % 2 == 0 { "green" } else { "blue" }),
        );
        let next = writer.world.services["web"].split.table;
        assert!(
            next != current && Some(next) != anchor,
            "round {round}: {next} after {current} and {anchor:?}"
        );
    }
}

#[test]
fn a_restart_finds_the_same_slots_and_generation() {
    let mut writer = web();
    let weights = vec![("green".to_owned(), "25%".to_owned())];
    run(
        &mut writer,
        Command::SetWeight {
            target: target(),
            weights,
            ramp: None,
        },
    );
    let (digest, generation) = (
        writer.world.services["web"].digest(),
        writer.world.services["web"].generation,
    );
    let Writer { plane, store, .. } = writer;
    let adopted = writer_over(plane, store, true);
    assert_eq!(adopted.world.services["web"].digest(), digest);
    assert_eq!(adopted.world.services["web"].generation, generation);
    let Writer { store, .. } = adopted;
    let rebooted = writer_over(Memory::new(layout(), &SECRET).unwrap(), store, false);
    assert_eq!(rebooted.world.services["web"].digest(), digest);
    let table = rebooted.world.services["web"].split.table;
    let slots = rebooted.plane.tables().read_split(1, table).unwrap().1;
    assert_eq!(
        slots.as_slice(),
        rebooted.world.services["web"].split.slots.as_bytes()
    );
}

#[test]
fn undo_works_across_a_restart() {
    let mut writer = web();
    run(&mut writer, cutover("green"));
    let Writer { plane, store, .. } = writer;
    let mut writer = writer_over(plane, store, true);
    run(
        &mut writer,
        Command::Undo {
            target: target(),
            to_generation: None,
            existing: Existing::Keep,
        },
    );
    assert_eq!(owner(&writer, 77), 0);
}

/// The journal as an agent leaves it that was killed right before or right after its flip.
fn killed_around_the_flip(flipped: bool) -> Under {
    let mut writer = web();
    let mut plan = crate::plan::plan(&writer.world, &cutover("green"), None, now_ms()).unwrap();
    writer.cut_short(&mut plan, flipped);
    let Writer { plane, store, .. } = writer;
    writer_over(plane, store, true)
}

#[test]
fn killed_before_the_flip_the_change_never_was() {
    let writer = killed_around_the_flip(false);
    assert_eq!(owner(&writer, 5), 0);
    assert_eq!(writer.world.services["web"].generation, 1);
    assert!(writer.store.pending().unwrap().is_none());
}

#[test]
fn killed_after_the_flip_the_change_is_kept() {
    let writer = killed_around_the_flip(true);
    assert_eq!(owner(&writer, 5), 1);
    assert_eq!(writer.world.services["web"].generation, 2);
    assert!(writer.store.pending().unwrap().is_none());
}

#[test]
fn a_drain_is_proven_by_a_scan_and_not_before() {
    let mut writer = web();
    run(&mut writer, cutover("green"));
    let blue = writer.backends_of("web", &DrainTarget::Track("blue".into()))[0];
    let place = pin(&writer, 4000, blue, State::Established);
    let what = DrainTarget::Track("blue".into());
    run(
        &mut writer,
        Command::Drain {
            service: "web".into(),
            what: what.clone(),
            timeout: None,
            on_timeout: None,
            spread: None,
        },
    );
    assert!(
        !writer.drain_view("web", &what).unwrap().proven,
        "no scan has looked yet"
    );
    scans(&mut writer);
    let view = writer.drain_view("web", &what).unwrap();
    assert_eq!((view.state, view.pins), (DrainState::Draining, 1));
    writer
        .plane
        .tables()
        .put_flow(place.buckets[0] as usize, 0, 0, Value(0));
    scans(&mut writer);
    let view = writer.drain_view("web", &what).unwrap();
    assert_eq!(
        (view.state, view.pins, view.proven),
        (DrainState::Drained, 0, true)
    );
}

#[test]
fn flows_end_when_their_state_has_lasted_long_enough() {
    let mut writer = web();
    let blue = writer.backends_of("web", &DrainTarget::Track("blue".into()))[0];
    pin(&writer, 4000, blue, State::New);
    pin(&writer, 4001, blue, State::Established);
    scans(&mut writer);
    assert_eq!(writer.scan.last.total, 2);
    // 30 s unconfirmed are over, an hour of silence is not.
    writer.plane.tick.set(4 * 40);
    scans(&mut writer);
    assert_eq!(writer.scan.last.total, 1);
    writer.plane.tick.set(4 * 4000);
    scans(&mut writer);
    assert_eq!(writer.scan.last.total, 0);
}

#[test]
fn a_deleted_service_keeps_its_flows_and_its_numbers_until_they_have_ended() {
    let mut writer = web();
    let blue = writer.backends_of("web", &DrainTarget::Track("blue".into()))[0];
    let place = pin(&writer, 4000, blue, State::Established);
    run(
        &mut writer,
        Command::Delete {
            service: "web".into(),
            now: false,
        },
    );
    scans(&mut writer);
    assert_eq!(writer.scan.last.total, 1);
    let tables = writer.plane.tables();
    assert_eq!(
        Binding(tables.listener(1).binding).service(tables.selector()),
        0,
        "no new flows"
    );
    assert!(
        tables.endpoints.iter().count() >= 2,
        "its flow still finds its way in and out"
    );
    assert!(
        tables
            .endpoints
            .iter()
            .any(|endpoint| endpoint.kind == splitter_ebpf::abi::EndpointKind::Vip as u32),
        "and so do its fragments"
    );
    assert!(writer.world.backend_ids.state_of(blue).is_some());
    writer
        .plane
        .tables()
        .put_flow(place.buckets[0] as usize, 0, 0, Value(0));
    scans(&mut writer);
    assert!(
        writer.world.backend_ids.state_of(blue).is_some(),
        "fragments may still be sent to it"
    );
    half_a_minute(&writer);
    scans(&mut writer);
    assert_eq!(writer.plane.tables().endpoints.iter().count(), 0);
    assert_eq!(writer.world.backend_ids.iter().count(), 0);
    assert_eq!(writer.world.listener_ids.iter().count(), 0);
    assert!(
        writer.store.load_ids().unwrap().is_empty(),
        "and the journal knows"
    );
}

#[test]
fn delete_now_cuts_its_flows() {
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
    closing::work(&mut writer, 3);
    assert_eq!(closing::cut(&writer), 1);
    closing::pass(&writer, 31);
    for _ in 0..3 {
        scans(&mut writer);
    }
    assert_eq!(writer.scan.last.total, 0);
    assert_eq!(writer.plane.tables().endpoints.iter().count(), 0);
}

#[test]
fn a_drained_backend_leaves_its_tracks_table_and_comes_back() {
    let mut writer = web();
    let yaml = YAML.replace(
        "{address: 198.18.2.11, port: 80}",
        "{address: 198.18.2.11, port: 80}, {address: 198.18.2.12, port: 80}",
    );
    run(
        &mut writer,
        Command::Apply {
            yaml,
            origin: "test".into(),
        },
    );
    let entries = |writer: &Under| -> BTreeSet<u16> {
        let index = track_table_index(1, 0, Family::V4);
        (0..65_537)
            .map(|entry| writer.plane.tables().track_entry(index, entry))
            .collect()
    };
    assert_eq!(entries(&writer).len(), 2);
    let what = DrainTarget::Backend {
        address: "198.18.2.12".parse().unwrap(),
        port: 80,
    };
    let changes = run(
        &mut writer,
        Command::Drain {
            service: "web".into(),
            what: what.clone(),
            timeout: None,
            on_timeout: None,
            spread: None,
        },
    );
    assert_eq!(
        changes[0].flip_nanoseconds, None,
        "the split is not touched"
    );
    assert_eq!(entries(&writer).len(), 1);
    run(
        &mut writer,
        Command::Ready {
            service: "web".into(),
            what,
        },
    );
    assert_eq!(entries(&writer).len(), 2);
}

#[test]
fn a_backend_endpoint_that_two_services_share_answers_for_both() {
    let mut writer = web();
    let yaml = YAML
        .replace("name: web", "name: cart")
        .replace("198.18.1.100", "198.18.1.101");
    run(
        &mut writer,
        Command::Apply {
            yaml,
            origin: "test".into(),
        },
    );
    let endpoints = sync::endpoints(&writer.world);
    let shared = endpoints.values().filter(
        |meaning| matches!(meaning, sync::Meaning::Backend { pairs, .. } if pairs.len() == 2),
    );
    assert_eq!(shared.count(), 2);
    let ids: Vec<u16> = writer
        .world
        .backend_ids
        .iter()
        .map(|(id, _, _)| id)
        .collect();
    assert!(
        ids.iter()
            .all(|id| writer.plane.tables().backend(*id).flags
                == splitter_ebpf::abi::Backend::SHARED)
    );
}

#[test]
fn a_listener_moves_between_services_in_one_flip() {
    let mut writer = web();
    let other = YAML
        .replace("name: web", "name: next")
        .replace("198.18.2.11", "198.18.2.31")
        .replace("198.18.2.21", "198.18.2.41");
    let both = format!(
        "{}\n---\n{}",
        YAML.replace("198.18.1.100", "198.18.1.200"),
        other
    );
    let before = writer.plane.tables().selector();
    run(
        &mut writer,
        Command::Apply {
            yaml: both,
            origin: "test".into(),
        },
    );
    let tables = writer.plane.tables();
    let id = writer
        .world
        .listener_ids
        .iter()
        .find(|(_, l, _)| l.vip.to_string() == "198.18.1.100")
        .unwrap()
        .0;
    let binding = Binding(tables.listener(id).binding);
    let (web, next) = (
        writer.world.service_ids.get(&"web".to_owned()),
        writer.world.service_ids.get(&"next".to_owned()),
    );
    assert_eq!(Some(binding.service(before)), web);
    assert_eq!(Some(binding.service(tables.selector())), next);
    assert_eq!(tables.selector().sequence(), before.sequence() + 1);
}

#[test]
fn the_first_flows_of_a_change_outlive_a_scan_that_began_before_it() {
    let many = Layout::new(16, 64, 100_000);
    let mut writer = writer_over(
        Memory::new(many, &SECRET).unwrap(),
        Store::open_in_memory().unwrap(),
        false,
    );
    writer.scan_now();
    writer.housekeep(Instant::now()).unwrap();
    assert_eq!(
        writer.scan_cycle(),
        0,
        "the table should take several turns"
    );
    run(
        &mut writer,
        Command::Apply {
            yaml: YAML.into(),
            origin: "test".into(),
        },
    );
    for port in 1..=500 {
        pin(&writer, port, 1, State::Established);
    }
    while writer.scan_cycle() == 0 {
        writer.housekeep(Instant::now()).unwrap();
    }
    let mut left = 0;
    let tables = writer.plane.tables();
    tables.scan(0..tables.flow_buckets(), |_| left += 1);
    // Two that met in one bucket share its first lane.
    assert!(left > 480, "{left} of 500 flows are left");
}

mod anchors;
mod closing;
mod explained;
mod faults;
mod grace;
mod import;
mod modes;
mod observed;
mod policy;
mod previews;
mod ramps;
mod removed;
mod steps;

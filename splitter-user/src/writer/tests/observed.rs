//! What is said of what packets do: who takes new flows, who does not, and what no scan can see.

use splitter_ebpf::abi::BackendCounters;

use super::*;
use crate::api::types::{ConditionKind, DrainTarget};

fn blue() -> DrainTarget {
    DrainTarget::Track("blue".into())
}

fn drain(track: &str, timeout: Option<Duration>) -> Command {
    Command::Drain {
        service: "web".into(),
        what: DrainTarget::Track(track.into()),
        timeout,
        on_timeout: None,
        spread: None,
    }
}

fn ready(track: &str) -> Command {
    Command::Ready {
        service: "web".into(),
        what: DrainTarget::Track(track.into()),
    }
}

fn apply(writer: &mut Under, yaml: String) {
    run(
        writer,
        Command::Apply {
            yaml,
            origin: "test".into(),
        },
    );
}

fn said(writer: &Under, kind: ConditionKind) -> Option<String> {
    let conditions = writer.status().conditions;
    let found = conditions.into_iter().find(|one| one.kind == kind);
    found.map(|one| one.message)
}

/// Whether a track's table holds a backend for new IPv4 flows.
fn takes(writer: &Under, track: u8) -> bool {
    let index = track_table_index(1, track, Family::V4);
    let tables = writer.plane.tables();
    tables.track_entry(index, 0) != 0
}

#[test]
fn a_drain_counts_what_went_unpinned_in_the_minute_before_it() {
    let mut writer = web();
    let unpinned = |writer: &mut Under, unpinned| {
        let counters = BackendCounters {
            unpinned,
            ..BackendCounters::default()
        };
        writer.plane.counters.insert(1, counters);
        writer.observe_second(Instant::now()).unwrap();
    };
    unpinned(&mut writer, 5);
    for _ in 0..super::observe::WINDOW {
        unpinned(&mut writer, 7);
    }
    unpinned(&mut writer, 10);
    run(&mut writer, drain("blue", None));
    let never = |writer: &Under| writer.drain_view("web", &blue()).unwrap().never_pinned;
    assert_eq!(never(&writer), 3, "5 and 7 are more than a minute old");
    unpinned(&mut writer, 12);
    assert_eq!(never(&writer), 5, "and what comes later");
    assert_eq!(writer.plane.counters(1).unwrap().unpinned, 12);
}

#[test]
fn a_deadline_that_is_over_says_nothing_before_a_scan_has_counted() {
    let mut writer = web();
    run(&mut writer, drain("blue", Some(Duration::ZERO)));
    let state = |writer: &Under| writer.drain_view("web", &blue()).unwrap().state;
    assert_eq!(state(&writer), DrainState::Draining);
    scans(&mut writer);
    assert_eq!(state(&writer), DrainState::Drained);
}

#[test]
fn a_deadline_that_was_over_at_a_start_says_nothing_before_a_scan_has_counted() {
    let mut writer = web();
    pin(&writer, 4000, 1, State::Established);
    run(&mut writer, drain("blue", Some(Duration::ZERO)));
    let Writer { plane, store, .. } = writer;
    let mut writer = writer_over(plane, store, true);
    let view = |writer: &Under| writer.drain_view("web", &blue()).unwrap();
    assert_eq!(view(&writer).state, DrainState::Draining);
    scans(&mut writer);
    let now = view(&writer);
    assert_eq!((now.state, now.pins), (DrainState::TimedOut, 1));
}

#[test]
fn a_scan_proves_nothing_before_tables_were_tidied_up_after_the_flip() {
    let mut writer = web();
    run(&mut writer, cutover("green"));
    let flip = writer.tidy_after.unwrap();
    assert!(writer.grace.wait_for(flip));
    writer.begin_scan(Instant::now());
    assert_eq!(writer.scan_grace(), Some(flip - 1));
    writer.tidy_up().unwrap();
    writer.begin_scan(Instant::now());
    assert_eq!(writer.scan_grace(), Some(flip));
}

#[test]
fn a_track_that_is_out_gets_no_new_flow_on_the_way_to_a_flip() {
    let mut writer = web();
    run(&mut writer, drain("blue", None));
    scans(&mut writer);
    assert!(!takes(&writer, 0), "it keeps its slots, and has nobody");
    let mut plan = crate::plan::plan(&writer.world, &cutover("green"), None, now_ms()).unwrap();
    writer.cut_short(&mut plan, false);
    assert!(!takes(&writer, 0) && takes(&writer, 1));
    assert_eq!(owner(&writer, 5), 0, "the flip has not come");
}

#[test]
fn a_track_that_comes_back_has_its_backends_when_the_flip_comes() {
    let mut writer = web();
    run(&mut writer, cutover("green"));
    run(&mut writer, drain("blue", None));
    scans(&mut writer);
    assert!(!takes(&writer, 0));
    run(&mut writer, ready("blue"));
    assert!(takes(&writer, 0));
    run(&mut writer, cutover("blue"));
    assert!(takes(&writer, 0));
}

#[test]
fn with_every_track_out_the_status_says_that_nobody_serves_and_what_clients_get() {
    let mut writer = web();
    apply(
        &mut writer,
        YAML.replace("spec:\n", "spec:\n  noBackend: reset\n"),
    );
    run(&mut writer, drain("blue", None));
    let message = said(&writer, ConditionKind::NoBackend).expect("nobody serves");
    for word in [
        "track blue of web",
        "IPv4",
        "are reset",
        "splitterctl ready web",
    ] {
        assert!(message.contains(word), "{word}: {message}");
    }
    run(&mut writer, ready("blue"));
    assert_eq!(said(&writer, ConditionKind::NoBackend), None);
}

#[test]
fn with_every_weighted_track_out_the_status_names_the_fallback() {
    let mut writer = web();
    apply(
        &mut writer,
        YAML.replace("spec:\n", "spec:\n  fallback: green\n"),
    );
    run(&mut writer, drain("blue", None));
    assert_eq!(said(&writer, ConditionKind::NoBackend), None);
    let message = said(&writer, ConditionKind::FallbackTaken).expect("green takes them");
    assert!(message.contains("fallback green"), "{message}");
}

#[test]
fn a_route_of_one_family_wants_backends_of_that_family_alone() {
    let mut writer = web();
    let both = "listeners: [{vip: 198.18.1.100, port: 80, protocol: tcp}, {vip: \"2001:db8:1::100\", port: 80, protocol: tcp}]\n  \
                routes: [{match: {source: [198.18.9.0/24]}, track: green}]";
    let yaml = YAML
        .replace(
            "listeners: [{vip: 198.18.1.100, port: 80, protocol: tcp}]",
            both,
        )
        .replace(
            "[{address: 198.18.2.11, port: 80}]",
            "[{address: 198.18.2.11, port: 80}, {address: \"2001:db8:2::11\", port: 80}]",
        );
    apply(&mut writer, yaml);
    assert_eq!(said(&writer, ConditionKind::NoBackend), None);
    let out = DrainTarget::Backend {
        address: "198.18.2.21".parse().unwrap(),
        port: 80,
    };
    run(
        &mut writer,
        Command::Drain {
            service: "web".into(),
            what: out,
            timeout: None,
            on_timeout: None,
            spread: None,
        },
    );
    let message = said(&writer, ConditionKind::NoBackend).expect("the route leads to nobody");
    assert!(
        message.contains("track green of web") && !message.contains("IPv6"),
        "{message}"
    );
}

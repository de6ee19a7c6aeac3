//! What becomes of the flows of what was removed: left alone until the deadline, and told then.

use super::closing::{cut, flows, noted, pass, work};
use super::*;
use crate::prod::Segment;
use crate::state::IdState;
use crate::writer::clock;

const NOW: u64 = 1_700_000_000_000;
const BLUE: &str = "198.18.2.11:80";

/// Sets the clock that deadlines are kept in, which stands still from then on.
fn at(seconds: u64) {
    clock::FROZEN.set(Some(NOW + seconds * 1_000));
}

fn with_drain(drain: &str) -> String {
    YAML.replace("  tracks:", &format!("  drain: {drain}\n  tracks:"))
}

/// The same without the track blue.
fn without_blue(yaml: &str) -> String {
    let kept = yaml.lines().filter(|line| !line.contains("name: blue"));
    let kept: Vec<&str> = kept.collect();
    kept.join("\n").replace("weight: 0%", "weight: 100%")
}

fn apply(writer: &mut Under, yaml: &str) {
    run(
        writer,
        Command::Apply {
            yaml: yaml.into(),
            origin: "test".into(),
        },
    );
}

/// `web` with another drain policy, at second 0.
fn served(drain: &str) -> Under {
    at(0);
    let mut writer = web();
    apply(&mut writer, &with_drain(drain));
    writer
}

fn delete(writer: &mut Under, now: bool) {
    let service = "web".into();
    run(writer, Command::Delete { service, now });
}

fn restarted(writer: Under) -> Under {
    let Writer { plane, store, .. } = writer;
    writer_over(plane, store, true)
}

/// Ends the closing time of what was cut, and the time in which fragments follow.
fn settle(writer: &mut Under) {
    pass(writer, 31);
    for _ in 0..3 {
        scans(writer);
        half_a_minute(writer);
    }
}

#[test]
fn at_its_deadline_the_flows_of_a_removed_track_are_cut_and_both_ends_prodded() {
    let mut writer = served("{timeout: 1m}");
    let sent = noted(&mut writer);
    pin(&writer, 40_000, 1, State::Established);
    pin(&writer, 40_001, 2, State::Established);
    apply(&mut writer, &without_blue(&with_drain("{timeout: 1m}")));
    at(59);
    work(&mut writer, 3);
    assert_eq!(cut(&writer), 0, "before the deadline");
    at(60);
    work(&mut writer, 3);
    assert_eq!(cut(&writer), 1, "blue's flow alone");
    let client = "7.0.0.0:40000".parse().unwrap();
    let mut ends = sent.lock().unwrap().clone();
    ends.sort_unstable();
    ends.dedup();
    let listener = "198.18.1.100:80".parse().unwrap();
    assert_eq!(
        ends,
        [
            (Segment::Syn, client, BLUE.parse().unwrap()),
            (Segment::Syn, listener, client)
        ]
    );
    let state = writer.world.backend_ids.state_of(1);
    assert!(
        matches!(state, Some(IdState::Deleting(_))),
        "what answers in its name stays: {state:?}"
    );
    settle(&mut writer);
    assert_eq!(writer.world.backend_ids.state_of(1), None);
    assert_eq!(flows(&writer).len(), 1);
}

#[test]
fn a_deleted_service_answers_through_its_listener_until_the_last_flow_that_is_told_is_gone() {
    for now in [false, true] {
        let mut writer = served("{timeout: 1m}");
        pin(&writer, 40_000, 1, State::Established);
        delete(&mut writer, now);
        work(&mut writer, 3);
        assert_eq!(cut(&writer), usize::from(now));
        at(61);
        work(&mut writer, 3);
        assert_eq!(cut(&writer), 1);
        assert!(writer.world.is_former("web"));
        let kinds: Vec<u32> = writer
            .plane
            .tables()
            .endpoints
            .iter()
            .map(|endpoint| endpoint.kind)
            .collect();
        for kind in [
            splitter_ebpf::abi::EndpointKind::Listener,
            splitter_ebpf::abi::EndpointKind::Backend,
        ] {
            assert!(kinds.contains(&(kind as u32)), "{kinds:?}");
        }
        settle(&mut writer);
        assert!(flows(&writer).is_empty());
        assert_eq!(writer.world.listener_ids.iter().count(), 0);
        assert_eq!(writer.plane.tables().endpoints.iter().count(), 0);
        assert!(writer.store.load_ids().unwrap().is_empty());
    }
}

#[test]
fn they_are_closed_over_the_spread_that_the_service_had_when_it_was_removed_across_a_restart() {
    let mut writer = served("{timeout: 1m, closeSpread: 100s}");
    for port in 40_000..40_200 {
        pin(&writer, port, 1, State::Established);
    }
    let all = flows(&writer).len();
    apply(&mut writer, &without_blue(&with_drain("{timeout: 1h}")));
    let mut writer = restarted(writer);
    at(61);
    work(&mut writer, 3);
    assert!(cut(&writer) < all / 10, "{} of {all}", cut(&writer));
    at(110);
    work(&mut writer, 20);
    let half = cut(&writer);
    assert!((all / 3..all * 2 / 3).contains(&half), "{half} of {all}");
    // What is left takes the whole spread once more.
    let mut writer = restarted(writer);
    at(160);
    work(&mut writer, 20);
    assert!(
        (half..all).contains(&cut(&writer)),
        "{} of {all}",
        cut(&writer)
    );
    at(210);
    work(&mut writer, 20);
    assert_eq!(cut(&writer), all);
}

#[test]
fn a_deadline_that_passes_while_the_agent_is_away_acts_at_the_next_start() {
    let mut writer = served("{timeout: 1m}");
    pin(&writer, 40_000, 1, State::Established);
    delete(&mut writer, false);
    at(3_600);
    let mut writer = restarted(writer);
    work(&mut writer, 3);
    assert_eq!(cut(&writer), 1);
}

#[test]
fn after_a_clock_was_set_back_across_a_restart_they_get_their_time_once_more_at_most() {
    let mut writer = served("{timeout: 1m}");
    at(7_200);
    pin(&writer, 40_000, 1, State::Established);
    delete(&mut writer, false);
    at(3_600);
    let mut writer = restarted(writer);
    at(3_659);
    work(&mut writer, 3);
    assert_eq!(cut(&writer), 0);
    // Written down: another restart does not begin anew.
    let mut writer = restarted(writer);
    at(3_660);
    work(&mut writer, 3);
    assert_eq!(cut(&writer), 1);
}

#[test]
fn with_resteer_their_pins_are_freed_and_nobody_is_told_unless_they_are_cut_now() {
    for now in [false, true] {
        let mut writer = served("{timeout: 1m, onTimeout: resteer}");
        let sent = noted(&mut writer);
        pin(&writer, 40_000, 1, State::Established);
        delete(&mut writer, now);
        at(60);
        work(&mut writer, 3);
        assert_eq!(flows(&writer).len(), usize::from(now));
        assert_eq!(cut(&writer), usize::from(now));
        assert_eq!(sent.lock().unwrap().is_empty(), !now);
    }
}

#[test]
fn a_deleted_service_may_be_cut_later_and_no_second_time_puts_that_off() {
    let mut writer = served("{timeout: 1h, closeSpread: 100s}");
    pin(&writer, 40_000, 1, State::Established);
    delete(&mut writer, false);
    at(10);
    delete(&mut writer, true);
    at(109);
    delete(&mut writer, true);
    at(110);
    work(&mut writer, 3);
    assert_eq!(cut(&writer), 1);
}

#[test]
fn flows_of_a_removed_listener_are_told_too_and_those_of_others_live() {
    let other = "{vip: 198.18.1.101, port: 80, protocol: tcp}";
    let both =
        with_drain("{timeout: 1m}").replace("listeners: [", &format!("listeners: [{other}, "));
    let mut writer = served("{timeout: 1m}");
    apply(&mut writer, &both);
    pin(&writer, 40_000, 1, State::Established);
    pin_through(&writer, 2, 40_000, 1, State::Established);
    let left = both.replace(", {vip: 198.18.1.100, port: 80, protocol: tcp}", "");
    apply(&mut writer, &left);
    at(59);
    work(&mut writer, 3);
    assert_eq!(cut(&writer), 0);
    at(60);
    work(&mut writer, 3);
    let cut: Vec<u64> = flows(&writer)
        .iter()
        .filter(|flow| flow.value.is_cut())
        .map(|flow| flow.key & 0xffff)
        .collect();
    assert_eq!(cut, [1], "the flow of listener 1 alone");
    assert!(writer.world.listener_ids.state_of(1).is_some());
    settle(&mut writer);
    assert_eq!(writer.world.listener_ids.state_of(1), None);
    assert_eq!(flows(&writer).len(), 1);
}

#[test]
fn where_backends_answer_by_themselves_the_client_alone_is_prodded_and_of_udp_nobody() {
    for (mode, protocol, prodded) in [("dsr-l2", "tcp", 1), ("dnat", "udp", 0)] {
        let yaml = with_drain("{timeout: 1m}")
            .replace("  tracks:", &format!("  mode: {mode}\n  tracks:"))
            .replace("protocol: tcp", &format!("protocol: {protocol}"));
        at(0);
        let mut writer = web();
        delete(&mut writer, true);
        settle(&mut writer);
        let sent = noted(&mut writer);
        apply(&mut writer, &yaml);
        pin(&writer, 40_000, 1, State::Established);
        delete(&mut writer, false);
        at(60);
        work(&mut writer, 3);
        assert_eq!(cut(&writer), 1, "{mode} {protocol}");
        let mut ends = sent.lock().unwrap().clone();
        ends.dedup();
        assert_eq!(ends.len(), prodded, "{mode} {protocol}: {ends:?}");
    }
}

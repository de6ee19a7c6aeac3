//! Flows that are closed: when, which, and how their ends are told.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::*;
use crate::api::types::{DrainTarget, FlowFilter, FlowState, LifeState};
use crate::dataplane::FlowSlot;
use crate::model::OnTimeout;
use crate::prod::{Prod, Segment};
use crate::writer::clock;
use splitter_ebpf::abi::BUCKET_FLOWS;

/// What was sent, from whom and to whom.
pub(super) type Sent = Arc<Mutex<Vec<(Segment, SocketAddr, SocketAddr)>>>;

struct Noted(Sent);

impl Prod for Noted {
    fn prod(&mut self, segment: Segment, from: SocketAddr, to: SocketAddr) -> io::Result<()> {
        self.0.lock().unwrap().push((segment, from, to));
        Ok(())
    }
}

pub(super) fn noted(writer: &mut Under) -> Sent {
    let sent = Sent::default();
    writer.prod_with(Box::new(Noted(Arc::clone(&sent))));
    sent
}

fn blue() -> DrainTarget {
    DrainTarget::Track("blue".into())
}

fn drain_blue(timeout: Duration, on_timeout: OnTimeout, spread: Duration) -> Command {
    Command::Drain {
        service: "web".into(),
        what: blue(),
        timeout: Some(timeout),
        on_timeout: Some(on_timeout),
        spread: Some(spread),
    }
}

const AT_ONCE: Duration = Duration::ZERO;
const NEVER: Duration = Duration::from_secs(3_600);

/// Scans, and works off what that found as the writer does, for `turns` turns.
pub(super) fn work(writer: &mut Under, turns: u32) {
    scans(writer);
    for turn in 1..=turns {
        let now = Instant::now() + Duration::from_millis(20) * turn;
        writer.close_due(now).unwrap();
    }
}

pub(super) fn flows(writer: &Under) -> Vec<FlowSlot> {
    let tables = writer.plane.tables();
    let mut flows = Vec::new();
    tables.scan(0..tables.flow_buckets(), |flow| flows.push(flow));
    flows
}

pub(super) fn cut(writer: &Under) -> usize {
    let flows = flows(writer);
    flows.iter().filter(|flow| flow.value.is_cut()).count()
}

fn view(writer: &Under) -> DrainView {
    writer.drain_view("web", &blue()).unwrap()
}

/// Lets the packets' clock go on by seconds.
pub(super) fn pass(writer: &Under, seconds: u32) {
    let tick = &writer.plane.tick;
    tick.set(tick.get() + seconds * 1_000 / 256 + 1);
}

#[test]
fn at_the_deadline_flows_are_cut_their_ends_prodded_and_the_drain_proven_when_they_are_gone() {
    let mut writer = web();
    let sent = noted(&mut writer);
    pin(&writer, 40_000, 1, State::Established);
    pin(&writer, 40_001, 2, State::Established);
    run(&mut writer, drain_blue(AT_ONCE, OnTimeout::Reset, AT_ONCE));
    work(&mut writer, 3);
    assert_eq!(cut(&writer), 1, "blue's flow alone");
    let client = "7.0.0.0:40000".parse().unwrap();
    let mut ends = sent.lock().unwrap().clone();
    ends.sort_unstable();
    ends.dedup();
    assert_eq!(
        ends,
        [
            (Segment::Syn, client, "198.18.2.11:80".parse().unwrap()),
            (Segment::Syn, "198.18.1.100:80".parse().unwrap(), client),
        ]
    );
    scans(&mut writer);
    let now = view(&writer);
    assert_eq!(
        (now.state, now.pins, now.resetting, now.proven),
        (DrainState::Closing, 1, 1, false)
    );
    pass(&writer, 31);
    scans(&mut writer);
    scans(&mut writer);
    let then = view(&writer);
    assert_eq!(
        (then.state, then.pins, then.proven),
        (DrainState::Drained, 0, true)
    );
    assert_eq!(flows(&writer).len(), 1);
}

#[test]
fn with_keep_flows_outlive_the_deadline() {
    let mut writer = web();
    let sent = noted(&mut writer);
    pin(&writer, 40_000, 1, State::Established);
    run(&mut writer, drain_blue(AT_ONCE, OnTimeout::Keep, AT_ONCE));
    work(&mut writer, 3);
    assert_eq!(cut(&writer), 0);
    assert_eq!(view(&writer).state, DrainState::TimedOut);
    assert!(sent.lock().unwrap().is_empty());
}

#[test]
fn before_the_deadline_nothing_is_closed() {
    let mut writer = web();
    pin(&writer, 40_000, 1, State::Established);
    run(&mut writer, drain_blue(NEVER, OnTimeout::Reset, AT_ONCE));
    work(&mut writer, 3);
    assert_eq!(cut(&writer), 0);
    let view = view(&writer);
    assert_eq!((view.state, view.resetting), (DrainState::Draining, 0));
    assert_eq!(view.on_timeout, OnTimeout::Reset);
}

#[test]
fn resteer_frees_the_pins_and_tells_nobody() {
    let mut writer = web();
    let sent = noted(&mut writer);
    pin(&writer, 40_000, 1, State::Established);
    pin(&writer, 40_001, 1, State::UdpEstablished);
    pin(&writer, 40_002, 2, State::Established);
    run(
        &mut writer,
        drain_blue(AT_ONCE, OnTimeout::Resteer, AT_ONCE),
    );
    work(&mut writer, 3);
    let left = flows(&writer);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].value.backend(), 2);
    assert!(sent.lock().unwrap().is_empty());
    scans(&mut writer);
    assert_eq!(view(&writer).state, DrainState::Drained);
}

#[test]
fn whoever_is_ready_again_is_not_closed_any_more() {
    const NOW: u64 = 1_700_000_000_000;
    clock::FROZEN.set(Some(NOW));
    let mut writer = web();
    for port in 40_000..40_064 {
        pin(&writer, port, 1, State::Established);
    }
    run(
        &mut writer,
        drain_blue(AT_ONCE, OnTimeout::Reset, Duration::from_secs(2)),
    );
    scans(&mut writer);
    run(
        &mut writer,
        Command::Ready {
            service: "web".into(),
            what: blue(),
        },
    );
    // All of them were queued, for the next two seconds.
    clock::FROZEN.set(Some(NOW + 2_100));
    for turn in 1..4 {
        let now = Instant::now() + Duration::from_millis(20) * turn;
        writer.close_due(now).unwrap();
    }
    assert_eq!(cut(&writer), 0);
}

/// Cuts a flow, lets the program have come to `state` with it, and says what it is prodded with from then on.
fn prodded_in(mode: &str, state: State) -> Vec<(Segment, SocketAddr)> {
    let yaml = YAML.replace("  tracks:", &format!("  mode: {mode}\n  tracks:"));
    let mut writer = serving(&yaml);
    let sent = noted(&mut writer);
    let place = pin(&writer, 40_000, 1, State::Established);
    run(&mut writer, drain_blue(AT_ONCE, OnTimeout::Reset, AT_ONCE));
    work(&mut writer, 3);
    let flow = flows(&writer)[0];
    let tables = writer.plane.tables();
    let told = flow.value.with_state(state as u8);
    tables.put_flow(place.buckets[0] as usize, 0, flow.key, told);
    sent.lock().unwrap().clear();
    work(&mut writer, 3);
    let mut met: Vec<(Segment, SocketAddr)> = sent
        .lock()
        .unwrap()
        .iter()
        .map(|(segment, _, to)| (*segment, *to))
        .collect();
    met.sort_unstable();
    met.dedup();
    pass(&writer, 6);
    sent.lock().unwrap().clear();
    work(&mut writer, 3);
    assert!(
        sent.lock().unwrap().is_empty(),
        "six seconds after it was cut"
    );
    assert_eq!(cut(&writer), 1, "and still answered");
    met
}

#[test]
fn an_end_that_was_told_is_prodded_by_what_opens_nothing_and_none_for_ever() {
    use Segment::{Ack, Syn};
    let client = "7.0.0.0:40000".parse().unwrap();
    let backend = "198.18.2.11:80".parse().unwrap();
    let met = |state| prodded_in("dnat", state);
    assert_eq!(met(State::Cut), [(Syn, client), (Syn, backend)]);
    assert_eq!(met(State::CutFirst), [(Syn, backend), (Ack, client)]);
    assert_eq!(met(State::CutSecond), [(Syn, client), (Ack, backend)]);
    assert_eq!(met(State::CutTold), [(Ack, client), (Ack, backend)]);
    // The backend is told by what its client says.
    let met = |state| prodded_in("dsr-l2", state);
    assert_eq!(met(State::CutFirst), [(Syn, client)]);
    assert_eq!(met(State::CutSecond), [(Syn, client)]);
    assert_eq!(met(State::CutTold), [(Ack, client)]);
}

#[test]
fn who_was_told_waits_for_those_that_were_not() {
    let mut writer = web();
    let sent = noted(&mut writer);
    for port in 40_000..40_016 {
        pin(&writer, port, 1, State::Established);
    }
    run(&mut writer, drain_blue(AT_ONCE, OnTimeout::Reset, AT_ONCE));
    work(&mut writer, 3);
    let tables = writer.plane.tables();
    tables.scan(0..tables.flow_buckets(), |flow| {
        if (flow.key >> 24) & 1 == 0 {
            let told = flow.value.with_state(State::CutTold as u8);
            let (bucket, lane) = (flow.slot / BUCKET_FLOWS, flow.slot % BUCKET_FLOWS);
            tables.put_flow(bucket, lane, flow.key, told);
        }
    });
    sent.lock().unwrap().clear();
    work(&mut writer, 3);
    let sent = sent.lock().unwrap();
    let first = sent
        .iter()
        .position(|(segment, ..)| *segment == Segment::Ack);
    let last = sent
        .iter()
        .rposition(|(segment, ..)| *segment == Segment::Syn);
    assert!(last < first, "{sent:?}");
}

#[test]
fn undo_with_reset_closes_what_is_pinned_to_the_track_that_is_left_across_a_restart() {
    let mut writer = web();
    run(&mut writer, cutover("green"));
    pin(&writer, 40_000, 1, State::Established);
    pin(&writer, 40_001, 2, State::Established);
    run(
        &mut writer,
        Command::Undo {
            target: target(),
            existing: Existing::Reset,
            to_generation: None,
        },
    );
    let Writer { plane, store, .. } = writer;
    let mut writer = writer_over(plane, store, true);
    work(&mut writer, 3);
    let cut: Vec<u16> = flows(&writer)
        .iter()
        .filter(|flow| flow.value.is_cut())
        .map(|flow| flow.value.backend())
        .collect();
    assert_eq!(cut, [2], "green's alone");
    let filter = FlowFilter {
        limit: 10,
        ..FlowFilter::default()
    };
    let states: Vec<FlowState> = writer
        .flow_list(&filter)
        .unwrap()
        .items
        .iter()
        .map(|flow| flow.state)
        .collect();
    assert!(states.contains(&FlowState::Reset) && states.contains(&FlowState::Established));
}

#[test]
fn maint_and_quarantine_survive_a_restart_and_are_shown_by_name() {
    let mut writer = web();
    pin(&writer, 40_000, 1, State::Established);
    pin(&writer, 40_001, 2, State::Established);
    run(
        &mut writer,
        Command::Maint {
            service: "web".into(),
            what: DrainTarget::Backend {
                address: "198.18.2.21".parse().unwrap(),
                port: 80,
            },
        },
    );
    run(
        &mut writer,
        Command::Quarantine {
            service: "web".into(),
            what: blue(),
            spread: Some(AT_ONCE),
        },
    );
    let Writer { plane, store, .. } = writer;
    let mut writer = writer_over(plane, store, true);
    work(&mut writer, 3);
    let view = &writer.service_views(Some("web")).unwrap()[0];
    assert_eq!(view.tracks[0].state, LifeState::Quarantined);
    assert_eq!(view.tracks[1].backends[0].state, LifeState::Maint);
    let cut: Vec<u16> = flows(&writer)
        .iter()
        .filter(|flow| flow.value.is_cut())
        .map(|flow| flow.value.backend())
        .collect();
    assert_eq!(cut, [1]);
}

#[test]
fn the_last_track_drains_by_an_empty_table_and_comes_back() {
    let mut writer = web();
    let entry = |writer: &Under| {
        let index = track_table_index(1, 0, Family::V4);
        writer.plane.tables().track_entry(index, 7)
    };
    pin(&writer, 40_000, 1, State::Established);
    assert_eq!(entry(&writer), 1);
    run(&mut writer, drain_blue(NEVER, OnTimeout::Keep, AT_ONCE));
    // Green has no weight: nobody else is left.
    assert_eq!((owner(&writer, 5), entry(&writer)), (0, 0));
    scans(&mut writer);
    assert_eq!(view(&writer).pins, 1, "its flow lives");
    run(
        &mut writer,
        Command::Ready {
            service: "web".into(),
            what: blue(),
        },
    );
    assert_eq!((owner(&writer, 5), entry(&writer)), (0, 1));
}

#[test]
fn what_is_out_is_a_condition_for_resources_cannot_say_it() {
    let mut writer = web();
    let conditions = |writer: &Under| {
        writer.service_views(Some("web")).unwrap()[0]
            .conditions
            .clone()
    };
    assert!(conditions(&writer).is_empty());
    run(
        &mut writer,
        Command::Maint {
            service: "web".into(),
            what: blue(),
        },
    );
    let found = conditions(&writer);
    assert!(
        found
            .iter()
            .any(|found| found.message.starts_with("track blue is maint: ")),
        "{found:?}"
    );
}

#[test]
fn what_was_closed_is_counted() {
    let mut writer = web();
    noted(&mut writer);
    pin(&writer, 40_000, 1, State::Established);
    run(
        &mut writer,
        Command::Quarantine {
            service: "web".into(),
            what: blue(),
            spread: None,
        },
    );
    work(&mut writer, 3);
    let closes = writer.figures().unwrap().closes;
    assert_eq!((closes.reset, closes.resteered), (1, 0));
    assert!(closes.prods >= 2 && closes.prods_failed == 0, "{closes:?}");
}

#[test]
fn what_an_agent_that_was_away_has_missed_is_spread_and_not_made_up_for_at_once() {
    const NOW: u64 = 1_700_000_000_000;
    let at = |ms: u64| clock::FROZEN.set(Some(NOW + ms));
    at(0);
    let mut writer = web();
    for port in 40_000..40_100 {
        pin(&writer, port, 1, State::Established);
    }
    let (spread, all) = (Duration::from_secs(60), flows(&writer).len());
    run(&mut writer, drain_blue(AT_ONCE, OnTimeout::Reset, spread));
    let Writer { plane, store, .. } = writer;
    at(45_000);
    let mut writer = writer_over(plane, store, true);
    work(&mut writer, 3);
    assert!(cut(&writer) < all / 10, "{} of {all} at once", cut(&writer));
    at(75_000);
    work(&mut writer, 3);
    let half = cut(&writer);
    assert!((all / 4..all * 3 / 4).contains(&half), "{half} of {all}");
    at(105_000);
    work(&mut writer, 3);
    assert_eq!(cut(&writer), all);
}

#[test]
fn a_track_that_was_left_is_closed_after_a_restart_with_a_clock_that_was_set_back() {
    const NOW: u64 = 1_700_000_000_000;
    clock::FROZEN.set(Some(NOW));
    let mut writer = web();
    pin(&writer, 40_000, 1, State::Established);
    run(
        &mut writer,
        Command::Cutover {
            target: target(),
            to: "green".into(),
            existing: Existing::Reset,
        },
    );
    let Writer { plane, store, .. } = writer;
    clock::FROZEN.set(Some(NOW - 3_600_000));
    let mut writer = writer_over(plane, store, true);
    work(&mut writer, 3);
    assert_eq!(cut(&writer), 1);
}

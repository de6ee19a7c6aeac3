use std::collections::BTreeMap;

use anyhow::Result;
use lab::rig::{DROP, Plan, Rig, Segment, Service, TX, split, tcp};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::TCP;
use splitter_user::dataplane::DataPlane as _;

use super::{WEB, check, untouched};

const CLIENTS: u16 = 200;

fn requests(family: usize) -> impl Iterator<Item = Segment> {
    (0..CLIENTS).map(move |n| match family {
        0 => tcp(&format!("198.18.7.{}:{}", n % 200, 2000 + n), WEB[0]),
        _ => tcp(&format!("[2001:db8:7::{n}]:{}", 2000 + n), WEB[1]),
    })
}

/// Two tracks of three backends a family.
fn service(rig: &mut Rig) -> Result<Service> {
    let track = |net: u8| -> Vec<String> {
        (1..=3)
            .flat_map(|n| {
                [
                    format!("198.18.{net}.{n}:80"),
                    format!("[2001:db8:{net}::{n}]:80"),
                ]
            })
            .collect()
    };
    let mut plan = Plan::new("web").listen(WEB[0], TCP).listen(WEB[1], TCP);
    for net in [2, 3] {
        let track = track(net);
        plan = plan.track(&track.iter().map(String::as_str).collect::<Vec<_>>());
    }
    rig.serve(&plan)
}

#[test]
fn a_pinned_flow_stays_with_its_backend_whatever_the_tables_say() -> Result<()> {
    let mut rig = Rig::new()?;
    let service = service(&mut rig)?;
    rig.write_split(&service, 1, &split(&[(1, 1)]))?;
    rig.write_split(&service, 2, &split(&[(0, 1), (1, 1)]))?;
    for family in 0..2 {
        let mut first = Vec::new();
        for request in requests(family) {
            let (outcome, counted) = rig.run_counted(&request.frame())?;
            assert_eq!((outcome.action, counted), (TX, vec![Reason::NewFlow]));
            first.push(outcome.packet);
        }
        for table in [1, 2, 0, 1] {
            rig.flip(&[(service.id, table)])?;
            for (request, first) in requests(family).zip(&first) {
                let (outcome, counted) = rig.run_counted(&request.frame())?;
                assert_eq!(counted, [Reason::Pinned]);
                assert_eq!(outcome.packet, *first);
            }
        }
        rig.flip(&[(service.id, 0)])?;
    }
    Ok(())
}

#[test]
fn a_pinned_flow_goes_on_when_its_tracks_have_no_backends_left() -> Result<()> {
    let mut rig = Rig::new()?;
    let service = service(&mut rig)?;
    let request = requests(0).next().unwrap();
    let first = rig.run(&request.frame())?;
    let indices: Vec<_> = (0..32)
        .map(|n| (u32::from(service.id) * 16 + n % 16, None))
        .take(16)
        .collect();
    rig.plane().set_track_tables(indices)?;
    assert_eq!(rig.run(&request.frame())?, first);
    let next = requests(0).nth(1).unwrap();
    check(
        &rig,
        &[untouched("a new flow", next.frame(), Reason::NoBackend)],
    )
}

#[test]
fn new_flows_and_backends_are_counted_together() -> Result<()> {
    let mut rig = Rig::new()?;
    let service = service(&mut rig)?;
    for request in requests(0) {
        rig.run(&request.frame())?;
    }
    let mut pinned = BTreeMap::new();
    for flow in rig.flows() {
        *pinned.entry(flow.value.backend()).or_insert(0_u64) += 1;
    }
    assert_eq!(pinned.values().sum::<u64>(), u64::from(CLIENTS));
    for backend in service.backends.concat() {
        let counters = rig.plane().counters(backend)?;
        assert_eq!(
            counters.new_flows,
            pinned.get(&backend).copied().unwrap_or(0)
        );
        assert_eq!(counters.unpinned, 0);
    }
    Ok(())
}

const OTHER: &str = "198.18.1.101:80";

/// A service whose two listeners reach the same backends at the same ports.
fn two_ways(rig: &mut Rig, backends: &[&str]) -> Result<Service> {
    rig.serve(
        &Plan::new("web")
            .listen(WEB[0], TCP)
            .listen(OTHER, TCP)
            .track(backends),
    )
}

#[test]
fn a_client_that_reaches_a_backend_through_another_listener_gets_the_next_one() -> Result<()> {
    let mut rig = Rig::new()?;
    let service = two_ways(
        &mut rig,
        &["198.18.2.1:80", "198.18.2.2:80", "198.18.2.3:80"],
    )?;
    for port in 1..=400 {
        let from = format!("198.18.0.9:{}", 1000 + port);
        let both = [tcp(&from, WEB[0]), tcp(&from, OTHER)];
        let mut backends = Vec::new();
        for (request, listener) in both.iter().zip(&service.listeners) {
            let (outcome, counted) = rig.run_counted(&request.frame())?;
            // Four entries in a row may be one backend's; then the flow is refused, and counted.
            if counted == [Reason::TupleConflict] {
                assert_eq!(outcome.action, DROP);
                continue;
            }
            assert_eq!(counted, [Reason::NewFlow]);
            backends.push(rig.flow(request, *listener).unwrap().value.backend());
        }
        if let [one, other] = backends[..] {
            assert_ne!(
                one, other,
                "{from}: two flows that the backend could not tell apart"
            );
        }
        for (request, backend) in both.iter().zip(backends) {
            // The reply finds its own listener.
            let address = rig.tables().backend(backend).address;
            let at = format!("{}:80", address.to_ip(splitter_ebpf::wire::Family::V4));
            let reply = tcp(&at, &from);
            assert_eq!(
                rig.run(&reply.frame())?.packet,
                reply.returned(&request.to.to_string()).frame()
            );
        }
    }
    let refused = rig.counted(Reason::TupleConflict)?;
    assert!(
        refused < 40,
        "{refused} of 400: one in 27 at most is expected"
    );
    Ok(())
}

#[test]
fn a_client_that_reaches_the_only_backend_already_is_refused_and_counted() -> Result<()> {
    let mut rig = Rig::new()?;
    let service = two_ways(&mut rig, &["198.18.2.1:80"])?;
    let from = "198.18.0.9:1000";
    let (_, counted) = rig.run_counted(&tcp(from, WEB[0]).frame())?;
    assert_eq!(counted, [Reason::NewFlow]);
    check(
        &rig,
        &[untouched(
            "the same tuple",
            tcp(from, OTHER).frame(),
            Reason::TupleConflict,
        )],
    )?;
    // Its flow is gone, and the tuple is free again.
    let flow = rig.flow(&tcp(from, WEB[0]), service.listeners[0]).unwrap();
    assert!(rig.tables().free_flow(&flow));
    let (_, counted) = rig.run_counted(&tcp(from, OTHER).frame())?;
    assert_eq!(counted, [Reason::NewFlow]);
    Ok(())
}

//! What `explain` says of a packet is what the program then does with it.

use anyhow::Result;
use lab::rig::{Plan, Rig, Segment, TX, split, tcp, udp};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use splitter_ebpf::flow::SYN;
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{TCP, UDP};
use splitter_user::dataplane::{Clock, DataPlane as _, Opening, Trace};
use splitter_user::table::route::Spans;

/// Random packets for each service.
const PACKETS: u16 = 600;

/// What `explain` says now.
fn said(rig: &Rig, packet: &Segment) -> Result<Trace> {
    let rate = rig.kernel().rate();
    let clock = Clock {
        now: rig.kernel().now()?,
        second: rate.ticks(1000),
        reuse: rate.ticks(60_000),
    };
    let opening = Opening {
        client: packet.from,
        to: packet.to,
        protocol: packet.protocol,
    };
    Ok(rig.tables().trace(&opening, clock))
}

/// Clients in the routes' networks and elsewhere, to listeners, to the preview, and to nobody; few
/// enough that tuples come again, and meet one backend through two listeners.
fn packet() -> impl Strategy<Value = Segment> {
    let low = (0..4_u8, 0..6_u8, 0..3_u16);
    (low, 0..5_usize, any::<bool>(), any::<bool>()).prop_map(
        |((net, host, port), to, six, datagram)| {
            let port = 40_000 + port;
            let to = [80, 81, 82, 443, 7][to];
            let (from, to) = if six {
                (
                    format!("[2001:db8:{net:x}::{host:x}]:{port}"),
                    format!("[2001:db8:1::100]:{to}"),
                )
            } else {
                (
                    format!("198.19.{net}.{host}:{port}"),
                    format!("198.18.1.100:{to}"),
                )
            };
            if datagram {
                udp(&from, &to)
            } else {
                tcp(&from, &to).flags(SYN)
            }
        },
    )
}

/// Two tracks and routes, listeners that share backends, a preview; the second track serves IPv4 alone.
fn base() -> Plan {
    let nets: Vec<(Vec<ipnet::IpNet>, u8)> = [
        ("198.19.1.0/24", 1),
        ("198.19.0.0/16", 0),
        ("2001:db8:1::/48", 1),
        ("2001:db8:2::/48", 0),
    ]
    .into_iter()
    .map(|(net, track)| (vec![net.parse().expect("a network")], track))
    .collect();
    let mut plan = Plan::new("web");
    for port in [80, 81, 82] {
        for protocol in [TCP, UDP] {
            plan = plan
                .listen(&format!("198.18.1.100:{port}"), protocol)
                .listen(&format!("[2001:db8:1::100]:{port}"), protocol);
        }
    }
    plan.track(&["198.18.2.11:80", "198.18.2.12:80", "[2001:db8:2::11]:80", "[2001:db8:2::12]:80"])
        .track(&["198.18.2.21:80", "198.18.2.22:80"])
        .split(split(&[(0, 50), (1, 50)]))
        // The third listener: 198.18.1.100:81/tcp is the fifth.
        .preview(4, Some(1))
        .routes(&Spans::compile(nets.iter().map(|(nets, track)| (nets.as_slice(), *track))))
}

fn compare(what: &str, plan: &Plan) -> Result<()> {
    let mut rig = Rig::new()?;
    let service = rig.serve(plan)?;
    let mut runner = TestRunner::deterministic();
    let mut reasons = std::collections::BTreeMap::new();
    for number in 0..PACKETS {
        let packet = packet().new_tree(&mut runner).expect("a packet").current();
        let told = said(&rig, &packet)?;
        let (outcome, counted) = rig.run_counted(&packet.frame())?;
        let seen = format!("{what}, packet {number}: {packet:?}: {told:?}");
        assert_eq!(vec![told.reason], counted, "{seen}");
        *reasons.entry(told.reason).or_insert(0) += 1;
        if outcome.action != TX {
            assert!(
                told.backend == 0 || told.reason == Reason::NoNextHop,
                "{seen}"
            );
            continue;
        }
        let flow = rig
            .flow(&packet, told.listener)
            .expect("what is sent is pinned");
        assert_eq!(flow.value.backend(), told.backend, "{seen}");
        if told.reason == Reason::NewFlow {
            let track = told.track.map(usize::from);
            assert_eq!(service.track_of(told.backend), track, "{seen}");
            let again = said(&rig, &packet)?;
            assert_eq!(
                (again.reason, again.backend),
                (Reason::Pinned, told.backend),
                "{seen}"
            );
        }
    }
    for reason in [Reason::NewFlow, Reason::Pinned, Reason::Foreign] {
        assert!(
            reasons.contains_key(&reason),
            "{what}: no packet was {reason:?}: {reasons:?}"
        );
    }
    Ok(())
}

#[test]
fn what_is_explained_is_what_happens_by_flow() -> Result<()> {
    compare("by flow", &base())
}

#[test]
fn what_is_explained_is_what_happens_by_client() -> Result<()> {
    compare("by client", &base().by_client(24, 48))
}

#[test]
fn what_is_explained_is_what_happens_with_the_backend_by_client_and_a_fallback() -> Result<()> {
    compare(
        "backend by client",
        &base().by_client(32, 64).backend_by_client().fallback(0),
    )
}

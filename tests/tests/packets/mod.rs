//! Packets in, actions and whole packets out, and what was counted.

mod answers;
mod cut;
mod explained;
mod forwarding;
mod fragments;
mod icmp;
mod icmp_errors;
mod life;
mod listeners;
mod malformed;
mod modes;
mod options;
mod pins;
mod room;
mod shapes;
mod unsupported;
mod vlan;
mod ways;
mod worlds;

use anyhow::Result;
use lab::rig::{DROP, PASS, Plan, Rig, Segment, Service, TX};
use splitter_ebpf::verdict::{Action, Reason};
use splitter_ebpf::wire::{TCP, UDP};

/// A packet, and what becomes of it.
struct Row {
    what: String,
    packet: Vec<u8>,
    reason: Reason,
    action: u32,
    out: Vec<u8>,
}

/// The packet is passed or dropped, as its reason says, and is not touched.
fn untouched(what: &str, packet: Vec<u8>, reason: Reason) -> Row {
    let action = match reason.action() {
        Action::Pass => PASS,
        Action::Drop | Action::Answer => DROP,
        Action::Forward => panic!("{what}: a forwarded packet is touched"),
    };
    let out = packet.clone();
    Row {
        what: what.to_owned(),
        packet,
        reason,
        action,
        out,
    }
}

/// The packet is sent back over the interface it came by, as `out`.
fn sent(what: &str, packet: Vec<u8>, reason: Reason, out: Vec<u8>) -> Row {
    Row {
        what: what.to_owned(),
        packet,
        reason,
        action: TX,
        out,
    }
}

/// Runs the rows in turn.
fn check(rig: &Rig, rows: &[Row]) -> Result<()> {
    for row in rows {
        let (outcome, counted) = rig.run_counted(&row.packet)?;
        let what = &row.what;
        assert_eq!(counted, [row.reason], "{what}: counted");
        assert_eq!(outcome.action, row.action, "{what}: action");
        assert_eq!(outcome.packet, row.out, "{what}: packet out");
    }
    Ok(())
}

/// An address and port of IPv4 and of IPv6, for rows of both.
type Pair = [&'static str; 2];

const CLIENT: Pair = ["198.18.0.9:40000", "[2001:db8::9]:40000"];
const WEB: Pair = ["198.18.1.100:80", "[2001:db8:1::100]:80"];
const DNS: Pair = ["198.18.1.100:53", "[2001:db8:1::100]:53"];
const BACKEND: Pair = ["198.18.2.1:8080", "[2001:db8:2::1]:8080"];
const ELSEWHERE: Pair = ["198.18.77.7:80", "[2001:db8:77::7]:80"];

/// A service on TCP port 80 and UDP port 53 of both families, with one backend a family that has a
/// port of its own.
fn web(rig: &mut Rig) -> Result<Service> {
    let mut plan = Plan::new("web").track(&BACKEND);
    for at in WEB {
        plan = plan.listen(at, TCP);
    }
    for at in DNS {
        plan = plan.listen(at, UDP);
    }
    rig.serve(&plan)
}

/// A request and its reply by way of `backend`, both checked byte for byte.
fn round_trip(what: &str, request: &Segment, backend: &str) -> [Row; 2] {
    let forwarded = request.forwarded(backend);
    // The backend answers with its own address and the balancer's MAC.
    let reply = Segment {
        macs: [forwarded.macs[1], forwarded.macs[0]],
        ttl: 64,
        ..forwarded.answered()
    };
    let listener = request.to.to_string();
    [
        sent(
            &format!("{what}, request"),
            request.frame(),
            Reason::NewFlow,
            forwarded.frame(),
        ),
        sent(
            &format!("{what}, reply"),
            reply.frame(),
            Reason::Reply,
            reply.returned(&listener).frame(),
        ),
    ]
}

#[test]
fn the_object_that_ships_has_no_driver_of_the_bench() -> Result<()> {
    lab::rig::isolate()?;
    let mut loaded = splitter_user::loader::load(lab::rig::SMALL, &lab::rig::SECRET, None)?;
    assert!(loaded.program("splitter").is_ok());
    for driver in ["drive_v4", "drive_v6", "drive_v4_floor", "drive_v6_floor"] {
        assert!(loaded.program(driver).is_err(), "{driver}");
    }
    assert!(loaded.take_map("DRIVE").is_err());
    Ok(())
}

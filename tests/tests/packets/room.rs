//! A table of two buckets: every flow belongs into both.

use anyhow::Result;
use lab::rig::{Plan, Rig, SMALL, Segment, Service, TX, tcp};
use splitter_ebpf::abi::BUCKET_FLOWS;
use splitter_ebpf::flow::{ACK, SYN, State};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::TCP;
use splitter_user::dataplane::DataPlane as _;
use splitter_user::loader::Layout;

use super::{WEB, check, round_trip};

const PLACES: usize = 2 * BUCKET_FLOWS;
const BACKEND: &str = "198.18.2.1:8080";

fn tiny() -> Result<(Rig, Service)> {
    let mut rig = Rig::sized(Layout {
        flow_buckets: 2,
        ..SMALL
    })?;
    let service = rig.serve(&Plan::new("web").listen(WEB[0], TCP).track(&[BACKEND]))?;
    Ok((rig, service))
}

fn request(n: usize) -> Segment {
    tcp(&format!("198.18.0.9:{}", 1000 + n), WEB[0])
}

fn open(rig: &Rig, n: usize) -> Result<Reason> {
    let syn = request(n).flags(SYN);
    let (outcome, counted) = rig.run_counted(&syn.frame())?;
    assert_eq!(
        (outcome.action, outcome.packet),
        (TX, syn.forwarded(BACKEND).frame())
    );
    let [reason] = counted[..] else {
        panic!("{counted:?}")
    };
    Ok(reason)
}

fn establish(rig: &Rig, n: usize) -> Result<()> {
    let reply = request(n).forwarded(BACKEND).answered();
    rig.run(&reply.flags(SYN | ACK).frame())?;
    rig.run(&request(n).frame())?;
    Ok(())
}

fn is_pinned(rig: &Rig, service: &Service, n: usize) -> bool {
    rig.flow(&request(n), service.listeners[0]).is_some()
}

#[test]
fn full_buckets_evict_what_is_not_established_oldest_first() -> Result<()> {
    let (rig, service) = tiny()?;
    for n in 0..PLACES {
        assert_eq!(open(&rig, n)?, Reason::NewFlow);
        if n % 3 == 0 {
            establish(&rig, n)?;
        }
        rig.wait_ticks(1)?;
    }
    assert_eq!(rig.flows().len(), PLACES);
    rig.wait_ticks(1)?;
    let evictable: Vec<usize> = (0..PLACES).filter(|n| n % 3 != 0).collect();
    for (round, oldest) in evictable.iter().enumerate().take(5) {
        assert_eq!(open(&rig, 100 + round)?, Reason::NewFlow);
        assert!(is_pinned(&rig, &service, 100 + round));
        assert!(
            !is_pinned(&rig, &service, *oldest),
            "flow {oldest} was the oldest"
        );
        let others = (0..PLACES).filter(|n| n % 3 == 0 || n > oldest);
        for other in others {
            assert!(
                is_pinned(&rig, &service, other),
                "flow {other} is established or younger"
            );
        }
    }
    Ok(())
}

#[test]
fn no_flow_is_evicted_while_its_handshake_may_be_under_way() -> Result<()> {
    let (mut rig, service) = tiny()?;
    loop {
        rig.forget_flows();
        let start = rig.plane().now()?;
        for n in 0..PLACES {
            assert_eq!(open(&rig, n)?, Reason::NewFlow);
        }
        let reason = open(&rig, 100)?;
        let lost = (0..PLACES)
            .filter(|n| !is_pinned(&rig, &service, *n))
            .count();
        // If this machine was too slow, once more.
        if rig.plane().now()? == start {
            assert_eq!((reason, lost), (Reason::UnpinnedTableFull, 0));
            break;
        }
    }
    rig.wait_ticks(2)?;
    assert_eq!(open(&rig, 101)?, Reason::NewFlow);
    Ok(())
}

#[test]
fn a_flood_cannot_unpin_established_flows_and_goes_unpinned_itself() -> Result<()> {
    let (mut rig, service) = tiny()?;
    for n in 0..PLACES {
        assert_eq!(open(&rig, n)?, Reason::NewFlow);
        establish(&rig, n)?;
    }
    rig.wait_ticks(3)?;
    for n in 100..1100 {
        assert_eq!(open(&rig, n)?, Reason::UnpinnedTableFull);
    }
    for n in 0..PLACES {
        let flow = rig
            .flow(&request(n), service.listeners[0])
            .expect("established flows stay");
        assert_eq!(flow.value.state_bits(), State::Established as u8);
    }
    let counters = rig.plane().counters(service.backends[0][0])?;
    assert_eq!(
        (counters.new_flows, counters.unpinned),
        (PLACES as u64, 1000)
    );
    Ok(())
}

#[test]
fn a_freed_place_is_used_again() -> Result<()> {
    let (rig, service) = tiny()?;
    for n in 0..PLACES {
        open(&rig, n)?;
        establish(&rig, n)?;
    }
    let flow = rig.flow(&request(5), service.listeners[0]).unwrap();
    assert!(rig.tables().free_flow(&flow));
    assert!(!rig.tables().free_flow(&flow), "only once");
    check(&rig, &round_trip("in its place", &request(200), BACKEND))?;
    assert_eq!(
        rig.flow(&request(200), service.listeners[0]).unwrap().slot,
        flow.slot
    );
    assert!(!is_pinned(&rig, &service, 5));
    Ok(())
}

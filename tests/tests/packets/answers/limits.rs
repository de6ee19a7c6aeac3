use anyhow::Result;
use lab::rig::{DROP, Plan, Rig, TX, tcp};
use rustix::thread::{CpuSet, sched_setaffinity};
use splitter_ebpf::abi::{NoBackend, ServiceWord};
use splitter_ebpf::flow::{SYN, TICK_MASK};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::TCP;
use splitter_user::dataplane::DataPlane as _;

use super::super::{CLIENT, WEB, web};

/// ICMP errors that a CPU sends in a tick.
const ERRORS: u32 = 256;

/// Keeps this thread on one CPU, so that one CPU's budget is spent.
pub fn on_one_cpu() -> Result<()> {
    let mut first = CpuSet::new();
    first.set(0);
    Ok(sched_setaffinity(None, &first)?)
}

#[test]
fn icmp_errors_are_limited_by_the_tick_and_the_rest_is_dropped_under_the_same_reason() -> Result<()>
{
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    on_one_cpu()?;
    let expired = tcp(CLIENT[0], WEB[0]).ttl(1).frame();
    // The budget is all there at the beginning of a tick.
    rig.wait_ticks(1)?;
    let (start, mut answered, mut dropped) = (rig.kernel().now()?, 0, 0);
    for _ in 0..3 * ERRORS {
        match rig.run(&expired)?.action {
            TX => answered += 1,
            DROP => dropped += 1,
            action => panic!("action {action}"),
        }
    }
    let ticks = (rig.kernel().now()?.wrapping_sub(start) & TICK_MASK) + 1;
    assert!(
        (ERRORS..=ERRORS * ticks).contains(&answered),
        "{answered} answers in {ticks} ticks"
    );
    assert_eq!(
        rig.counted(Reason::TtlExpired)?,
        u64::from(answered + dropped)
    );
    assert!(ticks > 2 || dropped > 0, "nothing was limited");
    rig.wait_ticks(1)?;
    assert_eq!(rig.run(&expired)?.action, TX, "the next tick has its own");
    Ok(())
}

#[test]
fn rsts_are_not_limited_nor_do_they_spend_the_errors_budget() -> Result<()> {
    let mut rig = Rig::new()?;
    let service = rig.serve(&Plan::new("web").listen(WEB[0], TCP).track(&[]))?;
    let word = ServiceWord {
        no_backend: NoBackend::Reset as u32,
        reserved: 0,
    };
    rig.tables().set_service_word(service.id, word);
    on_one_cpu()?;
    let segment = tcp(CLIENT[0], WEB[0]).flags(SYN).frame();
    for _ in 0..4 * ERRORS {
        assert_eq!(rig.run(&segment)?.action, TX);
    }
    let expired = tcp(CLIENT[0], WEB[0]).ttl(1).frame();
    assert_eq!(rig.run(&expired)?.action, TX);
    Ok(())
}

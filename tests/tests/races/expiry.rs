use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use lab::rig::{Rig, SMALL, Service, tcp};
use lab::{heavy, soak};
use splitter_ebpf::flow::{ACK, FIN, SYN, State};
use splitter_ebpf::verdict::Reason;
use splitter_user::loader::Layout;

use super::{VIP, WEB, Worker, client_of, on_two_cpus, plan, runners};

const CLIENT: u32 = 7;

/// The agent: frees every flow that it sees in `FinClient`. Returns how many.
fn expire(rig: &Rig, done: &AtomicBool) -> u64 {
    let mut freed = 0;
    while !done.load(Ordering::Acquire) {
        for flow in rig.flows() {
            if flow.value.state_bits() == State::FinClient as u8 {
                freed += u64::from(rig.tables().free_flow(&flow));
            }
        }
    }
    freed
}

/// A flow that goes into `FinClient` and comes out of it by its data, again and again. Once it was seen
/// established it may not go.
fn go_on(rig: &Rig, service: &Service, worker: &mut Worker) -> Result<()> {
    let (address, port) = client_of(CLIENT);
    let segment = tcp(&format!("{address}:{port}"), WEB);
    let state = || {
        let flow = rig.flow(&segment, service.listeners[0]);
        flow.and_then(|flow| State::from_bits(flow.value.state_bits()))
    };
    for round in 0..soak(10_000, 500_000) {
        let backend = worker.send(CLIENT, VIP, SYN)?;
        worker.answer(CLIENT, backend, SYN | ACK)?;
        worker.send(CLIENT, VIP, ACK)?;
        for _ in 0..20 {
            worker.send(CLIENT, VIP, FIN | ACK)?;
            worker.send(CLIENT, VIP, ACK)?;
            // Data undoes the FIN, unless the flow was freed before or meanwhile.
            let seen = state();
            if seen != Some(State::Established) {
                let gone = matches!(seen, None | Some(State::New));
                ensure!(gone, "round {round}: {seen:?}");
                break;
            }
            for _ in 0..3 {
                let still = state() == Some(State::Established);
                ensure!(still, "round {round}: an established flow was freed");
            }
        }
    }
    Ok(())
}

#[test]
fn expiry_frees_no_refreshed_flow_and_no_refresh_brings_a_freed_one_back() -> Result<()> {
    let _turn = heavy()?;
    let mut rig = Rig::sized(Layout {
        flow_buckets: 2,
        ..SMALL
    })?;
    let service = rig.serve(&plan("web", &[WEB], &[2]))?;
    let (rig, done, freed) = (&rig, AtomicBool::new(false), std::sync::Mutex::new(0));
    on_two_cpus(
        runners(rig)?,
        |mut worker, _| {
            if worker.cpu == 0 {
                *freed.lock().expect("one writer") = expire(rig, &done);
                return Ok(());
            }
            let result = go_on(rig, &service, &mut worker);
            done.store(true, Ordering::Release);
            result
        },
        super::idle,
    )?;
    let freed = freed.into_inner().expect("no panic");
    let (pinned, left) = (rig.counted(Reason::NewFlow)?, rig.flows().len() as u64);
    ensure!(
        pinned == freed + left,
        "{pinned} pinned, {freed} freed, {left} left"
    );
    ensure!(freed > 100, "{freed} freed: too few to show anything");
    Ok(())
}

use std::hint::black_box;

use anyhow::{Result, ensure};
use lab::rig::{Rig, SMALL, tcp};
use lab::{heavy, soak};
use splitter_ebpf::endpoint::flow_place;
use splitter_ebpf::flow::{ACK, SYN};
use splitter_user::loader::Layout;

use super::{
    Meeting, VIP, WEB, Worker, assert_consistent, client_of, idle, on_two_cpus, plan, runners,
};

/// Both CPUs send the first packets of the same flows at the same time, round by round. The table has
/// two buckets, so that each flow may lie in either, and goes to the second when the first fills.
fn insert_together(flows: u32, flags: [u8; 2]) -> Result<()> {
    insert(flows, |cpu, first| {
        (first..first + flows).map(move |flow| (flow, flags[cpu]))
    })
}

/// `flows` in all a round; `of_cpu` says which clients' packets a CPU sends, and with which flags.
fn insert<I: Iterator<Item = (u32, u8)>>(
    flows: u32,
    of_cpu: impl Fn(usize, u32) -> I + Sync,
) -> Result<()> {
    let _turn = heavy()?;
    let mut rig = Rig::sized(Layout {
        flow_buckets: 2,
        ..SMALL
    })?;
    rig.serve(&plan("web", &[WEB], &[2]))?;
    let rig = &rig;
    let rounds = soak(30_000, 1_000_000) / flows as usize;
    let (begin, end) = (Meeting::default(), Meeting::default());
    on_two_cpus(
        runners(rig)?,
        |mut worker, stop| {
            for round in 0..rounds {
                let first = u32::try_from(round)? * flows;
                if !begin.meet(round + 1, stop) {
                    break;
                }
                for (client, flags) in of_cpu(worker.cpu, first) {
                    worker.send(client, VIP, flags)?;
                }
                if !end.meet(round + 1, stop) {
                    break;
                }
                // The other CPU waits at the beginning of the next round.
                if worker.cpu == 0 {
                    assert_consistent(rig)?;
                    ensure!(
                        rig.flows().len() == flows as usize,
                        "round {round}: a flow is missing"
                    );
                    rig.forget_flows();
                }
            }
            Ok(())
        },
        idle,
    )
}

#[test]
fn one_flow_that_two_cpus_pin_at_once_is_pinned_once() -> Result<()> {
    insert_together(1, [SYN, SYN])
}

#[test]
fn flows_that_two_cpus_pin_at_once_are_pinned_once_in_either_bucket() -> Result<()> {
    insert_together(12, [SYN, SYN])
}

#[test]
fn a_syn_and_a_packet_in_mid_flow_on_two_cpus_make_one_flow() -> Result<()> {
    insert_together(5, [SYN, ACK])
}

#[test]
fn different_flows_that_two_cpus_pin_at_once_take_a_slot_each() -> Result<()> {
    insert(12, |cpu, first| {
        let first = first + 6 * u32::try_from(cpu).expect("two CPUs");
        (first..first + 6).map(|client| (client, SYN))
    })
}

/// Slots hold the keys of flows that are gone. One CPU gives them to other flows, value first and then
/// key, while the other CPU looks for the old flows there.
#[test]
fn a_slots_new_value_is_never_taken_for_its_old_keys() -> Result<()> {
    let _turn = heavy()?;
    let mut rig = Rig::sized(Layout {
        flow_buckets: 2,
        ..SMALL
    })?;
    let service = rig.serve(&plan("web", &[WEB], &[2]))?;
    let rig = &rig;
    let home = |client: u32| {
        let (address, port) = client_of(client);
        let key = rig.key(
            &tcp(&format!("{address}:{port}"), WEB),
            service.listeners[0],
        );
        flow_place(rig.tables().keys.flow, key, 1).buckets[0]
    };
    // Clients whose flows have one home, with their backends: the first half new, the others old.
    let mut probe = Worker::new(0, rig.runner()?);
    let clients: Vec<(u32, [u8; 4])> = (0..)
        .filter(|client| home(*client) == 0)
        .take(12)
        .map(|client| Ok((client, probe.send(client, VIP, SYN)?)))
        .collect::<Result<_>>()?;
    let (new, old) = clients.split_at(6);
    let (begin, end) = (Meeting::default(), Meeting::default());
    on_two_cpus(
        runners(rig)?,
        |mut worker, stop| {
            for round in 0..soak(20_000, 1_000_000) {
                if worker.cpu == 0 {
                    rig.forget_flows();
                    for (client, _) in old {
                        worker.send(*client, VIP, SYN)?;
                    }
                    rig.forget_flows();
                }
                if !begin.meet(round + 1, stop) {
                    break;
                }
                // A little later each time: somewhere the one looks while the other writes.
                for pause in 0..if worker.cpu == 1 { round % 701 } else { 0 } {
                    black_box(pause);
                }
                for (client, backend) in if worker.cpu == 0 { new } else { old } {
                    let went = worker.send(*client, VIP, SYN)?;
                    ensure!(
                        went == *backend,
                        "round {round}: client {client} of {backend:?} was sent to {went:?}"
                    );
                }
                if !end.meet(round + 1, stop) {
                    break;
                }
            }
            Ok(())
        },
        idle,
    )
}

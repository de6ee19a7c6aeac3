use anyhow::{Result, ensure};
use lab::rig::{Rig, SMALL, Service};
use lab::{heavy, soak};
use splitter_ebpf::flow::{ACK, SYN, State};
use splitter_ebpf::verdict::Reason;
use splitter_user::loader::Layout;

use super::{
    Meeting, VIP, WEB, Worker, address_of, assert_consistent, idle, on_two_cpus, plan, runners,
    tuple_of,
};

/// Clients that share sixteen slots: more than these have room for.
const CLIENTS: u32 = 48;
/// Clients that all find room.
const FEW: u32 = 12;

fn tiny() -> Result<(Rig, Service)> {
    let mut rig = Rig::sized(Layout {
        flow_buckets: 2,
        ..SMALL
    })?;
    let service = rig.serve(&plan("web", &[WEB], &[2, 3, 4, 5]))?;
    let shares = lab::rig::split(&[(0, 1), (1, 1), (2, 1), (3, 1)]);
    rig.write_split(&service, 1, &shares)?;
    rig.flip(&[(service.id, 1)])?;
    Ok((rig, service))
}

/// Where the tables send each client: always to the same backend, pinned or not.
fn expected(rig: &Rig, service: &Service) -> Result<Vec<[u8; 4]>> {
    let (_, slots) = rig.tables().read_split(service.id, 1)?;
    (0..CLIENTS)
        .map(|client| {
            let (slot, entry) = tuple_of(client, VIP).place_v4(&service.header);
            let track = slots[usize::from(slot)];
            let table = splitter_ebpf::abi::track_table_index(
                service.id,
                track,
                splitter_ebpf::wire::Family::V4,
            );
            Ok(address_of(
                rig,
                rig.tables().track_entry(table, entry as usize),
            ))
        })
        .collect()
}

/// Both CPUs send clients' packets of all kinds, in an order of their own; each must go where the
/// tables say, whatever becomes of slots meanwhile.
fn talk(
    worker: &mut Worker,
    packets: usize,
    to: &[[u8; 4]],
    stop: &std::sync::atomic::AtomicBool,
) -> Result<()> {
    let clients = u32::try_from(to.len())?;
    let mut random = 0x9e37_79b9_u64 + worker.cpu as u64;
    for _ in 0..packets {
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            break;
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let client = u32::try_from(random % u64::from(clients))?;
        let backend = to[client as usize];
        match random >> 61 {
            0 => {
                worker.answer(client, backend, SYN | ACK)?;
            }
            1..4 => {
                let went = worker.send(client, VIP, SYN)?;
                ensure!(
                    went == backend,
                    "client {client} of {backend:?} was sent to {went:?}"
                );
            }
            _ => {
                let went = worker.send(client, VIP, ACK)?;
                ensure!(
                    went == backend,
                    "client {client} of {backend:?} was sent to {went:?}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn no_packet_meets_another_flows_backend_while_slots_change_hands() -> Result<()> {
    let _turn = heavy()?;
    let (rig, service) = tiny()?;
    let to = expected(&rig, &service)?;
    let (rig, few, mut freed) = (&rig, &to[..FEW as usize], 0);
    on_two_cpus(
        runners(rig)?,
        |mut worker, stop| talk(&mut worker, soak(300_000, 10_000_000), few, stop),
        || {
            for flow in rig.flows() {
                freed += u64::from(rig.tables().free_flow(&flow));
            }
            Ok(())
        },
    )?;
    assert_consistent(rig)?;
    // What was freed stays free: no refresh brings it back.
    let pinned = rig.counted(Reason::NewFlow)?;
    let left = rig.flows().len() as u64;
    ensure!(
        pinned == freed + left,
        "{pinned} pinned, {freed} freed, {left} left"
    );
    Ok(())
}

#[test]
fn evictions_on_two_cpus_leave_every_slot_with_one_flows_key_and_value() -> Result<()> {
    let _turn = heavy()?;
    let (rig, service) = tiny()?;
    let to = expected(&rig, &service)?;
    // Nearly all places belong to established flows: all others fight for what is left.
    let mut opener = Worker::new(0, rig.runner()?);
    let keep = 14;
    for client in 0..keep {
        opener.send(client, VIP, SYN)?;
        opener.answer(client, to[client as usize], SYN | ACK)?;
        opener.send(client, VIP, ACK)?;
    }
    let established = |rig: &Rig| {
        rig.flows()
            .iter()
            .filter(|flow| flow.value.state_bits() == State::Established as u8)
            .count()
    };
    ensure!(established(&rig) == keep as usize);
    let (rig, begin, end) = (&rig, Meeting::default(), Meeting::default());
    on_two_cpus(
        runners(rig)?,
        |mut worker, stop| {
            for round in 0..soak(30_000, 1_000_000) {
                if !begin.meet(round + 1, stop) {
                    break;
                }
                for n in 0..4 {
                    let turn = u32::try_from(round * 8 + worker.cpu * 4 + n)?;
                    let client = keep + turn % (CLIENTS - keep);
                    let went = worker.send(client, VIP, SYN)?;
                    let backend = to[client as usize];
                    ensure!(
                        went == backend,
                        "client {client} of {backend:?} was sent to {went:?}"
                    );
                }
                if !end.meet(round + 1, stop) {
                    break;
                }
                if worker.cpu == 0 {
                    assert_consistent(rig)?;
                }
            }
            Ok(())
        },
        idle,
    )?;
    ensure!(
        established(rig) == keep as usize,
        "established flows are never evicted"
    );
    Ok(())
}

use std::collections::BTreeSet;

use anyhow::{Result, anyhow, ensure};
use lab::rig::{DROP, Rig, SMALL};
use lab::{heavy, soak};
use splitter_ebpf::flow::SYN;
use splitter_user::dataplane::FlowSlot;
use splitter_user::loader::Layout;

use super::{Meeting, VIP, WEB, Worker, assert_consistent, idle, on_two_cpus, plan, runners};

/// An address and a port, in packet order.
type Place = [u8; 6];

impl Worker {
    /// As [`send`](Self::send); and what the client became.
    fn translated(&mut self, client: u32) -> Result<Place> {
        // Dropped while the other CPU holds the lock, as a client's packet may be: it sends another.
        while let Err(error) = self.send(client, VIP, SYN) {
            ensure!(self.outcome.action == DROP, "{error}");
        }
        let packet = &self.outcome.packet;
        let mut place = [0; 6];
        place[..4].copy_from_slice(&packet[26..30]);
        place[4..].copy_from_slice(&packet[34..36]);
        Ok(place)
    }
}

/// Both CPUs begin flows of mode `fullnat` at once, round by round, with hardly more ports than flows.
fn begin_together(clients: impl Fn(usize, u32) -> Vec<u32> + Sync, flows: u32) -> Result<()> {
    let _turn = heavy()?;
    let mut rig = Rig::sized(Layout {
        flow_buckets: 16,
        ..SMALL
    })?;
    let ports = 20_000..20_000 + u16::try_from(flows + 2)?;
    let mut plan = plan("web", &[WEB], &[]);
    plan = plan.track(&["198.18.2.1:0"]);
    rig.serve(&plan.translated_to(&["198.18.2.250"], ports))?;
    let rig = &rig;
    let rounds = soak(3_000, 200_000);
    let (begin, end) = (Meeting::default(), Meeting::default());
    let places = [const { std::sync::Mutex::new(Vec::new()) }; 2];
    on_two_cpus(
        runners(rig)?,
        |mut worker, stop| {
            for round in 0..rounds {
                if !begin.meet(round + 1, stop) {
                    break;
                }
                let mut given = Vec::new();
                for client in clients(worker.cpu, u32::try_from(round)? * flows) {
                    given.push((client, worker.translated(client)?));
                }
                *places[worker.cpu].lock().map_err(|_| anyhow!("poisoned"))? = given;
                if !end.meet(round + 1, stop) {
                    break;
                }
                if worker.cpu == 0 {
                    settled(rig, flows, &places)?;
                    rig.forget_flows();
                }
            }
            Ok(())
        },
        idle,
    )
}

/// Every client has one place, no place has two clients, and every pair is whole.
fn settled(rig: &Rig, flows: u32, places: &[std::sync::Mutex<Vec<(u32, Place)>>; 2]) -> Result<()> {
    assert_consistent(rig)?;
    let mut given = BTreeSet::new();
    for cpu in places {
        given.extend(cpu.lock().map_err(|_| anyhow!("poisoned"))?.iter().copied());
    }
    let clients: BTreeSet<u32> = given.iter().map(|(client, _)| *client).collect();
    let taken: BTreeSet<Place> = given.iter().map(|(_, place)| *place).collect();
    ensure!(
        given.len() == flows as usize && clients.len() == given.len() && taken.len() == given.len(),
        "a client with two places, or a place with two clients: {given:?}"
    );
    let (pointing, first): (Vec<FlowSlot>, Vec<FlowSlot>) = rig
        .flows()
        .into_iter()
        .partition(|flow| flow.value.is_pointing());
    let slots: BTreeSet<u64> = first.iter().map(|flow| flow.slot as u64).collect();
    let led: BTreeSet<u64> = pointing.iter().map(|flow| flow.value.slot()).collect();
    ensure!(
        first.len() == flows as usize && slots == led && pointing.len() == first.len(),
        "half of a pair: {first:?} {pointing:?}"
    );
    Ok(())
}

#[test]
fn one_flow_that_two_cpus_translate_at_once_gets_one_place() -> Result<()> {
    begin_together(|_, first| vec![first], 1)
}

#[test]
fn different_flows_that_two_cpus_translate_at_once_get_different_places() -> Result<()> {
    begin_together(
        |cpu, first| {
            let first = first + 6 * u32::try_from(cpu).expect("two CPUs");
            (first..first + 6).collect()
        },
        12,
    )
}

//! Packets of each kind.

use anyhow::{Result, ensure};
use splitter_ebpf::drive::Drive;
use splitter_ebpf::flow::{ACK, SYN, State};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::WirePort;

use super::Choice;
use super::measure::{Measurement, cpu_time};
use super::report::Report;
use super::world::{CLIENT, SOLO, SOLO_BACKEND, STRANGER, WEB, World};
use crate::rig::{Runner, Segment, tcp};

const FAMILIES: [&str; 2] = ["v4", "v6"];
/// Any odd number would do: the flow table's places are hashed anyhow.
const STRIDE: u64 = 0x9e37_79b1;

/// From clients to a listener, `flows` of them.
fn to_listener(client: &str, listener: &str, flows: u64) -> (Drive, Segment) {
    let segment = tcp(client, listener).with(b"some data");
    let drive = Drive {
        next: 0,
        mask: flows - 1,
        stride: STRIDE,
        port_bits: 12,
        forward: 1,
        server: segment.to.ip().into(),
        client: segment.from.ip().into(),
        server_port: WirePort::new(segment.to.port()).0.into(),
        sweep: 0,
    };
    (drive, segment)
}

/// From a backend to clients.
fn to_clients(client: &str, backend: &str, flows: u64) -> (Drive, Segment) {
    let (drive, segment) = to_listener(client, backend, flows);
    (
        Drive {
            forward: 0,
            ..drive
        },
        segment.answered(),
    )
}

fn rounds(choice: &Choice, mut round: impl FnMut() -> Result<[f64; 2]>) -> Result<Measurement> {
    round()?;
    let (mut with, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..choice.rounds {
        let [a, b] = round()?;
        with.push(a);
        floor.push(b);
    }
    Ok(Measurement::over(with, floor))
}

/// Every packet of `work` must meet `reason`.
fn expecting(
    world: &mut World,
    reason: Reason,
    mut work: impl FnMut(&mut World) -> Result<Measurement>,
) -> Result<Measurement> {
    let before = world.rig.counted(reason)?;
    let all_before: u64 = total(world)?;
    let measurement = work(world)?;
    let (expected, all) = (
        world.rig.counted(reason)? - before,
        total(world)? - all_before,
    );
    ensure!(
        expected * 1000 >= all * 999,
        "of {all} packets only {expected} were {}",
        reason.name()
    );
    Ok(measurement)
}

fn total(world: &World) -> Result<u64> {
    Reason::ALL
        .iter()
        .map(|reason| world.rig.counted(*reason))
        .sum()
}

/// What is neither a listener's nor a backend's, through the very program, unchanged each time.
pub(super) fn foreign(world: &mut World, choice: &Choice, report: &mut Report) -> Result<()> {
    const COUNT: u32 = 1_000_000;
    for (family, destination) in FAMILIES
        .into_iter()
        .zip(["198.18.9.9:443", "[2001:db8:9::9]:443"])
    {
        let name = format!("foreign {family}");
        if !choice.wants(&name) {
            continue;
        }
        let frame = tcp(CLIENT[usize::from(family == "v6")], destination).frame();
        let each = |runner: &Runner| -> Result<f64> {
            Ok(cpu_time(|| runner.repeat(&frame, COUNT))? / f64::from(COUNT))
        };
        let measurement = expecting(world, Reason::Foreign, |world| {
            rounds(choice, || {
                Ok([each(&world.splitter)?, each(&world.nothing)?])
            })
        })?;
        report.add(name, measurement);
    }
    Ok(())
}

/// One flow, and new flows into a table that the cache holds.
pub(super) fn hot(world: &mut World, choice: &Choice, report: &mut Report) -> Result<()> {
    for (index, family) in FAMILIES.into_iter().enumerate() {
        let name = format!("new flow {family} hot");
        if choice.wants(&name) {
            world.rig.forget_flows();
            let (drive, segment) = to_listener(CLIENT[index], WEB[index], 1 << 16);
            let requests = (Drive { sweep: 4, ..drive }, segment.flags(SYN).with(b""));
            measure(world, choice, report, name, &requests, Reason::NewFlow)?;
        }
        let name = format!("existing {family} hot");
        if choice.wants(&name) {
            let requests = to_listener(CLIENT[index], WEB[index], 1);
            establish(world, &requests)?;
            measure(world, choice, report, name, &requests, Reason::Pinned)?;
        }
        let name = format!("reply {family} hot");
        if choice.wants(&name) {
            establish(world, &to_listener(CLIENT[index], SOLO[index], 1))?;
            measure(
                world,
                choice,
                report,
                name,
                &to_clients(CLIENT[index], SOLO_BACKEND[index], 1),
                Reason::Reply,
            )?;
        }
    }
    Ok(())
}

/// 64 K and 1 M flows at the table's real load.
pub(super) fn many(world: &mut World, choice: &Choice, report: &mut Report) -> Result<()> {
    for (index, family) in FAMILIES.into_iter().enumerate() {
        for (size, flows) in [("64 K", 1 << 16), ("1 M", 1 << 20)] {
            let name = format!("existing {family} {size}");
            if choice.wants(&name) {
                let requests = to_listener(CLIENT[index], WEB[index], flows);
                establish(world, &requests)?;
                report.note(&name, world, flows);
                measure(world, choice, report, name, &requests, Reason::Pinned)?;
            }
            let name = format!("reply {family} {size}");
            if choice.wants(&name) {
                establish(world, &to_listener(CLIENT[index], SOLO[index], flows))?;
                report.note(&name, world, flows);
                let replies = to_clients(CLIENT[index], SOLO_BACKEND[index], flows);
                measure(world, choice, report, name, &replies, Reason::Reply)?;
            }
        }
        let name = format!("reply {family} 64 K clients");
        if choice.wants(&name) {
            let spread = |(drive, segment)| {
                (
                    Drive {
                        port_bits: 0,
                        ..drive
                    },
                    segment,
                )
            };
            establish(
                world,
                &spread(to_listener(CLIENT[index], SOLO[index], 1 << 15)),
            )?;
            let replies = spread(to_clients(CLIENT[index], SOLO_BACKEND[index], 1 << 15));
            measure(world, choice, report, name, &replies, Reason::Reply)?;
        }
        let name = format!("new flow {family} into 1 M");
        if choice.wants(&name) {
            establish(world, &to_listener(CLIENT[index], WEB[index], 1 << 20))?;
            report.note(&name, world, 1 << 20);
            new_flows(
                world,
                choice,
                report,
                name,
                to_listener(STRANGER[index], WEB[index], 1 << 17),
            )?;
        }
    }
    Ok(())
}

/// Fills the table with established flows of these packets, and with nothing else: each backend
/// answers all clients, of which those that are its own go on.
fn establish(world: &mut World, (drive, segment): &(Drive, Segment)) -> Result<()> {
    let flows = u32::try_from(drive.mask + 1)?;
    world.rig.forget_flows();
    world.send(drive, &segment.clone().flags(SYN).with(b""), flows)?;
    for backend in world.backends_of(&segment.to) {
        let answer = Drive {
            forward: 0,
            server: backend.ip().into(),
            server_port: WirePort::new(backend.port()).0.into(),
            ..*drive
        };
        world.send(&answer, &segment.answered().flags(SYN | ACK), flows)?;
    }
    world.send(drive, segment, flows)?;
    let established = world
        .rig
        .flows()
        .iter()
        .filter(|flow| flow.value.state_bits() == State::Established as u8)
        .count();
    ensure!(
        established * 1000 >= flows as usize * 999,
        "of {flows} flows only {established} are established"
    );
    Ok(())
}

impl World {
    /// Opens so many flows, and lets their clients go on: each is pinned once, and found again.
    ///
    /// # Errors
    /// If one is not, and what the kernel says.
    pub fn pins(&mut self, flows: u32) -> Result<()> {
        let many = u64::from(flows).next_power_of_two();
        let (drive, segment) = to_listener(CLIENT[0], WEB[0], many);
        let counted = |world: &Self| -> Result<[u64; 2]> {
            Ok([
                world.rig.counted(Reason::NewFlow)?,
                world.rig.counted(Reason::Pinned)?,
            ])
        };
        let before = counted(self)?;
        self.send(&drive, &segment.clone().flags(SYN).with(b""), flows)?;
        self.send(&drive, &segment, flows)?;
        let after = counted(self)?;
        for (what, before, after) in [
            ("pinned", before[0], after[0]),
            ("found again", before[1], after[1]),
        ] {
            ensure!(
                after - before == u64::from(flows),
                "of {flows} flows {} were {what}",
                after - before
            );
        }
        let table = self.rig.flows().len();
        ensure!(table == flows as usize, "{table} flows are in the table");
        Ok(())
    }
}

fn measure(
    world: &mut World,
    choice: &Choice,
    report: &mut Report,
    name: String,
    (drive, segment): &(Drive, Segment),
    reason: Reason,
) -> Result<()> {
    let count = u32::try_from((drive.mask + 1).max(1_000_000))?;
    let measurement = expecting(world, reason, |world| {
        rounds(choice, || world.turn(drive, segment, count))
    })?;
    report.add(name, measurement);
    Ok(())
}

/// Every packet opens a flow; the table is emptied of them after each turn. So many in a turn that
/// what another process left of the cache hardly counts.
fn new_flows(
    world: &mut World,
    choice: &Choice,
    report: &mut Report,
    name: String,
    (drive, segment): (Drive, Segment),
) -> Result<()> {
    let count = u32::try_from(drive.mask + 1)?;
    let segment = segment.flags(SYN).with(b"");
    let measurement = expecting(world, Reason::NewFlow, |world| {
        rounds(choice, || {
            let turn = world.turn(&drive, &segment, count)?;
            world.free(State::New);
            Ok(turn)
        })
    })?;
    report.add(name, measurement);
    Ok(())
}

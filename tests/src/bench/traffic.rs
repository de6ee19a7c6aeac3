//! Packets of each kind, in each mode and direction.

use anyhow::{Result, ensure};
use splitter_ebpf::abi::Mode;
use splitter_ebpf::drive::Drive;
use splitter_ebpf::flow::SYN;
use splitter_ebpf::verdict::Reason;

use super::Choice;
use super::establish::{Packets, to_clients, to_listener};
use super::measure::{Measurement, cpu_time};
use super::report::Report;
use super::scene::{CLIENT, Crew, FAMILIES, SCENES, STRANGER, Scene};
use super::world::World;
use crate::rig::{Runner, tcp};

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
    for (scene, family) in scenes() {
        let case = |what: &str| format!("{} {} {what}", scene.name(), FAMILIES[family]);
        let name = case("new hot");
        if choice.wants(&name) {
            world.rig.forget_flows();
            let (drive, segment) = to_listener(scene, Crew::Eight, CLIENT[family], 1 << 16);
            // Two buckets in eight packets make room for what they bring, whatever that is.
            let sweep = 4 / u32::try_from(scene.entries())?;
            let requests = (Drive { sweep, ..drive }, segment.flags(SYN));
            measure(world, choice, report, name, &requests, Reason::NewFlow)?;
        }
        let name = case("existing hot");
        if choice.wants(&name) {
            world.establish(scene, Crew::Eight, family, 1)?;
            let requests = to_listener(scene, Crew::Eight, CLIENT[family], 1);
            measure(world, choice, report, name, &requests, Reason::Pinned)?;
        }
        let name = case("reply hot");
        if choice.wants(&name) && !Mode::one_way(scene.mode as u8) {
            world.establish(scene, Crew::One, family, 1)?;
            let requests = to_listener(scene, Crew::One, CLIENT[family], 1);
            let replies = to_clients(scene, Crew::One, 0, &requests);
            measure(world, choice, report, name, &replies, Reason::Reply)?;
        }
    }
    Ok(())
}

/// 64 K flows and those that make a million entries, at the table's real load.
pub(super) fn many(world: &mut World, choice: &Choice, report: &mut Report) -> Result<()> {
    for (scene, family) in scenes() {
        let most = (1 << 20) / scene.entries();
        let case = |what: &str| format!("{} {} {what}", scene.name(), FAMILIES[family]);
        for (size, flows) in [("64 K", 1 << 16), ("1 M", most)] {
            if size == "64 K" && scene != SCENES[0] {
                continue;
            }
            let name = case(&format!("existing {size}"));
            if choice.wants(&name) {
                world.establish(scene, Crew::Eight, family, flows)?;
                report.note(&name, world);
                let requests = to_listener(scene, Crew::Eight, CLIENT[family], flows);
                measure(world, choice, report, name, &requests, Reason::Pinned)?;
            }
            // One backend has room for fewer than a million clients that are translated, and one that
            // finds none would get a RST, which nobody makes a packet of the bench again.
            let (size, flows) = match (scene.mode, size) {
                (Mode::FullNat, "1 M") => ("256 K", flows / 2),
                _ => (size, flows),
            };
            let name = case(&format!("reply {size}"));
            if choice.wants(&name) && !Mode::one_way(scene.mode as u8) {
                world.establish(scene, Crew::One, family, flows)?;
                report.note(&name, world);
                let requests = to_listener(scene, Crew::One, CLIENT[family], flows);
                let replies = to_clients(scene, Crew::One, 0, &requests);
                measure(world, choice, report, name, &replies, Reason::Reply)?;
            }
        }
        let name = case("reply 64 K clients");
        if choice.wants(&name) && scene == SCENES[0] {
            let (mut drive, segment) = to_listener(scene, Crew::One, CLIENT[family], 1 << 15);
            drive.port_bits = 0;
            let requests = (drive, segment);
            world.establish_these(scene, Crew::One, &requests)?;
            let replies = to_clients(scene, Crew::One, 0, &requests);
            measure(world, choice, report, name, &replies, Reason::Reply)?;
        }
        let name = case("new into 1 M");
        if choice.wants(&name) {
            world.establish(scene, Crew::Eight, family, most)?;
            report.note(&name, world);
            let new = (1 << 17) / scene.entries();
            let requests = to_listener(scene, Crew::Eight, STRANGER[family], new);
            new_flows(world, choice, report, name, requests)?;
        }
    }
    Ok(())
}

/// Every scene in both families.
fn scenes() -> impl Iterator<Item = (Scene, usize)> {
    SCENES
        .into_iter()
        .flat_map(|scene| [(scene, 0), (scene, 1)])
}

impl World {
    /// Opens so many flows, and lets their clients go on: each is pinned once, and found again.
    ///
    /// # Errors
    /// If one is not, and what the kernel says.
    pub fn pins(&mut self, flows: u32) -> Result<()> {
        let many = u64::from(flows).next_power_of_two();
        let (drive, segment) = to_listener(SCENES[0], Crew::Eight, CLIENT[0], many);
        let counted = |world: &Self| -> Result<[u64; 2]> {
            Ok([
                world.rig.counted(Reason::NewFlow)?,
                world.rig.counted(Reason::Pinned)?,
            ])
        };
        let before = counted(self)?;
        self.send(&drive, &segment.clone().flags(SYN), flows)?;
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
    (drive, segment): &Packets,
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
    (drive, segment): Packets,
) -> Result<()> {
    let count = u32::try_from(drive.mask + 1)?;
    let segment = segment.flags(SYN);
    let measurement = expecting(world, Reason::NewFlow, |world| {
        rounds(choice, || {
            let turn = world.turn(&drive, &segment, count)?;
            world.free_new();
            Ok(turn)
        })
    })?;
    report.add(name, measurement);
    Ok(())
}

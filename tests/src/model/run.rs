//! Trial after trial, and what is told of one that fails.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use splitter_ebpf::abi::FRAGMENTS;
use splitter_ebpf::verdict::{REASONS, Reason};

use super::Step;
use super::generate::Generator;
use super::packet::read;
use super::trial::{CLIENTS_MTU, Trial};
use super::world::World;
use crate::bench::pin_to_cpu;
use crate::rig::{isolate, route_to_clients};

/// Packets between two words about how far a run is.
const WORD: usize = 1_000_000;

/// What went wrong, and the steps that lead there.
#[derive(Debug)]
struct Failure {
    seed: u64,
    world: u64,
    what: String,
    steps: Vec<Step>,
    /// How many steps it took at first.
    taken: usize,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "seed {}, world {}: {}",
            self.seed, self.world, self.what
        )?;
        writeln!(formatter, "{:?}", World::of(self.seed, self.world))?;
        writeln!(
            formatter,
            "{} of {} steps lead there:",
            self.steps.len(),
            self.taken
        )?;
        for step in &self.steps {
            match step {
                Step::Packet(frame) => {
                    let bytes = frame.iter().fold(String::new(), |mut text, byte| {
                        let _never_fails = write!(text, "{byte:02x}");
                        text
                    });
                    writeln!(formatter, "  {:?} {bytes}", read(frame))?;
                }
                other => writeln!(formatter, "  {other:?}")?,
            }
        }
        Ok(())
    }
}

/// A part of a run, which has packets and a CPU of its own.
#[derive(Debug, Clone, Copy)]
pub struct Shard {
    /// What its worlds, packets and events come from.
    pub seed: u64,
    /// Packets, at least.
    pub packets: usize,
    /// Steps in one world.
    pub steps: usize,
    /// Its place among the parts that run at one time.
    pub number: usize,
}

impl Shard {
    /// Feeds program and model random packets, in one world after the other, and says on standard error how
    /// far it is. Returns how often each verdict was met.
    ///
    /// # Errors
    /// The first difference, with steps that lead to it.
    pub fn run(self) -> Result<BTreeMap<&'static str, u64>> {
        isolate()?;
        let ifindex = route_to_clients()?;
        let mut ip = Command::new("ip");
        ip.args(["link", "set", "clients", "mtu", &CLIENTS_MTU.to_string()]);
        ensure!(ip.status()?.success(), "no other MTU towards clients");
        // Caches of next hops are a CPU's own.
        pin_to_cpu(self.number % std::thread::available_parallelism()?)?;
        let (mut verdicts, started) = (BTreeMap::new(), Instant::now());
        let (mut done, mut word, mut number) = (0, WORD, 0);
        while done < self.packets {
            let counts = self.trial(number, ifindex, &mut done)?;
            for reason in Reason::ALL {
                *verdicts.entry(reason.name()).or_default() += counts[*reason as usize];
            }
            number += 1;
            if done >= word {
                let seconds = started.elapsed().as_secs_f64();
                eprintln!(
                    "shard {}: {done} of {} packets in {seconds:.0} s",
                    self.number, self.packets
                );
                word += WORD;
            }
        }
        Ok(verdicts)
    }

    /// One world, until it has had its steps or `done` all packets are. Returns how often each verdict was
    /// met there, by its number.
    fn trial(self, number: u64, ifindex: u32, done: &mut usize) -> Result<[u64; REASONS]> {
        let world = World::of(self.seed, number);
        let mut trial = Trial::new(&world, ifindex)?;
        let mut generator = Generator::new(self.seed ^ number.rotate_left(32));
        let mut steps = Vec::new();
        let mut result = Ok(());
        // The kernel's memory of first fragments forgets when it is full; the model does not.
        while result.is_ok()
            && steps.len() < self.steps
            && *done < self.packets
            && trial.model.fragments.len() < FRAGMENTS / 2
        {
            let step = generator.next(&trial.model, &world);
            *done += usize::from(matches!(step, Step::Packet(_)));
            result = trial.take(&step);
            steps.push(step);
        }
        let Err(error) = result.and_then(|()| trial.look_back()) else {
            return Ok(trial.counts);
        };
        let taken = steps.len();
        let steps = shortened(&world, ifindex, steps)?;
        let failure = Failure {
            seed: self.seed,
            world: number,
            what: format!("{error:#}"),
            steps,
            taken,
        };
        Err(anyhow::anyhow!("{failure}"))
    }
}

/// Leaves out what is not needed to go wrong: ever smaller stretches of steps, as long as it does.
fn shortened(world: &World, ifindex: u32, mut steps: Vec<Step>) -> Result<Vec<Step>> {
    const ATTEMPTS: usize = 150;
    let (mut attempts, mut stretch) = (0, steps.len() / 2);
    while stretch > 0 && attempts < ATTEMPTS {
        let mut at = 0;
        let before = steps.len();
        while at < steps.len() && attempts < ATTEMPTS {
            attempts += 1;
            let mut fewer = steps.clone();
            fewer.drain(at..(at + stretch).min(steps.len()));
            match fails_at(world, ifindex, &fewer)? {
                Some(end) => {
                    fewer.truncate(end);
                    steps = fewer;
                }
                None => at += stretch,
            }
        }
        if steps.len() == before || stretch > steps.len() {
            stretch = (stretch / 2).min(steps.len() / 2);
        }
    }
    Ok(steps)
}

/// How many of the steps it takes until something is wrong.
fn fails_at(world: &World, ifindex: u32, steps: &[Step]) -> Result<Option<usize>> {
    let mut trial = Trial::new(world, ifindex)?;
    for (number, step) in (1..).zip(steps) {
        if trial.take(step).is_err() {
            return Ok(Some(number));
        }
    }
    Ok(trial.look_back().is_err().then_some(steps.len()))
}

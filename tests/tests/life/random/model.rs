//! What must be in force, written down plainly: desired weights, drains, backends, and what undo goes back to.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use lab::{BACKENDS, Service, backends_of, track_of};
use rand::Rng as _;
use rand::rngs::SmallRng;

const TRACKS: [&str; 3] = ["blue", "green", "canary"];
/// Backends that come and go; each track has another that stays.
const COMING: [usize; 2] = [1, 3];

/// Weights of the tracks, in percent.
type Weights = [u32; 3];

/// One step.
#[derive(Debug, Clone)]
pub enum Step {
    /// An apply with these weights, and the backends of today.
    Apply(Weights),
    /// An apply without weights that brings a backend or takes it away.
    Backend(usize),
    Shift(Weights),
    Cutover(usize),
    Undo,
    Drain(usize),
    Ready(usize),
    DrainBackend(usize),
    ReadyBackend(usize),
    Kill,
    Restart,
}

impl Step {
    /// Any step, whatever is in force when it is taken.
    pub fn any(random: &mut SmallRng) -> Self {
        let mut weights = || {
            let blue = random.random_range(0..=100);
            let green = random.random_range(0..=100 - blue);
            [blue, green, 100 - blue - green]
        };
        let weights = weights();
        let (track, backend) = (
            random.random_range(0..TRACKS.len()),
            random.random_range(0..BACKENDS.len()),
        );
        match random.random_range(0..22) {
            0..=1 => Self::Apply(weights),
            2..=4 => Self::Backend(COMING[track % COMING.len()]),
            5..=7 => Self::Shift(weights),
            8..=10 => Self::Cutover(track),
            11..=13 => Self::Undo,
            14..=15 => Self::Drain(track),
            16..=17 => Self::Ready(track),
            18 => Self::DrainBackend(backend),
            19 => Self::ReadyBackend(backend),
            20 => Self::Kill,
            _ => Self::Restart,
        }
    }

    /// As an operator types it.
    pub fn line(&self) -> String {
        let address = |backend: usize| format!("{}:80", BACKENDS[backend].v4);
        match self {
            Self::Shift([blue, green, canary]) => {
                format!("set-weight web blue={blue}% green={green}% canary={canary}%")
            }
            Self::Cutover(track) => format!("cutover web --to {}", TRACKS[*track]),
            Self::Undo => "undo web".to_owned(),
            Self::Drain(track) => format!("drain web {}", TRACKS[*track]),
            Self::Ready(track) => format!("ready web {}", TRACKS[*track]),
            Self::DrainBackend(backend) => format!("drain web {}", address(*backend)),
            Self::ReadyBackend(backend) => format!("ready web {}", address(*backend)),
            Self::Apply(_) | Self::Backend(_) | Self::Kill | Self::Restart => String::new(),
        }
    }
}

/// What undo goes back to.
#[derive(Debug, Clone)]
struct Anchor {
    weights: Weights,
    drained: BTreeSet<usize>,
    digest: String,
}

/// What is in force.
#[derive(Debug, Clone)]
pub struct Model {
    pub generation: u64,
    weights: Weights,
    drained: BTreeSet<usize>,
    /// Backends that were drained over their IPv4 address: the other one goes on.
    drained_backends: BTreeSet<usize>,
    absent: BTreeSet<usize>,
    anchor: Option<Anchor>,
    /// The digest that was seen last; none while it is not known.
    digest: Option<String>,
    /// The digest that must be seen next.
    expected: Option<String>,
}

impl Model {
    pub fn new() -> Self {
        Self {
            generation: 1,
            weights: [60, 30, 10],
            drained: BTreeSet::new(),
            drained_backends: BTreeSet::new(),
            absent: BTreeSet::new(),
            anchor: None,
            digest: None,
            expected: None,
        }
    }

    /// Whether clients find somebody wherever the step may send them; what an operator may do though.
    pub fn allows(&self, step: &Step) -> bool {
        match step {
            Step::Backend(backend) => self.absent.contains(backend) || self.others(*backend),
            Step::DrainBackend(backend) => !self.absent.contains(backend) && self.others(*backend),
            Step::ReadyBackend(backend) => !self.absent.contains(backend),
            Step::Drain(track) => {
                let mut next = self.clone();
                next.drained.insert(*track);
                next.shares().is_some()
            }
            Step::Apply(weights) | Step::Shift(weights) => {
                let mut next = self.clone();
                next.weights = *weights;
                next.shares().is_some()
            }
            _ => true,
        }
    }

    /// Whether the track of a backend has another one that takes new flows.
    fn others(&self, backend: usize) -> bool {
        let track = track_of(BACKENDS[backend].name);
        BACKENDS.iter().enumerate().any(|(other, one)| {
            other != backend
                && track_of(one.name) == track
                && !self.absent.contains(&other)
                && !self.drained_backends.contains(&other)
        })
    }

    /// Takes a step; says whether it is accepted.
    pub fn take(&mut self, step: &Step) -> bool {
        let before = self.clone();
        match step {
            Step::Kill | Step::Restart => return true,
            Step::Apply(weights) | Step::Shift(weights) => self.weights = *weights,
            Step::Cutover(track) => {
                if self.drained.contains(track) {
                    return false;
                }
                self.weights = [0; 3];
                self.weights[*track] = 100;
            }
            Step::Undo => return self.undo(),
            Step::Drain(track) => {
                self.drained.insert(*track);
            }
            Step::Ready(track) => {
                self.drained.remove(track);
            }
            Step::DrainBackend(backend) => {
                self.drained_backends.insert(*backend);
            }
            Step::ReadyBackend(backend) => {
                self.drained_backends.remove(backend);
            }
            Step::Backend(backend) => {
                if !self.absent.remove(backend) {
                    self.absent.insert(*backend);
                    self.drained_backends.remove(backend);
                }
            }
        }
        if self.shares().is_none() {
            *self = before;
            return false;
        }
        let changed = (
            self.weights,
            &self.drained,
            &self.drained_backends,
            &self.absent,
        ) != (
            before.weights,
            &before.drained,
            &before.drained_backends,
            &before.absent,
        );
        if changed && self.generation == before.generation {
            self.generation += 1;
        }
        if self.shares() == before.shares() {
            self.expected.clone_from(&before.digest);
        } else {
            self.expected = None;
            self.anchor = Some(before.as_anchor());
        }
        true
    }

    fn as_anchor(&self) -> Anchor {
        Anchor {
            weights: self.weights,
            drained: self.drained.clone(),
            digest: self.digest.clone().unwrap_or_default(),
        }
    }

    /// The same clients as before, in one step; a second one toggles.
    fn undo(&mut self) -> bool {
        let Some(anchor) = self.anchor.clone() else {
            return false;
        };
        self.anchor = Some(self.as_anchor());
        self.weights = anchor.weights;
        self.drained = anchor.drained;
        self.expected = Some(anchor.digest);
        self.generation += 1;
        true
    }

    /// The digest that the agent shows: after an undo, a kill, or what leaves the split alone, a known one.
    pub fn see(&mut self, digest: &str) -> Result<()> {
        if let Some(expected) = &self.expected {
            ensure!(expected == digest, "the split is {digest}, not {expected}");
        }
        self.expected = Some(digest.to_owned());
        self.digest = Some(digest.to_owned());
        Ok(())
    }

    /// Shares of new flows as parts of a whole, reduced; none if nobody would be left.
    fn shares(&self) -> Option<[(u32, u32); 3]> {
        let part = |track: usize| {
            if self.drained.contains(&track) {
                0
            } else {
                self.weights[track]
            }
        };
        let whole: u32 = (0..3).map(part).sum();
        let reduced = |track| {
            let common = divisor(part(track), whole);
            (part(track) / common, whole / common)
        };
        (whole > 0).then(|| [0, 1, 2].map(reduced))
    }

    /// A track's desired weight, its share of new flows, and whether it is drained.
    pub fn track(&self, name: &str) -> (u32, f64, bool) {
        let track = TRACKS
            .iter()
            .position(|track| *track == name)
            .expect("a track of ours");
        let (part, whole) = self.shares().expect("somebody is left")[track];
        (
            self.weights[track],
            f64::from(part) / f64::from(whole),
            self.drained.contains(&track),
        )
    }

    /// Backends that a new flow may meet.
    pub fn usable(&self) -> BTreeSet<&'static str> {
        let shares: BTreeMap<&str, u32> = TRACKS
            .into_iter()
            .zip(self.shares().expect("somebody is left"))
            .map(|(track, (part, _))| (track, part))
            .collect();
        let served = TRACKS.into_iter().filter(|track| shares[track] > 0);
        served
            .flat_map(backends_of)
            .filter(|backend| {
                let number = BACKENDS.iter().position(|one| one.name == backend.name);
                number.is_some_and(|number| !self.absent.contains(&number))
            })
            .map(|backend| backend.name)
            .collect()
    }

    /// The service as a file: with these weights or without any, and with a backend more or less.
    pub fn yaml(
        &self,
        service: &Service,
        weights: Option<Weights>,
        toggled: Option<usize>,
    ) -> String {
        let mut yaml = service.clone().without_weights().to_yaml();
        for (track, percent) in TRACKS.iter().zip(weights.into_iter().flatten()) {
            let name = format!("    - name: {track}\n");
            yaml = yaml.replace(&name, &format!("{name}      weight: {percent}%\n"));
        }
        let absent = |number: usize| self.absent.contains(&number) != (toggled == Some(number));
        let gone: Vec<String> = (0..BACKENDS.len())
            .filter(|number| absent(*number))
            .flat_map(|number| {
                let backend = BACKENDS[number];
                [format!("\"{}\"", backend.v4), format!("\"{}\"", backend.v6)]
            })
            .collect();
        let kept = yaml
            .lines()
            .filter(|line| !gone.iter().any(|address| line.contains(address)));
        kept.map(|line| format!("{line}\n")).collect()
    }
}

/// The greatest common divisor; of 0 and `b`, `b`.
fn divisor(a: u32, b: u32) -> u32 {
    if a == 0 { b.max(1) } else { divisor(b % a, a) }
}

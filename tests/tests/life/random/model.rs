//! What must be in force, written down plainly: desired weights, routes, what is out, backends, and what undo goes
//! back to.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use lab::{BACKENDS, Service, backends_of, track_of};
use rand::Rng as _;
use rand::rngs::SmallRng;

const TRACKS: [&str; 3] = ["blue", "green", "canary"];
/// Backends that come and go; each track has another that stays.
const COMING: [usize; 2] = [1, 3];

/// How many splits undo can go back to.
const ANCHORS: usize = 8;
/// A network that no client is in.
const ELSEWHERE: &str = "198.18.77.0/24";

/// Weights of the tracks, in percent.
type Weights = [u32; 3];

/// How something was taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Out {
    Draining,
    Maint,
}

/// One step.
#[derive(Debug, Clone)]
pub enum Step {
    /// An apply with these weights, and the backends of today.
    Apply(Weights),
    /// An apply without weights that brings a backend or takes it away.
    Backend(usize),
    /// An apply without weights that leads a network without clients to a track, or nowhere.
    Route(Option<usize>),
    Shift(Weights),
    Ramp(Weights),
    Cutover(usize),
    Undo,
    /// To one of the generations that undo can go back to, or that are in force.
    UndoTo(usize),
    Drain(usize),
    Maint(usize),
    Ready(usize),
    DrainBackend(usize),
    MaintBackend(usize),
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
        match random.random_range(0..32) {
            0..=1 => Self::Apply(weights),
            2..=4 => Self::Backend(COMING[track % COMING.len()]),
            5..=7 => Self::Shift(weights),
            8..=10 => Self::Cutover(track),
            11..=13 => Self::Undo,
            14..=16 => Self::UndoTo(random.random_range(0..64)),
            17..=18 => Self::Drain(track),
            19 => Self::Maint(track),
            20..=22 => Self::Ready(track),
            23 => Self::DrainBackend(backend),
            24 => Self::MaintBackend(backend),
            25..=26 => Self::ReadyBackend(backend),
            27..=28 => Self::Route(Some(track).filter(|_| random.random_bool(0.7))),
            29 => Self::Ramp(weights),
            30 => Self::Kill,
            _ => Self::Restart,
        }
    }

    /// As an operator types it while the model is in force.
    pub fn line(&self, model: &Model) -> String {
        let address = |backend: usize| format!("{}:80", BACKENDS[backend].v4);
        match self {
            Self::Shift([blue, green, canary]) => {
                format!("set-weight web blue={blue}% green={green}% canary={canary}%")
            }
            Self::Ramp([blue, green, canary]) => {
                format!("set-weight web blue={blue}% green={green}% canary={canary}% --ramp 1s")
            }
            Self::Cutover(track) => format!("cutover web --to {}", TRACKS[*track]),
            Self::Undo => "undo web".to_owned(),
            Self::UndoTo(choice) => {
                format!("undo web --to-generation {}", model.generation_of(*choice))
            }
            Self::Drain(track) => format!("drain web {}", TRACKS[*track]),
            Self::Maint(track) => format!("maint web {}", TRACKS[*track]),
            Self::Ready(track) => format!("ready web {}", TRACKS[*track]),
            Self::DrainBackend(backend) => format!("drain web {}", address(*backend)),
            Self::MaintBackend(backend) => format!("maint web {}", address(*backend)),
            Self::ReadyBackend(backend) => format!("ready web {}", address(*backend)),
            Self::Apply(_) | Self::Backend(_) | Self::Route(_) | Self::Kill | Self::Restart => {
                String::new()
            }
        }
    }
}

/// What undo goes back to.
#[derive(Debug, Clone)]
struct Anchor {
    /// The generations that mean it.
    since: u64,
    last: u64,
    weights: Weights,
    route: Option<usize>,
    out: BTreeMap<usize, Out>,
    digest: String,
}

/// What is in force.
#[derive(Debug, Clone)]
pub struct Model {
    pub generation: u64,
    split_since: u64,
    weights: Weights,
    route: Option<usize>,
    out: BTreeMap<usize, Out>,
    /// Backends that were taken out over their IPv4 address: the other one goes on.
    backends_out: BTreeMap<usize, Out>,
    absent: BTreeSet<usize>,
    /// Newest first.
    anchors: Vec<Anchor>,
    /// The digest that was seen last; none while it is not known.
    digest: Option<String>,
    /// The digest that must be seen next.
    expected: Option<String>,
}

impl Model {
    pub fn new() -> Self {
        Self {
            generation: 1,
            split_since: 1,
            weights: [60, 30, 10],
            route: None,
            out: BTreeMap::new(),
            backends_out: BTreeMap::new(),
            absent: BTreeSet::new(),
            anchors: Vec::new(),
            digest: None,
            expected: None,
        }
    }

    /// Whether clients find somebody wherever the step may send them; what an operator may do though.
    pub fn allows(&self, step: &Step) -> bool {
        match step {
            Step::Backend(backend) => self.absent.contains(backend) || self.others(*backend),
            Step::DrainBackend(backend) | Step::MaintBackend(backend) => {
                !self.absent.contains(backend) && self.others(*backend)
            }
            Step::ReadyBackend(backend) => !self.absent.contains(backend),
            Step::Drain(track) | Step::Maint(track) => {
                let mut next = self.clone();
                next.out.insert(*track, Out::Maint);
                next.shares().is_some()
            }
            Step::Apply(weights) | Step::Shift(weights) | Step::Ramp(weights) => {
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
                && !self.backends_out.contains_key(&other)
        })
    }

    /// Takes a step; says whether it is accepted.
    pub fn take(&mut self, step: &Step) -> bool {
        let before = self.clone();
        match step {
            Step::Kill | Step::Restart => return true,
            Step::Apply(weights) | Step::Shift(weights) | Step::Ramp(weights) => {
                self.weights = *weights;
            }
            Step::Cutover(track) => {
                if self.out.contains_key(track) {
                    return false;
                }
                self.weights = [0; 3];
                self.weights[*track] = 100;
            }
            Step::Undo => {
                let Some(anchor) = self.anchors.first().cloned() else {
                    return false;
                };
                self.go_back(anchor);
                return true;
            }
            Step::UndoTo(choice) => {
                let generation = self.generation_of(*choice);
                let means = |anchor: &&Anchor| (anchor.since..=anchor.last).contains(&generation);
                if let Some(anchor) = self.anchors.iter().find(means).cloned() {
                    self.go_back(anchor);
                }
                return true;
            }
            Step::Drain(track) => {
                self.out.insert(*track, Out::Draining);
            }
            Step::Maint(track) => {
                self.out.insert(*track, Out::Maint);
            }
            Step::Ready(track) => {
                self.out.remove(track);
            }
            Step::DrainBackend(backend) => {
                self.backends_out.insert(*backend, Out::Draining);
            }
            Step::MaintBackend(backend) => {
                self.backends_out.insert(*backend, Out::Maint);
            }
            Step::ReadyBackend(backend) => {
                self.backends_out.remove(backend);
            }
            Step::Route(track) => self.route = *track,
            Step::Backend(backend) => {
                if !self.absent.remove(backend) {
                    self.absent.insert(*backend);
                    self.backends_out.remove(backend);
                }
            }
        }
        if self.shares().is_none() {
            *self = before;
            return false;
        }
        self.count(&before);
        if self.split() == before.split() {
            self.expected.clone_from(&before.digest);
        } else {
            self.expected = None;
            self.remember(&before);
        }
        true
    }

    /// The track that the route leads to.
    pub fn route(&self) -> Option<usize> {
        self.route
    }

    /// A generation for what is another than before.
    fn count(&mut self, before: &Self) {
        let desired = |model: &Self| {
            (
                model.weights,
                model.route,
                model.out.clone(),
                model.backends_out.clone(),
                model.absent.clone(),
            )
        };
        if desired(self) != desired(before) {
            self.generation += 1;
        }
    }

    /// What undo can go back to from now on.
    fn remember(&mut self, before: &Self) {
        self.anchors.insert(
            0,
            Anchor {
                since: before.split_since,
                last: before.generation,
                weights: before.weights,
                route: before.route,
                out: before.out.clone(),
                digest: before.digest.clone().unwrap_or_default(),
            },
        );
        self.anchors.truncate(ANCHORS);
        self.split_since = self.generation;
    }

    /// The same clients as before, in one step; a second one toggles.
    fn go_back(&mut self, anchor: Anchor) {
        let before = self.clone();
        // Who got new flows then is ready, or out as it was then; who did not stays as it is today.
        let gets = |track: usize| anchor.weights[track] > 0 || anchor.route == Some(track);
        self.out
            .retain(|track, _| anchor.out.contains_key(track) || !gets(*track));
        for (track, out) in &anchor.out {
            self.out.entry(*track).or_insert(*out);
        }
        self.weights = anchor.weights;
        self.route = anchor.route;
        self.count(&before);
        if before.digest.as_ref() != Some(&anchor.digest) {
            self.remember(&before);
        }
        self.expected = Some(anchor.digest);
    }

    /// One of the generations that undo can go back to, or that have the split in force.
    fn generation_of(&self, choice: usize) -> u64 {
        let anchors = self.anchors.iter();
        let ranges = anchors.map(|anchor| anchor.since..=anchor.last);
        let all = ranges.chain([self.split_since..=self.generation]);
        let all: Vec<u64> = all.flatten().collect();
        all[choice % all.len()]
    }

    /// What decides who goes where: shares, and the route's track if it takes new flows.
    fn split(&self) -> (Option<[(u32, u32); 3]>, Option<usize>) {
        let route = self.route.filter(|track| !self.out.contains_key(track));
        (self.shares(), route)
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
            if self.out.contains_key(&track) {
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

    /// A track's desired weight, its share of new flows, and whether it is out.
    pub fn track(&self, name: &str) -> (u32, f64, bool) {
        let track = TRACKS
            .iter()
            .position(|track| *track == name)
            .expect("a track of ours");
        let (part, whole) = self.shares().expect("somebody is left")[track];
        (
            self.weights[track],
            f64::from(part) / f64::from(whole),
            self.out.contains_key(&track),
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

    /// The service as a file: with these weights or without any, with a backend more or less, and with a route.
    pub fn yaml(
        &self,
        service: &Service,
        weights: Option<Weights>,
        toggled: Option<usize>,
        route: Option<usize>,
    ) -> String {
        let mut yaml = service.clone().without_weights().to_yaml();
        if let Some(track) = route {
            let route = format!(
                "  routes: [{{match: {{source: [{ELSEWHERE}]}}, track: {}}}]\n",
                TRACKS[track]
            );
            yaml = yaml.replace("  tracks:\n", &format!("{route}  tracks:\n"));
        }
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

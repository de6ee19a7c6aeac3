//! One service in force.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use splitter_ebpf::abi::{Affinity as Covers, SplitHeader};
use splitter_ebpf::hash::derive;
use splitter_ebpf::wire::{Family, WireAddress};

use super::{Ids, Steering};
use crate::model::{
    Affinity, AffinityKey, Backend, Listener, OnTimeout, Route, Service, Track, Weight,
};
use crate::share::{self, ShareError};
use crate::table::slow_start;
use crate::table::split::{Share, Slots};

/// Instead of a table's number: the split is in no table. The writer has not placed it yet, or it is
/// an anchor that is not the newest one.
pub const UNPLACED: u8 = u8::MAX;

/// How many splits of before a service remembers, to go back to.
pub const ANCHORS: usize = 8;

/// A split: who owns which slot, and how slots are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Owners by slot.
    pub slots: Arc<Slots>,
    /// What the hash covers.
    pub affinity: Affinity,
    /// What the hash is keyed with beside the host's secret.
    pub salt: String,
    /// Where flows go that do not go by their slot.
    pub steering: Steering,
    /// Which of the service's four tables holds it.
    pub table: u8,
}

impl Split {
    /// Whether both send every flow of a client to the same track.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        // The salt in the affinity is what was written; the one beside it is what counts.
        let covers = |split: &Self| {
            let affinity = &split.affinity;
            let prefixes = (affinity.prefix_v4, affinity.prefix_v6);
            (affinity.key, affinity.backend, prefixes)
        };
        self.slots == other.slots
            && self.salt == other.salt
            && covers(self) == covers(other)
            && self.steering.same_for_clients(&other.steering)
    }

    /// The same split with other ways beside its slots: in another table, if those differ.
    #[must_use]
    pub fn steered(mut self, steering: Steering) -> Self {
        if self.steering != steering {
            self.steering = steering;
            self.table = UNPLACED;
        }
        self
    }

    /// How the table is entered, for a host with this secret and these numbers of listeners.
    #[must_use]
    pub fn header(&self, secret: &[u8; 32], listeners: &Ids<Listener>) -> SplitHeader {
        let cell = |track: Option<u8>| track.map_or(0, |number| number + 1);
        let preview = self.steering.preview.as_ref();
        let mut flags = 0;
        if !self.steering.routes.is_empty() {
            flags |= SplitHeader::ROUTES;
        }
        if self.affinity.backend == AffinityKey::ClientIp {
            flags |= SplitHeader::BACKEND_BY_CLIENT;
        }
        SplitHeader {
            split_key: derive(secret, "split", &self.salt),
            track_key: derive(secret, "track", ""),
            mask_v6: WireAddress::prefix_mask(self.affinity.prefix_v6, Family::V6),
            mask_v4: WireAddress::prefix_mask(self.affinity.prefix_v4, Family::V4).0[0],
            affinity: match self.affinity.key {
                AffinityKey::Flow => Covers::Flow,
                AffinityKey::ClientIp => Covers::ClientIp,
            } as u32,
            fallback: cell(self.steering.fallback),
            preview: cell(preview.and_then(|preview| preview.track)),
            preview_listener: preview
                .and_then(|preview| listeners.get(&preview.listener))
                .unwrap_or(0),
            flags,
        }
    }
}

/// A split of before, to go back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The generation that made it.
    pub since: u64,
    /// The last generation that left it as it was: those from `since` to this one mean this split.
    pub generation: u64,
    /// It.
    pub split: Split,
    /// The weights that were desired then.
    pub weights: Vec<(String, Weight)>,
    /// The routes that were desired then.
    pub routes: Vec<Route>,
    /// The fallback that was desired then.
    pub fallback: Option<String>,
    /// The tracks that were drained then.
    pub drained: BTreeMap<String, Drain>,
}

/// What has become of the split of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitFate<'s> {
    /// It is in force.
    Current,
    /// Undo can go back to it.
    Anchor(&'s Anchor),
    /// More than [`ANCHORS`] splits have come after it.
    Gone,
    /// There has been no such generation.
    Unknown,
}

/// A ramp in progress: the split goes from the slots that it had to those of the desired weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ramp {
    /// Slots by track number when it began.
    pub start: [u32; crate::model::MAX_TRACKS],
    /// How long it takes, in milliseconds.
    pub duration_ms: u64,
    /// How much of that has passed while an agent ran.
    pub done_ms: u64,
}

impl Ramp {
    /// What is left of its time.
    #[must_use]
    pub const fn left(&self) -> Duration {
        Duration::from_millis(self.duration_ms.saturating_sub(self.done_ms))
    }
}

/// How an operator took a track or a backend out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Out {
    /// Pinned flows go on until the deadline.
    #[default]
    Draining,
    /// Pinned flows go on, without a deadline.
    Maint,
    /// Pinned flows are reset.
    Quarantined,
}

/// What took a track or a backend out: a drain, `maint` or `quarantine`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// When it was asked for; milliseconds since 1970.
    pub since: u64,
    /// Its deadline; milliseconds since 1970. [`u64::MAX`]: none.
    pub deadline: u64,
    /// Which of them it is.
    #[serde(default)]
    pub out: Out,
    /// What becomes of flows that outlive the deadline.
    #[serde(default)]
    pub on_timeout: OnTimeout,
    /// Milliseconds over which they are closed, if they are not kept.
    #[serde(default)]
    pub spread: u64,
    /// Packets that had gone to it unpinned when it began.
    #[serde(default)]
    pub unpinned_before: u64,
}

impl Drain {
    /// What is to be done to the flows that it is about: none if they are kept for good.
    #[must_use]
    pub fn closing(&self) -> Option<Closing> {
        let (since, ending) = match (self.out, self.on_timeout) {
            (Out::Maint, _) | (Out::Draining, OnTimeout::Keep) => return None,
            (Out::Draining, OnTimeout::Reset) => (self.deadline, Ending::Reset),
            (Out::Draining, OnTimeout::Resteer) => (self.deadline, Ending::Resteer),
            (Out::Quarantined, _) => (self.since, Ending::Reset),
        };
        Some(Closing {
            since,
            spread: self.spread,
            ending,
        })
    }
}

/// How flows end that are not left to end by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// Both ends are told by a RST.
    Reset,
    /// The pin is freed, and the next packet is split anew.
    Resteer,
}

/// Flows that are closed, evenly over a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// From when on; milliseconds since 1970.
    pub since: u64,
    /// The milliseconds over which they are.
    pub spread: u64,
    /// How.
    pub ending: Ending,
}

/// A service in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceState {
    /// What is desired; every track has its weight.
    pub spec: Service,
    /// Number of the last operator's change.
    pub generation: u64,
    /// The generation that made the split in force.
    pub split_since: u64,
    /// Numbers of tracks in the slots, those of the anchors included.
    pub numbers: BTreeMap<String, u8>,
    /// Tracks that are drained.
    pub drained_tracks: BTreeMap<String, Drain>,
    /// Backends that are drained, with the port that is written (0: none is).
    pub drained_backends: BTreeMap<(IpAddr, u16), Drain>,
    /// Tracks that a change has left and whose flows are closed, by name.
    pub closings: BTreeMap<String, Closing>,
    /// Backends that became ready a while ago, with the port that is written (0: none is), and when;
    /// milliseconds since 1970. Those whose slow start is over stay here until the next change.
    pub warming: BTreeMap<(IpAddr, u16), u64>,
    /// Slots are on their way to where the desired weights have them.
    pub ramp: Option<Ramp>,
    /// The split in force.
    pub split: Split,
    /// What undo can go back to, newest first, at most [`ANCHORS`]. The newest one alone stays in a
    /// table of the data plane.
    pub anchors: Vec<Anchor>,
}

impl ServiceState {
    /// What undo goes back to if nothing else is asked for.
    #[must_use]
    pub fn anchor(&self) -> Option<&Anchor> {
        self.anchors.first()
    }

    /// Makes the split of `before` the newest anchor, and the one in force that of the next generation: also where
    /// a ramp has moved none of its slots yet. The oldest anchor goes when there are too many.
    pub fn remember(&mut self, before: &Self) {
        self.split_since = before.generation + 1;
        for anchor in &mut self.anchors {
            anchor.split.table = UNPLACED;
        }
        let newest = Anchor {
            since: before.split_since,
            generation: before.generation,
            split: before.split.clone(),
            // Of a ramp that is on its way, what it has come to.
            weights: match &before.ramp {
                Some(_) => before.weights_of_slots(),
                None => before.weights(),
            },
            routes: before.spec.routes.clone(),
            fallback: before.spec.fallback.clone(),
            drained: before.drained_tracks.clone(),
        };
        self.anchors.insert(0, newest);
        self.anchors.truncate(ANCHORS);
    }

    /// What has become of the split of a generation.
    #[must_use]
    pub fn fate_of(&self, generation: u64) -> SplitFate<'_> {
        if generation > self.generation || generation == 0 {
            return SplitFate::Unknown;
        }
        if generation >= self.split_since {
            return SplitFate::Current;
        }
        let of = |anchor: &&Anchor| (anchor.since..=anchor.generation).contains(&generation);
        match self.anchors.iter().find(of) {
            Some(anchor) => SplitFate::Anchor(anchor),
            None => SplitFate::Gone,
        }
    }

    /// Desired weights by track.
    #[must_use]
    pub fn weights(&self) -> Vec<(String, Weight)> {
        self.spec
            .tracks
            .iter()
            .map(|track| (track.name.clone(), track.weight.unwrap_or_default()))
            .collect()
    }

    /// Names of the tracks that are drained.
    #[must_use]
    pub fn drained(&self) -> BTreeSet<String> {
        self.drained_tracks.keys().cloned().collect()
    }

    /// A track's number.
    #[must_use]
    pub fn number_of(&self, track: &str) -> Option<u8> {
        self.numbers.get(track).copied()
    }

    /// The tracks' parts of new flows, drains considered.
    ///
    /// # Errors
    /// If nobody would be left.
    pub fn shares(&self) -> Result<Vec<Share<'_>>, ShareError> {
        let parts = share::effective(&self.weights(), &self.drained())?;
        Ok(parts
            .into_iter()
            .filter_map(|(name, parts)| {
                let (name, number) = self.numbers.get_key_value(&name)?;
                Some(Share {
                    track: *number,
                    name,
                    parts,
                })
            })
            .collect())
    }

    /// Slots by track name, for those the spec has.
    #[must_use]
    pub fn slots_of(&self, track: &str) -> u32 {
        let counts = self.split.slots.counts();
        self.number_of(track)
            .map_or(0, |number| counts[usize::from(number)])
    }

    /// Whether a backend may take new flows.
    #[must_use]
    pub fn takes_new_flows(&self, address: IpAddr, port: Option<u16>) -> bool {
        !self
            .drained_backends
            .contains_key(&(address, port.unwrap_or(0)))
    }

    /// Whether a track is drained and keeps its slots nevertheless, since nobody is left to take them: its new
    /// flows find no backend.
    #[must_use]
    pub fn is_closed(&self, track: &str) -> bool {
        self.drained_tracks.contains_key(track) && self.slots_of(track) > 0
    }

    /// Tracks that [are closed](Self::is_closed).
    fn closed(&self) -> Vec<&str> {
        let drained = self.drained_tracks.keys().map(String::as_str);
        drained.filter(|track| self.is_closed(track)).collect()
    }

    /// Notes which backends have become ready since `before`: those of tracks with a slow start come in slowly.
    pub fn warm_up(&mut self, before: &Self, now: u64) {
        let mut warming = BTreeMap::new();
        for track in &self.spec.tracks {
            let Some(slow_start) = &track.slow_start else {
                continue;
            };
            let served = before.spec.track(&track.name);
            for backend in &track.backends {
                let key = (backend.address, backend.port.unwrap_or(0));
                let was_there = served.is_some_and(|served| {
                    served
                        .backends
                        .iter()
                        .any(|other| (other.address, other.port.unwrap_or(0)) == key)
                });
                if self.drained_backends.contains_key(&key) {
                    continue;
                }
                let since = if was_there && !before.drained_backends.contains_key(&key) {
                    self.warming.get(&key).copied()
                } else {
                    Some(now)
                };
                let is_over = |since: &u64| slow_start.duration <= elapsed(*since, now);
                if let Some(since) = since.filter(|since| !is_over(since)) {
                    warming.insert(key, since);
                }
            }
        }
        self.warming = warming;
    }

    /// The part of its weight that a backend of a track has at `now`, in thousandths.
    #[must_use]
    pub fn part_of(&self, track: &Track, backend: &Backend, now: u64) -> u32 {
        let since = self
            .warming
            .get(&(backend.address, backend.port.unwrap_or(0)));
        match (since, &track.slow_start) {
            (Some(since), Some(slow_start)) => {
                slow_start::part(elapsed(*since, now), slow_start.duration, slow_start.curve)
            }
            _ => slow_start::WHOLE,
        }
    }

    /// Whether both have the same listeners and backends, and the same of them take new flows: they
    /// differ in nothing but splits.
    #[must_use]
    pub fn serves_like(&self, other: &Self) -> bool {
        let tracks = |service: &Self| {
            let tracks = service.spec.tracks.iter();
            tracks
                .map(|track| (track.name.clone(), track.backends.clone()))
                .collect::<Vec<_>>()
        };
        self.numbers == other.numbers
            && self.spec.dialled().eq(other.spec.dialled())
            && self
                .drained_backends
                .keys()
                .eq(other.drained_backends.keys())
            && self.closed() == other.closed()
            && self.warming == other.warming
            && tracks(self) == tracks(other)
    }

    /// A short name for everything that decides who goes where: the same wherever the same clients meet the
    /// same tracks, given the same secret, and another one wherever some do not.
    #[must_use]
    pub fn digest(&self) -> String {
        let names: Vec<(u8, &str)> = self
            .numbers
            .iter()
            .map(|(name, number)| (*number, name.as_str()))
            .collect();
        let Split {
            slots,
            affinity,
            salt,
            steering,
            table: _,
        } = &self.split;
        let name_of = |number: u8| {
            let known = names.iter().find(|(known, _)| *known == number);
            known.map_or("", |(_, name)| *name)
        };
        let mut parts = vec![
            format!("salt={salt}"),
            format!("key={}", affinity.key.name()),
        ];
        if affinity.key == AffinityKey::ClientIp {
            let (v4, v6) = (affinity.prefix_v4, affinity.prefix_v6);
            parts.push(format!("prefix={v4},{v6}"));
            parts.push(format!("backend={}", affinity.backend.name()));
        }
        parts.extend(
            steering
                .routes
                .iter()
                .map(|(start, track)| format!("route={start},{}", track.map_or("", name_of))),
        );
        parts.extend(
            steering
                .fallback
                .map(|track| format!("fallback={}", name_of(track))),
        );
        parts.extend(steering.preview.as_ref().map(|preview| {
            format!(
                "preview={},{}",
                preview.listener,
                preview.track.map_or("", name_of)
            )
        }));
        crate::table::digest::digest(slots, &names, &parts)
    }
}

/// The time from one moment to a later one, both in milliseconds since 1970. A clock that was set back ends
/// what was begun by it, rather than stop it until then.
fn elapsed(since: u64, now: u64) -> Duration {
    now.checked_sub(since)
        .map_or(Duration::MAX, Duration::from_millis)
}

//! What happened in the last minute, from counters that the program keeps, read once a second.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use splitter_ebpf::abi::BackendCounters;
use splitter_ebpf::verdict::{REASONS, Reason};

use super::Writer;
use crate::api::types::{ApiError, ConditionKind, FlowTableView};
use crate::dataplane::{DataPlane, PlaneError};
use crate::model::{Family, NoBackend};
use crate::plan::Plan;
use crate::state::{BackendKey, IdState, World};

/// Seconds that observed shares cover.
pub(super) const WINDOW: usize = 60;

/// One second's readings.
#[derive(Debug, Clone, Default)]
struct Reading {
    backends: BTreeMap<u16, BackendCounters>,
    unpinned: u64,
    table_full: u64,
    nat_exhausted: u64,
}

/// The last minute's readings, oldest first.
#[derive(Debug, Default)]
pub(super) struct Observations {
    readings: VecDeque<Reading>,
    seconds: u64,
}

/// Figures of one backend, for metrics.
#[derive(Debug, Clone)]
pub struct BackendFigures {
    /// Which backend.
    pub key: BackendKey,
    /// Its track's version.
    pub version: Option<String>,
    /// Flows pinned to it since its number was given out.
    pub new_flows: u64,
    /// Flows that live.
    pub flows: u64,
}

/// Figures of one track, for metrics.
#[derive(Debug, Clone)]
pub struct TrackFigures {
    /// The service.
    pub service: String,
    /// The track.
    pub track: String,
    /// Its version.
    pub version: Option<String>,
    /// Its slots.
    pub slots: u32,
}

/// What metrics are made of.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Backends.
    pub backends: Vec<BackendFigures>,
    /// Tracks.
    pub tracks: Vec<TrackFigures>,
    /// Services and their generations.
    pub generations: Vec<(String, u64)>,
    /// Packets by reason.
    pub verdicts: Vec<(Reason, u64)>,
    /// Flows that were closed.
    pub closes: super::Closes,
    /// The flow table.
    pub flow_table: FlowTableView,
    /// Conditions that hold.
    pub conditions: Vec<ConditionKind>,
}

impl Observations {
    /// New flows within the window that the weights sent to a backend: what observed shares are of.
    pub(super) fn new_flows(&self, backend: u16) -> u64 {
        let count = |reading: Option<&Reading>| {
            reading
                .and_then(|reading| reading.backends.get(&backend))
                .map_or(0, |counters| {
                    counters.new_flows.saturating_sub(counters.aside)
                })
        };
        // A backend that was not there at the window's start began at what its number had counted before.
        let first = self
            .readings
            .iter()
            .find(|reading| reading.backends.contains_key(&backend));
        count(self.readings.back()).saturating_sub(count(first))
    }
}

impl<D: DataPlane + 'static> Writer<D> {
    /// Reads what the numbers that a change gives out have counted for others, before they count for it.
    pub(super) fn observe_new(&mut self, next: &World) -> Result<(), PlaneError> {
        for (id, key, _) in next.backend_ids.iter() {
            if self.world.backend_ids.key_of(id) == Some(key) {
                continue;
            }
            for reading in &mut self.observe.readings {
                reading.backends.remove(&id);
            }
            if self.observe.readings.is_empty() {
                let reading = self.reading()?;
                self.observe.readings.push_back(reading);
            }
            let counters = self.plane.counters(id)?;
            if let Some(last) = self.observe.readings.back_mut() {
                last.backends.insert(id, counters);
            }
        }
        Ok(())
    }

    /// What the counters of verdicts say now; backends are to be added.
    fn reading(&self) -> Result<Reading, PlaneError> {
        let verdicts = self.plane.verdicts()?;
        let of = |reason: Reason| verdicts.packets[reason as usize % REASONS];
        Ok(Reading {
            backends: BTreeMap::new(),
            unpinned: of(Reason::UnpinnedTableFull)
                + of(Reason::UnpinnedContended)
                + of(Reason::UnpinnedCapped),
            table_full: of(Reason::UnpinnedTableFull),
            nat_exhausted: of(Reason::NatExhausted),
        })
    }

    /// Reads all counters; called once a second.
    pub(super) fn observe_second(&mut self, _now: Instant) -> Result<(), PlaneError> {
        let mut reading = self.reading()?;
        let ids: Vec<u16> = self.world.backend_ids.iter().map(|(id, _, _)| id).collect();
        for id in ids {
            reading.backends.insert(id, self.plane.counters(id)?);
        }
        self.observe.readings.push_back(reading);
        if self.observe.readings.len() > WINDOW + 1 {
            self.observe.readings.pop_front();
        }
        if self.vlans_due {
            self.write_vlan_devices();
        }
        self.write_refusals();
        self.warm(super::now_ms());
        self.judge_flow_table();
        self.judge_nat();
        self.judge_backends();
        self.observe.seconds += 1;
        if self.observe.seconds.is_multiple_of(60)
            && let Err(error) = self.store.maintain()
        {
            tracing::warn!(%error, "cannot tidy the journal");
        }
        Ok(())
    }

    /// Lets backends in slow start take what their time gives them: their tracks' tables are made anew.
    pub(super) fn warm(&mut self, now: u64) {
        if self
            .world
            .services
            .values()
            .all(|service| service.warming.is_empty())
        {
            return;
        }
        let mut wanted = super::sync::tracks(&self.world, now);
        // Tables come and go with changes alone.
        wanted.retain(|index, members| !members.is_empty() && self.tracks.contains_key(index));
        if let Err(error) = self.sync_tracks(&wanted) {
            tracing::warn!(%error, "a slow start stands still; all tables are written again");
            self.resync = true;
        }
    }

    /// Whether every track that new flows go to has a backend for them. By the slots that are in force: with all
    /// tracks out, they are still somebody's.
    pub(super) fn judge_backends(&mut self) {
        let (mut lacking, mut falling_back) = (Vec::new(), Vec::new());
        for (name, service) in &self.world.services {
            let Some(id) = self.world.service_ids.get(name) else {
                continue;
            };
            let nobody = |track: u8, family| {
                let wire = match family {
                    Family::V4 => splitter_ebpf::wire::Family::V4,
                    Family::V6 => splitter_ebpf::wire::Family::V6,
                };
                let index = splitter_ebpf::abi::track_table_index(id, track, wire);
                self.tracks.get(&index).is_none_or(Vec::is_empty)
            };
            let counts = service.split.slots.counts();
            let steering = &service.split.steering;
            let get = match service.spec.no_backend {
                NoBackend::Drop => "are dropped",
                NoBackend::Reset => "are reset",
                NoBackend::Unreachable => "are told \"unreachable\"",
            };
            for (track, number) in &service.numbers {
                for family in service.spec.families_of_listeners() {
                    let led = counts[usize::from(*number)] > 0
                        || steering.routes.lead_of_family(*number, family);
                    if !led || !nobody(*number, family) {
                        continue;
                    }
                    let out = format!(
                        "track {track} of {name} has no backend that takes new {family} flows"
                    );
                    let help = format!(
                        "`splitterctl ready {name} TRACK|BACKEND`, or move its weight away"
                    );
                    let open = steering.fallback.filter(|track| !nobody(*track, family));
                    match open.and(service.spec.fallback.as_deref()) {
                        Some(fallback) => falling_back
                            .push(format!("{out}, they go to the fallback {fallback}: {help}")),
                        None => lacking.push(format!("{out}, they {get}: {help}")),
                    }
                }
            }
        }
        for (kind, found) in [
            (ConditionKind::NoBackend, lacking),
            (ConditionKind::FallbackTaken, falling_back),
        ] {
            if found.is_empty() {
                self.lower(kind);
            } else {
                self.raise(kind, found.join("; "));
            }
        }
    }

    fn judge_flow_table(&mut self) {
        let (Some(first), Some(last)) =
            (self.observe.readings.front(), self.observe.readings.back())
        else {
            return;
        };
        let unpinned = last.unpinned.saturating_sub(first.unpinned);
        let full = last.table_full.saturating_sub(first.table_full);
        let table = self.flow_table();
        if unpinned > 0 {
            self.raise(
                ConditionKind::UnpinnedFlows,
                format!("{unpinned} packets of new flows went unpinned in the last minute: they would not outlive a change of weights"),
            );
        } else {
            self.lower(ConditionKind::UnpinnedFlows);
        }
        if full > 0 || table.entries * 10 > table.capacity * 9 {
            self.raise(
                ConditionKind::FlowTableFull,
                format!(
                    "{} of {} places are taken; raise limits.flows, then detach once",
                    table.entries, table.capacity
                ),
            );
        } else {
            self.lower(ConditionKind::FlowTableFull);
        }
    }

    fn judge_nat(&mut self) {
        let (Some(first), Some(last)) =
            (self.observe.readings.front(), self.observe.readings.back())
        else {
            return;
        };
        let refused = last.nat_exhausted.saturating_sub(first.nat_exhausted);
        if refused > 0 {
            self.raise(
                ConditionKind::NatExhausted,
                format!(
                    "{refused} packets of new flows of mode fullnat found no free address and port in the last minute and \
                     were refused: give more addresses or ports in [nat]"
                ),
            );
        } else {
            self.lower(ConditionKind::NatExhausted);
        }
    }

    pub(super) fn flow_table(&self) -> FlowTableView {
        FlowTableView {
            entries: self.scan.last.total + self.scan.last.second,
            capacity: u64::try_from(self.plane.tables().layout.flow_slots()).unwrap_or(u64::MAX),
        }
    }

    /// Packets that went unpinned to some backends since their numbers were given out.
    pub(super) fn unpinned_of(&self, backends: &[u16]) -> u64 {
        backends
            .iter()
            .filter_map(|id| self.plane.counters(*id).ok())
            .map(|counters| counters.unpinned)
            .sum()
    }

    /// Packets that had gone unpinned to some backends when the last minute began. A flow without a pin is split
    /// anew by its every packet, so that of those which a drain breaks only what they sent before tells.
    fn unpinned_a_minute_ago(&self, backends: &[u16]) -> u64 {
        let first = |id: &u16| {
            let mut readings = self.observe.readings.iter();
            let reading = readings.find_map(|reading| reading.backends.get(id));
            reading.map(|counters| counters.unpinned)
        };
        backends
            .iter()
            .map(|id| first(id).unwrap_or_else(|| self.unpinned_of(&[*id])))
            .sum()
    }

    /// Notes in the drains that a plan begins how much had gone unpinned until a minute before.
    pub(super) fn note_unpinned(&self, plan: &mut Plan) {
        use crate::api::types::DrainTarget;
        for name in &plan.touched {
            let Some(service) = plan.next.services.get_mut(name) else {
                continue;
            };
            let before = self.world.services.get(name);
            for (track, drain) in &mut service.drained_tracks {
                let was = before.and_then(|before| before.drained_tracks.get(track));
                if was.is_none_or(|was| was.since != drain.since) {
                    let ids = self.backends_of(name, &DrainTarget::Track(track.clone()));
                    drain.unpinned_before = self.unpinned_a_minute_ago(&ids);
                }
            }
            for ((address, port), drain) in &mut service.drained_backends {
                let was = before.and_then(|before| before.drained_backends.get(&(*address, *port)));
                if was.is_none_or(|was| was.since != drain.since) {
                    let ids = self.backends_of(
                        name,
                        &DrainTarget::Backend {
                            address: *address,
                            port: *port,
                        },
                    );
                    drain.unpinned_before = self.unpinned_a_minute_ago(&ids);
                }
            }
        }
    }

    pub(super) fn figures(&self) -> Result<Figures, ApiError> {
        let version = |key: &BackendKey| {
            self.world
                .services
                .get(&key.service)
                .and_then(|s| s.spec.track(&key.track))
                .and_then(|t| t.version.clone())
        };
        let ids = self
            .world
            .backend_ids
            .iter()
            .filter(|(_, _, state)| *state != IdState::Quarantined);
        let backends = ids.map(|(id, key, _)| BackendFigures {
            key: key.clone(),
            version: version(key),
            new_flows: self
                .plane
                .counters(id)
                .map_or(0, |counters| counters.new_flows),
            flows: self
                .scan
                .last
                .backends
                .get(usize::from(id))
                .copied()
                .unwrap_or(0),
        });
        let tracks = self.world.services.iter().flat_map(|(name, service)| {
            service.spec.tracks.iter().map(move |track| TrackFigures {
                service: name.clone(),
                track: track.name.clone(),
                version: track.version.clone(),
                slots: service.slots_of(&track.name),
            })
        });
        let verdicts = self
            .plane
            .verdicts()
            .map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(Figures {
            backends: backends.collect(),
            tracks: tracks.collect(),
            generations: self
                .world
                .services
                .iter()
                .map(|(name, service)| (name.clone(), service.generation))
                .collect(),
            verdicts: Reason::ALL
                .iter()
                .map(|reason| (*reason, verdicts.packets[*reason as usize % REASONS]))
                .collect(),
            closes: self.closer.closes,
            flow_table: self.flow_table(),
            conditions: self.conditions.keys().copied().collect(),
        })
    }
}

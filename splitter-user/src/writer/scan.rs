//! The flow table, read over and over: expiry, second entries that lost their flow, how many flows each
//! backend has, and the proof that something has none. Read bit by bit, so that commands never wait for a whole scan.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use splitter_ebpf::flow::{State, TICK_MASK};
use splitter_ebpf::verdict::REASONS;

use super::close::{Found, PRODDED};
use super::{Writer, now_ms};
use crate::api::types::DrainTarget;
use crate::dataplane::{DataPlane, FlowSlot, PlaneError};
use crate::state::{BackendKey, IdState};

/// From the start of one scan to the start of the next, at least.
const PERIOD: Duration = Duration::from_secs(1);
/// Buckets that are read between two looks at the queue: well under a millisecond.
const CHUNK: usize = 4096;

/// Ages in ticks at which a backend's flows are over.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    unconfirmed: u32,
    /// Where the client alone is seen, it has gone on by then: its flow is as good as established.
    replied: u32,
    closing: u32,
    tcp_idle: u32,
    udp_idle: u32,
}

impl Ends {
    fn of(&self, state: u8) -> u32 {
        match State::from_bits(state) {
            Some(State::New | State::ResetNew | State::UdpNew) => self.unconfirmed,
            Some(State::Replied) => self.replied,
            Some(
                State::Closing
                | State::Reset
                | State::Cut
                | State::CutFirst
                | State::CutSecond
                | State::CutTold,
            ) => self.closing,
            Some(State::Established | State::FinClient | State::FinBackend) => self.tcp_idle,
            Some(State::UdpEstablished) => self.udp_idle,
            Some(State::Translated) | None => 0,
        }
    }
}

/// The program sends later fragments where the first one went for so long, by the backend's number and
/// without a pin (`FRAGMENTS`): a number that no scan finds stays reserved until that is over.
const FRAGMENTS_FOLLOW: Duration = Duration::from_secs(30);

/// Second entries that were found to lead nowhere, by place: key and value.
type Orphans = HashMap<usize, (u64, u64)>;

/// What a whole scan found.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// Flows by backend.
    pub backends: Vec<u64>,
    /// Ticks since the longest silent flow of a backend was last seen.
    pub oldest: Vec<u32>,
    /// Flows of a backend that are cut.
    pub cut: Vec<u64>,
    /// Flows by listener; counted only while a listener is being deleted.
    pub listeners: Vec<u64>,
    /// Flows in all.
    pub total: u64,
    /// Second entries of flows whose clients are translated.
    pub second: u64,
}

impl Counts {
    fn sized(backends: usize, listeners: usize) -> Self {
        Self {
            backends: vec![0; backends + 1],
            oldest: vec![0; backends + 1],
            cut: vec![0; backends + 1],
            listeners: vec![0; listeners + 1],
            total: 0,
            second: 0,
        }
    }
}

/// From when on a scan counts as proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Need {
    /// The first scan that begins late enough.
    cycle: u64,
    /// The flip whose grace period must be over when it begins.
    flip: u64,
}

struct Running {
    next: usize,
    /// Flip that was over and tidied up after when the scan began.
    grace: u64,
    counts: Counts,
    ends: Vec<Ends>,
    with_listeners: bool,
    orphans: Orphans,
    found: Found,
}

/// Scans, past, present and next.
pub(super) struct Scan {
    cycle: u64,
    due: Instant,
    running: Option<Running>,
    /// What the last whole scan found.
    pub last: Counts,
    backends: BTreeMap<u16, Need>,
    listeners: BTreeMap<u16, Need>,
    /// The tick of the first scan that found no pin of a backend's number that is in no table.
    gone_since: BTreeMap<u16, u32>,
    drains: BTreeMap<(String, DrainTarget), Proof>,
    /// Second entries that the last whole scan found to lead nowhere. Of one that is being made, the
    /// first entry follows within microseconds; so those that are here twice have lost theirs.
    orphans: Orphans,
    buckets: usize,
    sizes: (usize, usize),
}

/// How far the proof of a drain is.
#[derive(Debug, Clone)]
struct Proof {
    need: Need,
    done: bool,
    /// Pins that the last scans have found, and when.
    history: VecDeque<(Instant, u64)>,
}

/// Scans that the pace of a drain is taken from: half a minute.
const HISTORY: usize = 30;

impl Proof {
    const fn of(need: Need) -> Self {
        Self {
            need,
            done: false,
            history: VecDeque::new(),
        }
    }

    fn note(&mut self, now: Instant, pins: u64) {
        if self.history.len() >= HISTORY {
            self.history.pop_front();
        }
        self.history.push_back((now, pins));
    }

    /// Flows that end in a minute.
    fn pace(&self) -> Option<u64> {
        let ((first, before), (last, after)) = (self.history.front()?, self.history.back()?);
        let time = last.saturating_duration_since(*first).as_millis();
        let ended = u128::from(before.saturating_sub(*after)) * 60_000;
        u64::try_from(ended.checked_div(time)?).ok()
    }
}

impl Scan {
    pub(super) fn new(plane: &impl DataPlane, now: Instant) -> Self {
        let layout = plane.tables().layout;
        let sizes = (layout.backends as usize, layout.listeners as usize);
        Self {
            cycle: 0,
            due: now,
            running: None,
            last: Counts::sized(sizes.0, sizes.1),
            backends: BTreeMap::new(),
            listeners: BTreeMap::new(),
            gone_since: BTreeMap::new(),
            drains: BTreeMap::new(),
            orphans: Orphans::new(),
            buckets: plane.tables().flow_buckets(),
            sizes,
        }
    }

    /// Tries again later.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.running = None;
        self.due = now + PERIOD;
    }

    fn next_cycle(&self) -> u64 {
        self.cycle + u64::from(self.running.is_some())
    }
}

impl<D: DataPlane + 'static> Writer<D> {
    /// Scans that have ended.
    #[cfg(test)]
    pub(super) fn scan_cycle(&self) -> u64 {
        self.scan.cycle
    }

    /// The flip that the running scan began after.
    #[cfg(test)]
    pub(super) fn scan_grace(&self) -> Option<u64> {
        self.scan.running.as_ref().map(|running| running.grace)
    }

    /// Lets the next scan begin at once.
    #[cfg(test)]
    pub(super) fn scan_now(&mut self) {
        self.scan.due = Instant::now();
    }

    /// How long the writer may wait for requests.
    pub(super) fn next_work(&self, now: Instant) -> Duration {
        if self.scan.running.is_some() {
            return Duration::ZERO;
        }
        let wait = self.scan.due.saturating_duration_since(now);
        let wait = self.closer.wait(now).map_or(wait, |close| wait.min(close));
        let wait = self.next_step(now).map_or(wait, |step| wait.min(step));
        if self.tidy_after.is_some() {
            wait.min(Duration::from_millis(20))
        } else {
            wait
        }
    }

    /// What the writer does between requests.
    pub(super) fn housekeep(&mut self, now: Instant) -> Result<(), PlaneError> {
        if self.resync {
            self.sync_all()?;
        }
        self.tidy_up()?;
        self.step_ramps(now);
        if self.scan.running.is_none() && now >= self.scan.due {
            self.observe_second(now)?;
            // What keeps it there was said when it happened.
            let _still_there = self.discard_leftover();
            if self.numbers_due {
                self.record_ids();
            }
            self.begin_scan(now);
        }
        if self.scan.running.is_some() {
            self.scan_chunk()?;
        }
        self.close_due(now)?;
        Ok(())
    }

    pub(super) fn begin_scan(&mut self, now: Instant) {
        let (backends, listeners) = self.scan.sizes;
        let ends = self.ends();
        let deleting = |state| state != IdState::Active;
        // A flip whose tables have not been tidied up may still lead new flows somewhere else, though its
        // grace period has just ended.
        let tidied = self.tidy_after.map_or(u64::MAX, |flip| flip - 1);
        let grace = self.grace.completed().min(tidied);
        self.scan.due = now + PERIOD;
        self.scan.running = Some(Running {
            next: 0,
            grace,
            counts: Counts::sized(backends, listeners),
            ends,
            with_listeners: self
                .world
                .listener_ids
                .iter()
                .any(|(_, _, state)| deleting(state)),
            orphans: Orphans::new(),
            found: Found::default(),
        });
        self.renew_closings();
    }

    /// When the flows of each backend are over. Those of a number that nothing has are over at once.
    fn ends(&self) -> Vec<Ends> {
        let ticks = |duration: Duration| {
            let tick = self.plane.duration_of(1).max(Duration::from_millis(1));
            u32::try_from(duration.as_nanos() / tick.as_nanos())
                .unwrap_or(u32::MAX)
                .saturating_add(1)
        };
        let mut ends = vec![Ends::default(); self.scan.sizes.0 + 1];
        for (id, key, state) in self.world.backend_ids.iter() {
            if state == IdState::Quarantined {
                continue;
            }
            let times = self.world.times_of(id);
            ends[usize::from(id)] = Ends {
                unconfirmed: ticks(times.unconfirmed),
                replied: ticks(if key.mode.is_one_way() {
                    times.tcp_idle
                } else {
                    times.unconfirmed
                }),
                closing: ticks(times.closing),
                tcp_idle: ticks(times.tcp_idle),
                udp_idle: ticks(times.udp_idle),
            };
        }
        ends
    }

    fn scan_chunk(&mut self) -> Result<(), PlaneError> {
        let now = self.plane.now()?;
        let Some(running) = &mut self.scan.running else {
            return Ok(());
        };
        let end = (running.next + CHUNK).min(self.scan.buckets);
        let tick = self.plane.duration_of(1).max(Duration::from_millis(1));
        let prodded = u32::try_from(PRODDED.as_nanos() / tick.as_nanos()).unwrap_or(u32::MAX);
        let tables = self.plane.tables();
        let Running {
            counts,
            ends,
            with_listeners,
            next,
            orphans,
            found,
            ..
        } = running;
        let before = &self.scan.orphans;
        let (closer, wall) = (&self.closer, now_ms());
        tables.scan(*next..end, |flow| {
            if flow.value.is_pointing() {
                let what = (flow.key, flow.value.0);
                let lost = !tables.has_first(&flow);
                if lost && before.get(&flow.slot) == Some(&what) && tables.free_flow(&flow) {
                    return;
                }
                if lost {
                    orphans.insert(flow.slot, what);
                }
                counts.second += 1;
                return;
            }
            let backend = usize::from(flow.value.backend());
            let age = flow.value.age(now);
            let limit = ends
                .get(backend)
                .map_or(0, |ends| ends.of(flow.value.state_bits()));
            if age >= limit && tables.free_flow(&flow) {
                return;
            }
            counts.total += 1;
            if let (Some(count), Some(oldest)) = (
                counts.backends.get_mut(backend),
                counts.oldest.get_mut(backend),
            ) {
                *count += 1;
                *oldest = (*oldest).max(age);
            }
            if flow.value.is_cut()
                && let Some(cut) = counts.cut.get_mut(backend)
            {
                *cut += 1;
            }
            if !flow.value.is_cut() || age <= prodded {
                closer.meet(tables, &flow, wall, found);
            }
            if *with_listeners
                && let Some(count) = counts
                    .listeners
                    .get_mut(usize::from(listener_of(tables, &flow)))
            {
                *count += 1;
            }
        });
        *next = end;
        if end == self.scan.buckets {
            self.finish_scan()?;
        }
        Ok(())
    }

    fn finish_scan(&mut self) -> Result<(), PlaneError> {
        let Some(done) = self.scan.running.take() else {
            return Ok(());
        };
        let proves = |need: &Need| self.scan.cycle >= need.cycle && done.grace >= need.flip;
        let tick = self.plane.now()?;
        let (mut gone, mut freed) = (false, false);

        let listeners: Vec<(u16, IdState)> = self
            .world
            .listener_ids
            .iter()
            .map(|(id, _, state)| (id, state))
            .collect();
        for (id, state) in listeners {
            let none = done.with_listeners
                && done.counts.listeners.get(usize::from(id)) == Some(&0)
                // A flow whose listener cannot be told may be this one's.
                && done.counts.listeners.first() == Some(&0)
                && self.scan.listeners.get(&id).is_none_or(proves);
            match state {
                IdState::Active => {}
                IdState::Deleting(_) if none => {
                    self.world.listener_ids.quarantine(id);
                    gone = true;
                }
                IdState::Deleting(_) => {}
                IdState::Quarantined if none => {
                    freed = true;
                    self.world.listener_ids.free(id);
                    self.world.listener_services.remove(&id);
                    self.scan.listeners.remove(&id);
                }
                IdState::Quarantined => {}
            }
        }
        let backends: Vec<(u16, IdState)> = self
            .world
            .backend_ids
            .iter()
            .map(|(id, _, state)| (id, state))
            .collect();
        for (id, state) in backends {
            let none = done.counts.backends.get(usize::from(id)) == Some(&0)
                && self.scan.backends.get(&id).is_none_or(proves);
            let unfollowed = none && state == IdState::Quarantined && {
                let since = *self.scan.gone_since.entry(id).or_insert(tick);
                let passed = tick.wrapping_sub(since) & TICK_MASK;
                // One less: the first tick may have been nearly over.
                self.plane.duration_of(passed.saturating_sub(1)) >= FRAGMENTS_FOLLOW
            };
            match state {
                IdState::Active => {}
                IdState::Deleting(_) if none => {
                    self.world.backend_ids.quarantine(id);
                    gone = true;
                }
                IdState::Deleting(_) => {}
                IdState::Quarantined if unfollowed => {
                    if let Err(error) = self.plane.reset_counters(id) {
                        tracing::warn!(%error, id, "a number stays reserved for a second more");
                        continue;
                    }
                    freed = true;
                    self.world.backend_ids.free(id);
                    self.world.former_times.remove(&id);
                    self.scan.backends.remove(&id);
                    self.scan.gone_since.remove(&id);
                }
                IdState::Quarantined => {}
            }
        }
        let drains: Vec<(String, DrainTarget)> = self.scan.drains.keys().cloned().collect();
        for key in drains {
            let pins = self.pins_of(&key.0, &key.1, &done.counts);
            if let Some(proof) = self.scan.drains.get_mut(&key)
                && self.scan.cycle >= proof.need.cycle
                && done.grace >= proof.need.flip
            {
                let proven = pins == 0;
                proof.note(Instant::now(), pins);
                if proven && !proof.done {
                    tracing::info!(service = key.0, what = %key.1, "drained: a scan has found no pinned flow");
                }
                proof.done = proven;
            }
        }
        self.scan.cycle += 1;
        self.scan.last = done.counts;
        self.closer.take(done.found);
        self.scan.orphans = done.orphans;
        self.numbers_due |= gone || freed;
        if gone {
            // Quarantined numbers leave the tables; a scan that begins after that may free them.
            self.sync_all()?;
            self.need_proof_of_all();
        }
        if gone || freed {
            self.record_ids();
            self.publish_addresses();
        }
        Ok(())
    }

    /// Lets every number that is going, and every drain, wait for a scan that begins from now on and
    /// after the last flip's grace period.
    pub(super) fn need_proof_of_all(&mut self) {
        let need = Need {
            cycle: self.scan.next_cycle(),
            flip: self.tidy_after.unwrap_or(0),
        };
        for (id, _, state) in self.world.backend_ids.iter() {
            if state == IdState::Active {
                self.scan.backends.remove(&id);
            } else {
                self.scan.backends.entry(id).or_insert(need);
            }
        }
        for (id, _, state) in self.world.listener_ids.iter() {
            if state == IdState::Active {
                self.scan.listeners.remove(&id);
            } else {
                self.scan.listeners.entry(id).or_insert(need);
            }
        }
        let mut wanted = Vec::new();
        for (name, service) in &self.world.services {
            wanted.extend(
                service
                    .drained_tracks
                    .keys()
                    .map(|track| (name.clone(), DrainTarget::Track(track.clone()))),
            );
            wanted.extend(service.drained_backends.keys().map(|(address, port)| {
                (
                    name.clone(),
                    DrainTarget::Backend {
                        address: *address,
                        port: *port,
                    },
                )
            }));
        }
        self.scan.drains.retain(|key, _| wanted.contains(key));
        for key in wanted {
            self.scan.drains.entry(key).or_insert(Proof::of(need));
        }
    }

    /// After a change: what it deleted and drained waits for its proof.
    pub(super) fn after_change(&mut self) {
        let ends = self.ends();
        if let Some(running) = &mut self.scan.running {
            // It began when numbers that are given out now stood for nothing: their first flows live.
            running.ends = ends;
        }
        self.need_proof_of_all();
        self.renew_closings();
        self.publish_addresses();
    }

    /// The numbers that a drain is about.
    pub(super) fn backends_of(&self, service: &str, what: &DrainTarget) -> Vec<u16> {
        let matches = |key: &BackendKey| {
            key.service == service
                && match what {
                    DrainTarget::Track(track) => key.track == *track,
                    DrainTarget::Backend { address, port } => {
                        key.address == *address && key.port.unwrap_or(0) == *port
                    }
                }
        };
        self.world
            .backend_ids
            .iter()
            .filter(|(_, key, state)| *state != IdState::Quarantined && matches(key))
            .map(|(id, _, _)| id)
            .collect()
    }

    pub(super) fn pins_of(&self, service: &str, what: &DrainTarget, counts: &Counts) -> u64 {
        let ids = self.backends_of(service, what);
        ids.iter()
            .filter_map(|id| counts.backends.get(usize::from(*id)))
            .sum()
    }

    /// Flows of a drain that end in a minute, as the last scans have seen it.
    pub(super) fn pace_of(&self, service: &str, what: &DrainTarget) -> Option<u64> {
        let drains = &self.scan.drains;
        drains.get(&(service.to_owned(), what.clone()))?.pace()
    }

    /// Whether a scan that counts has looked at a drain.
    pub(super) fn has_counted(&self, service: &str, what: &DrainTarget) -> bool {
        let drains = &self.scan.drains;
        let proof = drains.get(&(service.to_owned(), what.clone()));
        proof.is_some_and(|proof| !proof.history.is_empty())
    }

    /// Whether a scan has proven a drain: `None` if there is no such drain.
    pub(super) fn proven(&self, service: &str, what: &DrainTarget) -> Option<bool> {
        self.scan
            .drains
            .get(&(service.to_owned(), what.clone()))
            .map(|proof| proof.done)
    }
}

/// The listener of a flow; 0 if it cannot be told.
pub(super) fn listener_of(tables: &crate::dataplane::Tables, flow: &FlowSlot) -> u16 {
    use splitter_ebpf::wire::WireAddress;
    // Family decides how the key is made; the backend's record tells it.
    let backend = tables.backend(flow.value.backend());
    let WireAddress([_, b, c, d]) = backend.address;
    if b | c | d == 0 {
        u16::try_from(flow.key & 0xffff).unwrap_or(0)
    } else {
        tables.cold_key(flow).map_or(0, |cold| cold.listener())
    }
}

// Reasons are counted in an array of this size; the figures rely on it.
const _: () = assert!(REASONS == 64);

//! What a load counts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::hosts::track_of;

/// Failures and moves described at most; all are counted.
const DETAILS: usize = 20;

/// The counts of a load.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Answered requests.
    pub requests: u64,
    /// Requests that were refused, reset, answered wrongly or not at all.
    pub failures: u64,
    /// Answers from another backend than the connection's first one.
    pub moved: u64,
    /// The slowest answer: a lost packet shows here, as a retransmission, long before it shows as a failure.
    pub slowest: Duration,
    /// New flows by client and by the backend that answered first.
    pub new_flows: BTreeMap<(IpAddr, String), u64>,
    /// Connections open now, by backend.
    pub open: BTreeMap<String, u64>,
    /// The first failures and moves, in words.
    pub details: Vec<String>,
}

impl Totals {
    /// New flows of `track`.
    pub fn flows_of(&self, track: &str) -> u64 {
        self.new_flows
            .iter()
            .filter(|((_, backend), _)| track_of(backend) == track)
            .map(|(_, count)| count)
            .sum()
    }

    /// New flows of all tracks.
    pub fn flows(&self) -> u64 {
        self.new_flows.values().sum()
    }

    /// The share of `track` in the new flows, 0 to 1; 0 where there are none.
    pub fn share_of(&self, track: &str) -> f64 {
        // Counts of a test are far below 2^53.
        self.flows_of(track) as f64 / (self.flows().max(1)) as f64
    }

    /// Connections that are open to `track`.
    pub fn open_to(&self, track: &str) -> u64 {
        self.open
            .iter()
            .filter(|(backend, _)| track_of(backend) == track)
            .map(|(_, count)| count)
            .sum()
    }

    /// The tracks that each client met.
    pub fn tracks_by_client(&self) -> BTreeMap<IpAddr, Vec<String>> {
        let mut met: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
        for (client, backend) in self.new_flows.keys() {
            let tracks = met.entry(*client).or_default();
            let track = track_of(backend).to_owned();
            if !tracks.contains(&track) {
                tracks.push(track);
            }
        }
        met
    }

    /// The counts since `earlier`, which is of the same load; `open`, `slowest` and `details` are today's.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        since.requests -= earlier.requests;
        since.failures -= earlier.failures;
        since.moved -= earlier.moved;
        for (flow, count) in &mut since.new_flows {
            *count -= earlier.new_flows.get(flow).copied().unwrap_or(0);
        }
        since.new_flows.retain(|_, count| *count > 0);
        since
    }

    /// The counts of two loads together.
    pub fn and(mut self, other: &Self) -> Self {
        self.requests += other.requests;
        self.failures += other.failures;
        self.moved += other.moved;
        self.slowest = self.slowest.max(other.slowest);
        for (flow, count) in &other.new_flows {
            *self.new_flows.entry(flow.clone()).or_default() += count;
        }
        for (backend, count) in &other.open {
            *self.open.entry(backend.clone()).or_default() += count;
        }
        self.details.extend_from_slice(&other.details);
        self
    }

    /// Whether every request was answered, each by its connection's own backend.
    pub fn nothing_lost(&self) -> bool {
        self.failures == 0 && self.moved == 0
    }

    /// Fails the test unless there were requests, all answered, each by its connection's own backend.
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        assert!(self.requests > 0, "the load asked nothing at all");
        assert!(
            self.nothing_lost(),
            "{} of {} requests failed and {} flows moved:\n  {}",
            self.failures,
            self.requests,
            self.moved,
            self.details.join("\n  ")
        );
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} requests over {} connections, {} failed, {} moved, the slowest answer took {:.1} ms",
            self.requests,
            self.flows(),
            self.failures,
            self.moved,
            self.slowest.as_secs_f64() * 1_000.0
        )
    }
}

/// The counts as the connections write them.
#[derive(Debug)]
pub(super) struct Tally {
    /// Requests that may still be started.
    left: Option<AtomicU64>,
    totals: Mutex<Totals>,
}

impl Tally {
    pub(super) fn new(requests: Option<u64>) -> Self {
        Self {
            left: requests.map(AtomicU64::new),
            totals: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn totals(&self) -> Totals {
        self.lock().clone()
    }

    /// Takes one request of those left; false when none is.
    pub(super) fn take_request(&self) -> bool {
        let Some(left) = &self.left else { return true };
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
        .is_ok()
    }

    pub(super) fn answered(&self, took: Duration) {
        let mut totals = self.lock();
        totals.requests += 1;
        totals.slowest = totals.slowest.max(took);
    }

    pub(super) fn opened(&self, client: IpAddr, backend: &str) {
        let mut totals = self.lock();
        *totals
            .new_flows
            .entry((client, backend.to_owned()))
            .or_default() += 1;
        *totals.open.entry(backend.to_owned()).or_default() += 1;
    }

    pub(super) fn closed(&self, backend: &str) {
        let mut totals = self.lock();
        if let Some(open) = totals.open.get_mut(backend) {
            *open = open.saturating_sub(1);
        }
    }

    pub(super) fn failed(&self, detail: String) {
        let mut totals = self.lock();
        totals.failures += 1;
        totals.describe(detail);
    }

    pub(super) fn moved(&self, detail: String) {
        let mut totals = self.lock();
        totals.moved += 1;
        totals.describe(detail);
    }
}

impl Totals {
    fn describe(&mut self, detail: String) {
        if self.details.len() < DETAILS {
            self.details.push(detail);
        }
    }
}

//! The task.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use super::combine::{Route, Way, way};
use super::kernel::Kernel;
use super::mirror::{Caches, Mirror, Neighbour, Place, Work};
use super::monitor::Monitor;
use super::{NextHops, NexthopError};

/// How often things are done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The least time between two answers to changes.
    pub turn: Duration,
    /// Between two questions to neighbours that are stale.
    pub stale: Duration,
    /// Between two questions to neighbours that are not known.
    pub missing: Duration,
    /// Between two readings of everything.
    pub everything: Duration,
    /// Before the sockets are opened again.
    pub reopen: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            turn: Duration::from_millis(50),
            stale: Duration::from_secs(10),
            missing: Duration::from_secs(1),
            everything: Duration::from_secs(30),
            reopen: Duration::from_secs(1),
        }
    }
}

/// What the resolver tells.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// The ways to the backends.
    pub hops: watch::Receiver<NextHops>,
    /// Grows (wrapping, never 0) whenever a next hop that was cached before may be wrong.
    pub epoch: watch::Receiver<u32>,
}

/// Finds the ways to the backends and keeps them right.
#[derive(Debug)]
pub struct Resolver {
    backends: watch::Receiver<BTreeSet<IpAddr>>,
    hops: watch::Sender<NextHops>,
    epoch: watch::Sender<u32>,
    pace: Pace,
    mirror: Mirror,
    routes: BTreeMap<IpAddr, Route>,
    /// The neighbours that the backends' packets go to.
    places: BTreeSet<Place>,
}

impl Resolver {
    /// A resolver for `backends`. `last_epoch` is the one that caches may still hold entries of (0 for none): the first
    /// that is told is greater.
    pub fn new(backends: watch::Receiver<BTreeSet<IpAddr>>, last_epoch: u32) -> (Self, Outputs) {
        let (hops, hops_seen) = watch::channel(NextHops::default());
        let (epoch, epoch_seen) = watch::channel(following(last_epoch));
        let resolver = Self {
            backends,
            hops,
            epoch,
            pace: Pace::default(),
            mirror: Mirror::default(),
            routes: BTreeMap::new(),
            places: BTreeSet::new(),
        };
        (
            resolver,
            Outputs {
                hops: hops_seen,
                epoch: epoch_seen,
            },
        )
    }

    #[cfg(test)]
    pub(super) fn at_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Works until `stop`, or until the sender of `backends` is gone. Speaks of the network namespace of the thread that
    /// polls it first.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            while let Err(error) = self.serve().await {
                tracing::warn!(%error, "next hops are not followed for a moment");
                self.expire_caches();
                tokio::time::sleep(self.pace.reopen).await;
            }
        })
        .await;
    }

    async fn serve(&mut self) -> Result<(), NexthopError> {
        let mut monitor = Monitor::open()?;
        let kernel = Kernel::open()?;
        let mut work = Work::Everything;
        let mut caches = Caches::Hold;
        let mut next_turn = Instant::now();
        let mut ask = Instant::now() + self.pace.stale;
        let mut everything =
            interval_at(Instant::now() + self.pace.everything, self.pace.everything);
        everything.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                events = monitor.next() => {
                    for event in events? {
                        let (more_work, more_caches) = self.mirror.apply(event);
                        work = work.max(more_work);
                        caches = caches.max(more_caches);
                    }
                }
                changed = self.backends.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    work = work.max(Work::Combine);
                }
                _ = everything.tick() => work = Work::Everything,
                () = sleep_until(next_turn), if work > Work::Nothing || caches == Caches::Expire => {
                    let start = Instant::now();
                    let unknown = self.turn(&kernel, work, caches).await?;
                    work = Work::Nothing;
                    caches = Caches::Hold;
                    next_turn = Instant::now() + self.pace.turn.max(start.elapsed() * 4);
                    if unknown {
                        ask = ask.min(start + self.pace.missing);
                    }
                }
                () = sleep_until(ask) => {
                    let unknown = self.ask(&kernel).await?;
                    ask = Instant::now() + if unknown { self.pace.missing } else { self.pace.stale };
                }
            }
        }
    }

    /// Answers to changes. Says whether a neighbour is not known.
    async fn turn(
        &mut self,
        kernel: &Kernel,
        work: Work,
        mut caches: Caches,
    ) -> Result<bool, NexthopError> {
        if work >= Work::Everything {
            let mirror = kernel.mirror().await?;
            caches = caches.max(mirror.since(&self.mirror));
            self.mirror = mirror;
        }
        let backends = self.backends.borrow_and_update().clone();
        let before = if work >= Work::Routes {
            std::mem::take(&mut self.routes)
        } else {
            BTreeMap::new()
        };
        self.routes.retain(|backend, _| backends.contains(backend));
        for backend in &backends {
            if self.routes.contains_key(backend) {
                continue;
            }
            let route = kernel.route(*backend).await?;
            if before.get(backend).is_some_and(|before| *before != route) {
                caches = Caches::Expire;
            }
            self.routes.insert(*backend, route);
        }
        let unknown = self.combine();
        if caches == Caches::Expire {
            self.expire_caches();
        }
        for place in &unknown {
            // The others were asked for before, and again when it is time.
            if !self.mirror.neighbours.contains_key(place) {
                kernel.ask(*place).await?;
            }
        }
        Ok(!unknown.is_empty())
    }

    /// Puts the ways together and tells them. Gives the neighbours that are not known.
    fn combine(&mut self) -> BTreeSet<Place> {
        let mut hops = NextHops {
            vlans: Some(self.mirror.vlan_devices()),
            ..NextHops::default()
        };
        let mut unknown = BTreeSet::new();
        self.places.clear();
        for (backend, route) in &self.routes {
            match way(*backend, route, &self.mirror) {
                Way::Known(hop, place) => {
                    hops.hops.insert(*backend, hop);
                    self.places.insert(place);
                }
                Way::Unasked(why, place) => {
                    hops.missing.insert(*backend, why);
                    self.places.insert(place);
                    unknown.insert(place);
                }
                Way::Impossible(why) => {
                    hops.missing.insert(*backend, why);
                }
            }
        }
        self.hops.send_if_modified(|told| {
            let changed = *told != hops;
            *told = hops;
            changed
        });
        unknown
    }

    /// Asks for the neighbours that are not known or stale. Says whether one is not known.
    async fn ask(&self, kernel: &Kernel) -> Result<bool, NexthopError> {
        let mut unknown = false;
        for place in &self.places {
            match self.mirror.neighbours.get(place) {
                Some(Neighbour::Fresh(_)) => {}
                Some(Neighbour::Stale(_)) => kernel.ask(*place).await?,
                Some(Neighbour::Asked | Neighbour::Silent) | None => {
                    unknown = true;
                    kernel.ask(*place).await?;
                }
            }
        }
        Ok(unknown)
    }

    fn expire_caches(&self) {
        self.epoch.send_modify(|epoch| *epoch = following(*epoch));
    }
}

/// 0 is the epoch of cache entries that were never filled.
fn following(epoch: u32) -> u32 {
    epoch.wrapping_add(1).max(1)
}

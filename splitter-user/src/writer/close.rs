//! Flows that are closed before they end by themselves: reset or re-steered, evenly over a time.
//!
//! The scan finds those whose time comes before its next round and queues them; between requests the queue is
//! worked off, some flows a turn, so that commands never wait and neither backends nor clients are overrun:
//! [`pacing`]. Ends that do not speak by themselves are made to: [`prodding`].

mod pacing;
mod prodding;

use std::time::{Duration, Instant};

use splitter_ebpf::flow::State;

use super::{Writer, now_ms};
use crate::dataplane::{DataPlane, FlowSlot, PlaneError, Tables};
use pacing::{Due, Pacing};
pub(super) use prodding::PRODDED;
use prodding::{Prodded, Prodding};

/// From one turn to the next.
const TURN: Duration = Duration::from_millis(20);
/// Flows that are closed in a turn: 20,000 a second.
const CLOSES: usize = 400;
/// Flows whose ends are prodded in a turn, by up to two packets each.
const PRODS: usize = 600;

/// What was done, since the agent began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Closes {
    /// Flows that were cut.
    pub reset: u64,
    /// Pins that were freed.
    pub resteered: u64,
    /// Segments that were sent to idle ends.
    pub prods: u64,
    /// Segments that could not be sent.
    pub prods_failed: u64,
}

/// What a scan has found to do.
#[derive(Debug, Default)]
pub(super) struct Found {
    due: Vec<Due>,
    unaware: Vec<Prodded>,
    told: Vec<Prodded>,
}

/// What is closed, and what is to be.
pub(super) struct Closer {
    pacing: Pacing,
    prodding: Prodding,
    next: Instant,
    pub(super) closes: Closes,
}

impl Closer {
    pub(super) fn new(secret: &[u8; 32], now: Instant) -> Self {
        Self {
            pacing: Pacing::new(secret),
            prodding: Prodding::default(),
            next: now,
            closes: Closes::default(),
        }
    }

    /// Notes what is to be done to a flow, as a scan that began at `now` meets it. A cut flow is prodded again.
    pub(super) fn meet(&self, tables: &Tables, flow: &FlowSlot, now: u64, found: &mut Found) {
        if !flow.value.is_cut() {
            found.due.extend(self.pacing.meet(tables, flow, now));
        } else if flow.value.state_bits() == State::CutTold as u8 {
            found.told.push(Prodded::of(flow));
        } else {
            found.unaware.push(Prodded::of(flow));
        }
    }

    /// Takes over what a whole scan has found: all there is to do until the next one.
    pub(super) fn take(&mut self, found: Found) {
        self.pacing.take(found.due);
        self.prodding.take(found.unaware, found.told);
    }

    /// How long may be waited before the next turn, if there is anything to do.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let turn = self.next.saturating_duration_since(now);
        if !self.prodding.is_idle() {
            return Some(turn);
        }
        Some(turn.max(self.pacing.wait(now_ms())?))
    }
}

impl<D: DataPlane + 'static> Writer<D> {
    /// A turn: closes what is due, and prods whoever may not know yet.
    pub(super) fn close_due(&mut self, now: Instant) -> Result<(), PlaneError> {
        if now < self.closer.next || self.closer.wait(now).is_none_or(|wait| !wait.is_zero()) {
            return Ok(());
        }
        self.closer.next = now + TURN;
        let (tick, wall) = (self.plane.now()?, now_ms());
        for _ in 0..CLOSES {
            let Some(due) = self.closer.pacing.next(wall) else {
                break;
            };
            self.close(due, tick);
        }
        for _ in 0..PRODS {
            let Some(prodded) = self.closer.prodding.next() else {
                break;
            };
            self.prod(prodded);
        }
        Ok(())
    }
}

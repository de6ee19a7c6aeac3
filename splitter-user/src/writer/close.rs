//! Flows that are closed before they end by themselves: reset or re-steered, evenly over a time.
//!
//! The scan finds those whose time comes before its next round and queues them; between requests the queue is
//! worked off, some flows a turn, so that commands never wait and neither backends nor clients are overrun.
//! When a flow's time comes depends on nothing but a keyed hash of its name: neighbours in the table, and
//! clients with neighbouring addresses, are closed apart.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use splitter_ebpf::flow::State;
use splitter_ebpf::hash::{derive, siphash13};
use splitter_ebpf::wire::TCP;

use super::{Writer, now_ms};
use crate::api::types::DrainTarget;
use crate::dataplane::{DataPlane, FlowSlot, PlaneError};
use crate::prod::{Mute, Prod};
use crate::state::{Closing, Ending};

/// From one turn to the next.
const TURN: Duration = Duration::from_millis(20);
/// Flows that are closed in a turn: 20,000 a second.
const CLOSES: usize = 400;
/// Flows whose ends are prodded in a turn, by up to two packets each.
const PRODS: usize = 600;
/// How far ahead a scan looks: to the end of the next one, if that is not held up.
const AHEAD: u64 = 2_500;
/// For how long after it was cut a flow's ends are prodded by every scan: five times, about.
pub(super) const PRODDED: Duration = Duration::from_secs(5);
/// Attempts to cut a flow that packets refresh.
const TRIES: u32 = 4;

/// A flow that is to be closed.
#[derive(Debug, Clone, Copy)]
struct Due {
    /// When; milliseconds since 1970.
    at: u64,
    slot: usize,
    key: u64,
}

/// What was done, since the agent began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Closes {
    /// Flows that were cut.
    pub reset: u64,
    /// Pins that were freed.
    pub resteered: u64,
    /// SYNs that were sent to idle ends.
    pub prods: u64,
    /// SYNs that could not be sent.
    pub prods_failed: u64,
}

/// What a scan has found to do.
#[derive(Debug, Default)]
pub(super) struct Found {
    due: Vec<Due>,
    prods: Vec<(usize, u64)>,
}

/// What is closed, and what is to be.
pub(super) struct Closer {
    prod: Box<dyn Prod>,
    key: [u64; 2],
    /// By backend.
    orders: Vec<Option<Closing>>,
    /// The next one last.
    due: Vec<Due>,
    prods: VecDeque<(usize, u64)>,
    next: Instant,
    pub(super) closes: Closes,
}

impl Closer {
    pub(super) fn new(secret: &[u8; 32], now: Instant) -> Self {
        Self {
            prod: Box::new(Mute),
            key: derive(secret, "close", ""),
            orders: Vec::new(),
            due: Vec::new(),
            prods: VecDeque::new(),
            next: now,
            closes: Closes::default(),
        }
    }

    /// Notes what is to be done to a flow of `backend`, as a scan that began at `now` meets it. A cut flow is
    /// prodded again if somebody does not know yet.
    pub(super) fn meet(&self, flow: &FlowSlot, backend: usize, now: u64, found: &mut Found) {
        if flow.value.is_cut() {
            if flow.value.state_bits() != State::CutTold as u8 {
                found.prods.push((flow.slot, flow.key));
            }
            return;
        }
        let Some(Some(order)) = self.orders.get(backend) else {
            return;
        };
        let at = due(self.key, flow.key, order);
        if at <= now.saturating_add(AHEAD) {
            found.due.push(Due {
                at,
                slot: flow.slot,
                key: flow.key,
            });
        }
    }

    /// Takes over what a whole scan has found: all there is to do until the next one.
    pub(super) fn take(&mut self, mut found: Found) {
        found
            .due
            .sort_unstable_by_key(|due| std::cmp::Reverse(due.at));
        self.due = found.due;
        self.prods = found.prods.into();
    }

    /// How long may be waited before the next turn, if there is anything to do.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let turn = self.next.saturating_duration_since(now);
        if !self.prods.is_empty() {
            return Some(turn);
        }
        let until = self.due.last()?.at.saturating_sub(now_ms());
        Some(turn.max(Duration::from_millis(until)))
    }
}

/// When a flow's time comes.
fn due(key: [u64; 2], flow: u64, order: &Closing) -> u64 {
    let place = u128::from(siphash13(key, [flow]));
    let after = (place * u128::from(order.spread)) >> 64;
    order
        .since
        .saturating_add(u64::try_from(after).unwrap_or(u64::MAX))
}

impl<D: DataPlane + 'static> Writer<D> {
    /// Says who prods idle ends, before the thread runs.
    pub fn prod_with(&mut self, prod: Box<dyn Prod>) {
        self.closer.prod = prod;
    }

    /// Takes over what is to be closed now. What is queued and no longer to be closed stays open.
    pub(super) fn renew_closings(&mut self) {
        let mut orders = vec![None; self.plane.tables().layout.backends as usize + 1];
        for (name, service) in &self.world.services {
            let tracks = service.drained_tracks.iter().filter_map(|(track, drain)| {
                Some((DrainTarget::Track(track.clone()), drain.closing()?))
            });
            let backends = service.drained_backends.iter();
            let backends = backends.filter_map(|((address, port), drain)| {
                let (address, port) = (*address, *port);
                Some((DrainTarget::Backend { address, port }, drain.closing()?))
            });
            let left = service.closings.iter();
            let left = left.map(|(track, closing)| (DrainTarget::Track(track.clone()), *closing));
            for (what, closing) in tracks.chain(backends).chain(left) {
                for id in self.backends_of(name, &what) {
                    if let Some(order) = orders.get_mut(usize::from(id)) {
                        *order = sooner(*order, closing);
                    }
                }
            }
        }
        self.closer.orders = orders;
    }

    /// A turn: closes what is due, and prods whoever does not know yet.
    pub(super) fn close_due(&mut self, now: Instant) -> Result<(), PlaneError> {
        if now < self.closer.next || self.closer.wait(now).is_none_or(|wait| !wait.is_zero()) {
            return Ok(());
        }
        self.closer.next = now + TURN;
        let (tick, wall) = (self.plane.now()?, now_ms());
        for _ in 0..CLOSES {
            match self.closer.due.last() {
                Some(due) if due.at <= wall => self.close(tick),
                _ => break,
            }
        }
        for _ in 0..PRODS {
            let Some((slot, key)) = self.closer.prods.pop_front() else {
                break;
            };
            self.prod(slot, key);
        }
        Ok(())
    }

    /// Closes the flow that is due next.
    fn close(&mut self, tick: u32) {
        let Some(Due { at, slot, key }) = self.closer.due.pop() else {
            return;
        };
        let tables = self.plane.tables();
        for _ in 0..TRIES {
            let Some(flow) = tables.flow_at(slot).filter(|flow| flow.key == key) else {
                return;
            };
            let order = self.closer.orders.get(usize::from(flow.value.backend()));
            let Some(Some(order)) = order else {
                return;
            };
            if flow.value.is_pointing()
                || flow.value.is_cut()
                || due(self.closer.key, key, order) > at
            {
                return;
            }
            match order.ending {
                Ending::Resteer if tables.free_flow(&flow) => {
                    self.closer.closes.resteered += 1;
                    return;
                }
                Ending::Reset if tables.cut_flow(&flow, tick) => {
                    self.closer.closes.reset += 1;
                    self.closer.prods.push_back((slot, key));
                    return;
                }
                // A packet refreshed it just now.
                Ending::Resteer | Ending::Reset => {}
            }
        }
    }

    /// Prods the ends of a cut flow that have not been told.
    fn prod(&mut self, slot: usize, key: u64) {
        let tables = self.plane.tables();
        let flow = tables.flow_at(slot).filter(|flow| flow.key == key);
        let Some(flow) = flow.filter(|flow| flow.value.is_cut()) else {
            return;
        };
        let Some(ends) = tables.ends(&flow).filter(|ends| ends.protocol == TCP) else {
            return;
        };
        let state = flow.value.state_bits();
        let unaware = |told: State| state != told as u8 && state != State::CutTold as u8;
        let mut syns = Vec::with_capacity(2);
        match ends.backend {
            Some((backend, client)) => {
                if unaware(State::CutSecond) {
                    syns.push((client, backend));
                }
                if unaware(State::CutFirst) {
                    syns.push((ends.listener, ends.client));
                }
            }
            // Its challenges become the backend's RSTs, and then its own.
            None if state != State::CutTold as u8 => syns.push((ends.listener, ends.client)),
            None => {}
        }
        for (from, to) in syns {
            match self.closer.prod.prod(from, to) {
                Ok(()) => self.closer.closes.prods += 1,
                Err(error) => {
                    if self.closer.closes.prods_failed == 0 {
                        tracing::warn!(%error, %from, %to, "cannot send a SYN to an idle end of a flow that is reset");
                    }
                    self.closer.closes.prods_failed += 1;
                }
            }
        }
    }
}

/// Of two orders for one backend the one that is done first.
fn sooner(there: Option<Closing>, new: Closing) -> Option<Closing> {
    match there {
        Some(there)
            if there.since.saturating_add(there.spread) <= new.since.saturating_add(new.spread) =>
        {
            Some(there)
        }
        _ => Some(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_are_even_whatever_the_flows_are_called() {
        const FLOWS: u64 = 60_000;
        let order = Closing {
            since: 1_000,
            spread: 60_000,
            ending: Ending::Reset,
        };
        let key = derive(&[3; 32], "close", "");
        // Neighbours by port, and by address.
        for step in [1_u64 << 16, 1 << 32] {
            let mut windows = [0_u64; 12];
            let mut apart = 0_u64;
            let mut last = 0;
            for flow in 0..FLOWS {
                let at = due(key, flow * step, &order);
                assert!((1_000..61_000).contains(&at));
                windows[usize::try_from((at - 1_000) / 5_000).expect("small")] += 1;
                apart += at.abs_diff(last);
                last = at;
            }
            // 5,000 each, 68 by chance.
            assert!(
                windows.iter().all(|count| count.abs_diff(5_000) < 400),
                "{windows:?}"
            );
            // Two at random are a third of the time apart.
            assert!((apart / FLOWS).abs_diff(20_000) < 1_000, "{apart}");
        }
    }
}

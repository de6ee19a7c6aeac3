//! Who is closed, and when. That depends on nothing but a keyed hash of a flow's name: neighbours in the
//! table, and clients with neighbouring addresses, are closed apart.

use std::time::Duration;

use splitter_ebpf::hash::{derive, siphash13};

use super::super::scan::listener_of;
use super::super::{Writer, now_ms};
use super::prodding::Prodded;
use crate::api::types::DrainTarget;
use crate::dataplane::{DataPlane, FlowSlot, Tables};
use crate::state::{Closing, Ending, IdState, Ids};

/// How far ahead a scan looks: to the end of the next one, if that is not held up.
const AHEAD: u64 = 2_500;
/// Attempts to cut a flow that packets refresh.
const TRIES: u32 = 4;

/// A flow that is to be closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// When; milliseconds since 1970.
    at: u64,
    slot: usize,
    key: u64,
}

/// What is ordered to be closed, by number.
#[derive(Debug, Default)]
struct Orders {
    backends: Vec<Option<Closing>>,
    /// Empty unless a listener was removed: whose a flow is takes a while to tell.
    listeners: Vec<Option<Closing>>,
}

impl Orders {
    /// What is ordered for a flow.
    fn of(&self, tables: &Tables, flow: &FlowSlot) -> Option<Closing> {
        let of = |orders: &[Option<Closing>], id: u16| orders.get(usize::from(id)).copied()?;
        let backend = of(&self.backends, flow.value.backend());
        if self.listeners.is_empty() {
            return backend;
        }
        let listener = of(&self.listeners, listener_of(tables, flow));
        match (backend, listener) {
            (Some(one), Some(other)) => Some(sooner(one, other)),
            (one, other) => one.or(other),
        }
    }
}

/// Whose flows are closed, and which of them are next.
pub(super) struct Pacing {
    key: [u64; 2],
    /// When the agent began; milliseconds since 1970.
    began: u64,
    orders: Orders,
    /// The next one last.
    due: Vec<Due>,
}

impl Pacing {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Self {
            key: derive(secret, "close", ""),
            began: now_ms(),
            orders: Orders::default(),
            due: Vec::new(),
        }
    }

    /// The flow's time, if it comes before a scan that began at `now` is followed by another.
    pub(super) fn meet(&self, tables: &Tables, flow: &FlowSlot, now: u64) -> Option<Due> {
        let at = due_at(self.key, flow.key, &self.orders.of(tables, flow)?);
        (at <= now.saturating_add(AHEAD)).then_some(Due {
            at,
            slot: flow.slot,
            key: flow.key,
        })
    }

    /// Takes over what a whole scan has found.
    pub(super) fn take(&mut self, mut due: Vec<Due>) {
        due.sort_unstable_by_key(|due| std::cmp::Reverse(due.at));
        self.due = due;
    }

    /// The flow that is due next, if it is at `now`.
    pub(super) fn next(&mut self, now: u64) -> Option<Due> {
        self.due.pop_if(|due| due.at <= now)
    }

    /// How long it is until one is due.
    pub(super) fn wait(&self, now: u64) -> Option<Duration> {
        let next = self.due.last()?;
        Some(Duration::from_millis(next.at.saturating_sub(now)))
    }
}

/// When a flow's time comes.
fn due_at(key: [u64; 2], flow: u64, order: &Closing) -> u64 {
    let place = u128::from(siphash13(key, [flow]));
    let after = (place * u128::from(order.spread)) >> 64;
    order
        .since
        .saturating_add(u64::try_from(after).unwrap_or(u64::MAX))
}

impl<D: DataPlane + 'static> Writer<D> {
    /// Takes over what is to be closed now. What is queued and no longer to be closed stays open.
    pub(in super::super) fn renew_closings(&mut self) {
        let mut orders = Orders::default();
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
            let left = left.filter(|(_, closing)| !self.resumed(**closing).is_over(now_ms()));
            let left = left.map(|(track, closing)| (DrainTarget::Track(track.clone()), *closing));
            for (what, closing) in tracks.chain(backends).chain(left) {
                for id in self.backends_of(name, &what) {
                    order(&mut orders.backends, id, self.resumed(closing));
                }
            }
        }
        for (id, closing) in deleted(&self.world.backend_ids) {
            order(&mut orders.backends, id, self.resumed(closing));
        }
        for (id, closing) in deleted(&self.world.listener_ids) {
            order(&mut orders.listeners, id, self.resumed(closing));
        }
        self.closer.pacing.orders = orders;
    }

    /// What is left of a closing that began before this agent did: it takes its whole spread again, in the same order,
    /// so that what was missed meanwhile does not come all at once.
    fn resumed(&self, closing: Closing) -> Closing {
        Closing {
            since: closing.since.max(self.closer.pacing.began),
            ..closing
        }
    }

    /// Closes a flow that is due.
    pub(super) fn close(&mut self, due: Due, tick: u32) {
        let Due { at, slot, key } = due;
        let tables = self.plane.tables();
        for _ in 0..TRIES {
            let Some(flow) = tables.flow_at(slot).filter(|flow| flow.key == key) else {
                return;
            };
            let pacing = &self.closer.pacing;
            let Some(order) = pacing.orders.of(tables, &flow) else {
                return;
            };
            if flow.value.is_pointing()
                || flow.value.is_cut()
                || due_at(pacing.key, key, &order) > at
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
                    self.closer.prodding.push(Prodded::of(&flow));
                    return;
                }
                // A packet refreshed it just now.
                Ending::Resteer | Ending::Reset => {}
            }
        }
    }
}

/// How the flows of numbers are closed that were removed.
fn deleted<K: Ord + Clone>(ids: &Ids<K>) -> impl Iterator<Item = (u16, Closing)> {
    ids.iter().filter_map(|(id, _, state)| match state {
        IdState::Deleting(deletion) => Some((id, deletion.closing()?)),
        IdState::Active | IdState::Quarantined => None,
    })
}

fn order(orders: &mut Vec<Option<Closing>>, id: u16, closing: Closing) {
    let place = usize::from(id);
    if orders.len() <= place {
        orders.resize(place + 1, None);
    }
    let there = orders[place].unwrap_or(closing);
    orders[place] = Some(sooner(there, closing));
}

/// Of two orders for one flow the one that is done first.
fn sooner(one: Closing, other: Closing) -> Closing {
    let end = |closing: &Closing| closing.since.saturating_add(closing.spread);
    if end(&one) <= end(&other) { one } else { other }
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
                let at = due_at(key, flow * step, &order);
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

//! Who is closed, and when. That depends on nothing but a keyed hash of a flow's name: neighbours in the
//! table, and clients with neighbouring addresses, are closed apart.

use std::time::Duration;

use splitter_ebpf::hash::{derive, siphash13};

use super::super::Writer;
use super::prodding::Unaware;
use crate::api::types::DrainTarget;
use crate::dataplane::{DataPlane, FlowSlot};
use crate::state::{Closing, Ending};

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

/// Whose flows are closed, and which of them are next.
pub(super) struct Pacing {
    key: [u64; 2],
    /// By backend.
    orders: Vec<Option<Closing>>,
    /// The next one last.
    due: Vec<Due>,
}

impl Pacing {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Self {
            key: derive(secret, "close", ""),
            orders: Vec::new(),
            due: Vec::new(),
        }
    }

    /// What is ordered for flows of a backend.
    fn order(&self, backend: usize) -> Option<&Closing> {
        self.orders.get(backend)?.as_ref()
    }

    /// The flow's time, if it comes before a scan that began at `now` is followed by another.
    pub(super) fn meet(&self, flow: &FlowSlot, backend: usize, now: u64) -> Option<Due> {
        let at = due_at(self.key, flow.key, self.order(backend)?);
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
        self.closer.pacing.orders = orders;
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
            let Some(order) = pacing.order(usize::from(flow.value.backend())) else {
                return;
            };
            if flow.value.is_pointing()
                || flow.value.is_cut()
                || due_at(pacing.key, key, order) > at
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
                    self.closer.prodding.push(Unaware::of(&flow));
                    return;
                }
                // A packet refreshed it just now.
                Ending::Resteer | Ending::Reset => {}
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

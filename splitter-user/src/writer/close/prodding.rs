//! Ends of cut flows that have not spoken since are made to, by a SYN in the other end's name: see
//! [`crate::prod`].

use std::collections::VecDeque;
use std::time::Duration;

use splitter_ebpf::flow::State;
use splitter_ebpf::wire::TCP;

use super::super::Writer;
use crate::dataplane::{DataPlane, FlowSlot};
use crate::prod::{Mute, Prod};

/// For how long after it was cut a flow's ends are prodded by every scan: five times, about.
pub(in super::super) const PRODDED: Duration = Duration::from_secs(5);

/// A cut flow of which somebody does not know yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unaware {
    slot: usize,
    key: u64,
}

impl Unaware {
    pub(super) const fn of(flow: &FlowSlot) -> Self {
        Self {
            slot: flow.slot,
            key: flow.key,
        }
    }
}

/// Who is prodded, and how.
pub(super) struct Prodding {
    prod: Box<dyn Prod>,
    queue: VecDeque<Unaware>,
}

impl Default for Prodding {
    fn default() -> Self {
        Self {
            prod: Box::new(Mute),
            queue: VecDeque::new(),
        }
    }
}

impl Prodding {
    /// Takes over what a whole scan has found.
    pub(super) fn take(&mut self, unaware: Vec<Unaware>) {
        self.queue = unaware.into();
    }

    pub(super) fn push(&mut self, unaware: Unaware) {
        self.queue.push_back(unaware);
    }

    pub(super) fn next(&mut self) -> Option<Unaware> {
        self.queue.pop_front()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }
}

impl<D: DataPlane + 'static> Writer<D> {
    /// Says who prods idle ends, before the thread runs.
    pub fn prod_with(&mut self, prod: Box<dyn Prod>) {
        self.closer.prodding.prod = prod;
    }

    /// Prods the ends of a cut flow that have not been told.
    pub(super) fn prod(&mut self, Unaware { slot, key }: Unaware) {
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
            match self.closer.prodding.prod.prod(from, to) {
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

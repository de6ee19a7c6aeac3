//! Ends of cut flows are made to speak, by segments in the other end's name: see [`crate::prod`]. An end that
//! has not been answered gets a SYN; one that has, an ACK, for its RST may have been lost on the way.
//!
//! A backend that answers by itself is told by what its client says: once it has lost two RSTs and its client
//! has got one, nobody knows its numbers, and it waits for its own time.

use std::collections::VecDeque;
use std::time::Duration;

use splitter_ebpf::flow::State;
use splitter_ebpf::wire::TCP;

use super::super::Writer;
use crate::dataplane::{DataPlane, FlowSlot};
use crate::prod::{Mute, Prod, Segment};

/// For how long after it was cut a flow's ends are prodded by every scan: five times, about.
pub(in super::super) const PRODDED: Duration = Duration::from_secs(5);

/// A cut flow whose ends are to be prodded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prodded {
    slot: usize,
    key: u64,
}

impl Prodded {
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
    queue: VecDeque<Prodded>,
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
    /// Takes over what a whole scan has found: flows of which somebody was not told, and those of which
    /// everybody was, who are last.
    pub(super) fn take(&mut self, unaware: Vec<Prodded>, told: Vec<Prodded>) {
        self.queue = unaware.into();
        self.queue.extend(told);
    }

    /// A flow that was cut just now goes before all others.
    pub(super) fn push(&mut self, cut: Prodded) {
        self.queue.push_front(cut);
    }

    pub(super) fn next(&mut self) -> Option<Prodded> {
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

    /// Prods the ends of a cut flow.
    pub(super) fn prod(&mut self, Prodded { slot, key }: Prodded) {
        let tables = self.plane.tables();
        let flow = tables.flow_at(slot).filter(|flow| flow.key == key);
        let Some(flow) = flow.filter(|flow| flow.value.is_cut()) else {
            return;
        };
        let Some(ends) = tables.ends(&flow).filter(|ends| ends.protocol == TCP) else {
            return;
        };
        let state = flow.value.state_bits();
        let with = |told: &[State]| {
            if told.iter().any(|told| state == *told as u8) {
                Segment::Ack
            } else {
                Segment::Syn
            }
        };
        let mut segments = Vec::with_capacity(2);
        match ends.backend {
            Some((backend, client)) => {
                let told = [State::CutSecond, State::CutTold];
                segments.push((with(&told), client, backend));
                let told = [State::CutFirst, State::CutTold];
                segments.push((with(&told), ends.listener, ends.client));
            }
            // Its challenges become the backend's RSTs, and then its own.
            None => segments.push((with(&[State::CutTold]), ends.listener, ends.client)),
        }
        for (segment, from, to) in segments {
            match self.closer.prodding.prod.prod(segment, from, to) {
                Ok(()) => self.closer.closes.prods += 1,
                Err(error) => {
                    if self.closer.closes.prods_failed == 0 {
                        tracing::warn!(%error, %from, %to, "cannot prod an idle end of a flow that is reset");
                    }
                    self.closer.closes.prods_failed += 1;
                }
            }
        }
    }
}

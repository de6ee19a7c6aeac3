//! The flows, and which of a bucket's places each has.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use splitter_ebpf::abi::BUCKET_FLOWS;
use splitter_ebpf::endpoint::{flow_key_v4, flow_key_v6, flow_place};
use splitter_ebpf::flow::{State, TICK_MASK, Value};
use splitter_ebpf::wire::{WireAddress, WirePort};
use splitter_user::loader::Keys;

/// Who a flow is: its client and its listener.
pub(super) type Name = (SocketAddr, u16);

/// A flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) backend: u16,
    pub(super) state: State,
    /// The tick of its first or last packet.
    pub(super) seen: u32,
}

/// A flow table.
#[derive(Debug)]
pub(super) struct Room {
    keys: Keys,
    mask: u32,
    flows: HashMap<Name, (Flow, usize)>,
    slots: BTreeMap<usize, Name>,
}

/// Ticks for which no flow is evicted.
const SETTLING: u32 = 2;

impl Room {
    pub(super) fn new(keys: Keys, buckets: u32) -> Self {
        Self {
            keys,
            mask: buckets - 1,
            flows: HashMap::new(),
            slots: BTreeMap::new(),
        }
    }

    pub(super) fn get(&self, name: Name) -> Option<Flow> {
        self.flows.get(&name).map(|(flow, _)| *flow)
    }

    /// Changes a flow that is there.
    pub(super) fn set(&mut self, name: Name, flow: Flow) {
        if let Some((old, _)) = self.flows.get_mut(&name) {
            *old = flow;
        }
    }

    /// The flow in the first slot from `slot` on, or in the first of all.
    pub(super) fn any(&self, slot: usize) -> Option<(Name, Flow)> {
        let mut found = self.slots.range(slot..).chain(&self.slots);
        let (_, name) = found.next()?;
        Some((*name, self.flows[name].0))
    }

    /// The key that a flow has in the table.
    fn key(&self, (client, listener): Name) -> u64 {
        let port = WirePort::new(client.port());
        let address = WireAddress::from(client.ip());
        if client.is_ipv4() {
            flow_key_v4(address.0[0], port, listener)
        } else {
            flow_key_v6(self.keys.fingerprint, address, port, listener)
        }
    }

    /// Finds a place for a new flow: its first bucket while three places are free there, else the
    /// emptier one, else that of the oldest flow that may be evicted. False if there is none.
    pub(super) fn insert(&mut self, name: Name, flow: Flow, now: u32) -> bool {
        let place = flow_place(self.keys.flow, self.key(name), self.mask);
        let [first, second] = place.buckets.map(|bucket| self.free(bucket));
        let free = if first.len() >= 3 || first.len() >= second.len() {
            first
        } else {
            second
        };
        let slot = match free.first() {
            Some(slot) => *slot,
            None => match self.oldest(place.buckets, now) {
                Some(slot) => {
                    self.flows.remove(&self.slots[&slot]);
                    slot
                }
                None => return false,
            },
        };
        self.slots.insert(slot, name);
        self.flows.insert(name, (flow, slot));
        true
    }

    fn lanes(bucket: u32) -> std::ops::Range<usize> {
        let start = bucket as usize * BUCKET_FLOWS;
        start..start + BUCKET_FLOWS
    }

    fn free(&self, bucket: u32) -> Vec<usize> {
        let is_free = |slot: &usize| !self.slots.contains_key(slot);
        Self::lanes(bucket).filter(is_free).collect()
    }

    /// The slot of the flow that was seen longest ago, the first of several, among those that were not
    /// established and have settled.
    fn oldest(&self, buckets: [u32; 2], now: u32) -> Option<usize> {
        let mut oldest = None;
        for slot in buckets.into_iter().flat_map(Self::lanes) {
            let flow = self.flows[&self.slots[&slot]].0;
            let age = age(flow.seen, now);
            if !flow.state.is_established()
                && age >= SETTLING
                && oldest.is_none_or(|(best, _)| age > best)
            {
                oldest = Some((age, slot));
            }
        }
        oldest.map(|(_, slot)| slot)
    }

    /// Frees a flow, and says what stood where.
    pub(super) fn remove(&mut self, name: Name) -> Option<(usize, u64, Value)> {
        let (flow, slot) = self.flows.remove(&name)?;
        self.slots.remove(&slot);
        let (key, value) = self.words(name, flow);
        Some((slot, key, value))
    }

    /// Makes every flow older.
    pub(super) fn age(&mut self, ticks: u32) {
        for (flow, _) in self.flows.values_mut() {
            flow.seen = flow.seen.wrapping_sub(ticks) & TICK_MASK;
        }
    }

    fn words(&self, name: Name, flow: Flow) -> (u64, Value) {
        let key = self.key(name);
        let tag = flow_place(self.keys.flow, key, self.mask).tag;
        let value = Value::new(flow.backend, flow.state as u8, tag, flow.seen);
        (key, value)
    }

    /// What the table must hold: slot, key and value of every flow, in the order of slots.
    pub(super) fn table(&self) -> impl Iterator<Item = (usize, u64, Value)> {
        self.slots.iter().map(|(slot, name)| {
            let (key, value) = self.words(*name, self.flows[name].0);
            (*slot, key, value)
        })
    }
}

/// Ticks from `seen` to `now`.
pub(super) const fn age(seen: u32, now: u32) -> u32 {
    now.wrapping_sub(seen) & TICK_MASK
}

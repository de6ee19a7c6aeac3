//! The flows, and which of a bucket's places each has.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use splitter_ebpf::abi::BUCKET_FLOWS;
use splitter_ebpf::endpoint::{flow_key_v4, flow_key_v6, flow_place, translation_key};
use splitter_ebpf::flow::{State, TICK_MASK, Value};
use splitter_ebpf::wire::{WireAddress, WirePort};
use splitter_user::loader::Keys;

use super::life::is_established;

/// Who a flow is: its client and its listener.
pub(super) type Name = (SocketAddr, u16);

/// What a second entry stands for: a backend's endpoint, a place of ours there, and the protocol.
pub(super) type Way = (SocketAddr, SocketAddr, u8);

/// A flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) backend: u16,
    pub(super) state: State,
    /// The tick of its first or last packet.
    pub(super) seen: u32,
    /// Its second entry.
    pub(super) way: Option<Way>,
}

/// Who is in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occupant {
    /// A flow.
    Flow(Name, Flow),
    /// A second entry, and the slot of its flow.
    Second(Way, usize),
}

/// A flow table.
#[derive(Debug)]
pub(super) struct Room {
    keys: Keys,
    mask: u32,
    slots: BTreeMap<usize, Occupant>,
    places: HashMap<u64, usize>,
    /// The key of the last one in each slot.
    last: HashMap<usize, u64>,
}

/// Ticks for which no flow is evicted.
const SETTLING: u32 = 2;

impl Room {
    pub(super) fn new(keys: Keys, buckets: u32) -> Self {
        Self {
            keys,
            mask: buckets - 1,
            slots: BTreeMap::new(),
            places: HashMap::new(),
            last: HashMap::new(),
        }
    }

    /// A flow, and its slot.
    pub(super) fn get(&self, name: Name) -> Option<Flow> {
        match self.slots[self.places.get(&self.key(name))?] {
            Occupant::Flow(_, flow) => Some(flow),
            Occupant::Second(..) => None,
        }
    }

    /// The flow that a second entry leads to, if it still is that entry's.
    pub(super) fn behind(&self, way: Way) -> Option<(Name, Flow)> {
        let Occupant::Second(_, slot) = self.slots[self.places.get(&self.second_key(way))?] else {
            return None;
        };
        match self.slots.get(&slot)? {
            Occupant::Flow(name, flow) if flow.way == Some(way) => Some((*name, *flow)),
            _ => None,
        }
    }

    /// Whether a second entry is there.
    pub(super) fn is_used(&self, way: Way) -> bool {
        self.places.contains_key(&self.second_key(way))
    }

    /// Changes a flow that is there.
    pub(super) fn set(&mut self, name: Name, next: Flow) {
        let slot = self.places.get(&self.key(name));
        if let Some(Occupant::Flow(_, flow)) = slot.and_then(|slot| self.slots.get_mut(slot)) {
            *flow = next;
        }
    }

    /// A flow in a slot from `slot` on, or in any.
    pub(super) fn any(&self, slot: usize) -> Option<(Name, Flow)> {
        let mut occupants = self.slots.range(slot..).chain(&self.slots);
        occupants.find_map(|(_, occupant)| match occupant {
            Occupant::Flow(name, flow) => Some((*name, *flow)),
            Occupant::Second(..) => None,
        })
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

    fn second_key(&self, (backend, ours, protocol): Way) -> u64 {
        let place = |at: SocketAddr| (at.ip().into(), WirePort::new(at.port()));
        let (key, backend, translated) = (self.keys.fingerprint, place(backend), place(ours));
        if ours.is_ipv6() {
            translation_key::<true>(key, backend, translated, protocol)
        } else {
            translation_key::<false>(key, backend, translated, protocol)
        }
    }

    fn key_of(&self, occupant: Occupant) -> u64 {
        match occupant {
            Occupant::Flow(name, _) => self.key(name),
            Occupant::Second(way, _) => self.second_key(way),
        }
    }

    /// Bits of a flow's hash that all its packets share.
    pub(super) fn spread(&self, name: Name) -> u32 {
        let place = flow_place(self.keys.flow, self.key(name), self.mask);
        (place.tag << 12) | place.lock
    }

    /// Finds a place for somebody new: in its first bucket while three places are free there, else in
    /// the emptier one, else in the place of the oldest flow that may be evicted. Gives back the slot,
    /// and the flow that was evicted.
    pub(super) fn insert(
        &mut self,
        occupant: Occupant,
        now: u32,
    ) -> Option<(usize, Option<(Flow, usize)>)> {
        let key = self.key_of(occupant);
        let place = flow_place(self.keys.flow, key, self.mask);
        let [first, second] = place.buckets.map(|bucket| self.free(bucket));
        let free = if first.len() >= 3 || first.len() >= second.len() {
            first
        } else {
            second
        };
        // A place that was its own last time comes first.
        let own = free.iter().find(|slot| self.last.get(slot) == Some(&key));
        let (slot, victim) = match own.or(free.first()) {
            Some(slot) => (*slot, None),
            None => {
                let (slot, flow) = self.oldest(place.buckets, now)?;
                self.places.remove(&self.last[&slot]);
                (slot, Some((flow, slot)))
            }
        };
        self.slots.insert(slot, occupant);
        self.places.insert(key, slot);
        self.last.insert(slot, key);
        Some((slot, victim))
    }

    fn lanes(bucket: u32) -> std::ops::Range<usize> {
        let start = bucket as usize * BUCKET_FLOWS;
        start..start + BUCKET_FLOWS
    }

    fn free(&self, bucket: u32) -> Vec<usize> {
        let is_free = |slot: &usize| !self.slots.contains_key(slot);
        Self::lanes(bucket).filter(is_free).collect()
    }

    /// The slot of the flow that was seen longest ago among those that were not established and have
    /// settled; of several, that in the last lane, and there that in the first bucket.
    fn oldest(&self, buckets: [u32; 2], now: u32) -> Option<(usize, Flow)> {
        let mut oldest: Option<(u32, usize, usize, Flow)> = None;
        for slot in buckets.into_iter().flat_map(Self::lanes) {
            let Some(Occupant::Flow(_, flow)) = self.slots.get(&slot) else {
                continue;
            };
            let (age, lane) = (age(flow.seen, now), slot % BUCKET_FLOWS);
            let older = oldest.is_none_or(|(best, of, ..)| (age, lane) > (best, of));
            if !is_established(flow.state) && age >= SETTLING && older {
                oldest = Some((age, lane, slot, *flow));
            }
        }
        oldest.map(|(_, _, slot, flow)| (slot, flow))
    }

    /// Frees a flow, and says what stood where.
    pub(super) fn remove(&mut self, name: Name) -> Option<(usize, u64, Value, Flow)> {
        let key = self.key(name);
        let slot = self.places.remove(&key)?;
        let occupant = self.slots.remove(&slot).expect("places lead to slots");
        let Occupant::Flow(_, flow) = occupant else {
            unreachable!("a flow's key is no second entry's");
        };
        Some((slot, key, self.value(key, occupant), flow))
    }

    /// Cuts a flow at the tick `now`, and says what stood where.
    pub(super) fn cut(&mut self, name: Name, now: u32) -> Option<(usize, u64, Value)> {
        let key = self.key(name);
        let slot = *self.places.get(&key)?;
        let before = self.value(key, self.slots[&slot]);
        if let Some(Occupant::Flow(_, flow)) = self.slots.get_mut(&slot) {
            (flow.state, flow.seen) = (State::Cut, now);
        }
        Some((slot, key, before))
    }

    /// Frees a second entry that leads to `slot`, and says what stood where.
    pub(super) fn remove_second(&mut self, way: Way, slot: usize) -> Option<(usize, u64, Value)> {
        let key = self.second_key(way);
        let at = *self.places.get(&key)?;
        let occupant = self.slots[&at];
        if occupant != Occupant::Second(way, slot) {
            return None;
        }
        self.places.remove(&key);
        self.slots.remove(&at);
        Some((at, key, self.value(key, occupant)))
    }

    /// Lets a second entry lead to its flow's slot.
    pub(super) fn point(&mut self, at: usize, to: usize) {
        if let Some(Occupant::Second(_, slot)) = self.slots.get_mut(&at) {
            *slot = to;
        }
    }

    /// Second entries that lead to no flow of theirs.
    pub(super) fn orphans(&self) -> Vec<(Way, usize)> {
        let orphan = |occupant: &Occupant| match occupant {
            Occupant::Second(way, slot) if self.behind(*way).is_none() => Some((*way, *slot)),
            _ => None,
        };
        self.slots.values().filter_map(orphan).collect()
    }

    /// Makes every flow older.
    pub(super) fn age(&mut self, ticks: u32) {
        for occupant in self.slots.values_mut() {
            if let Occupant::Flow(_, flow) = occupant {
                flow.seen = flow.seen.wrapping_sub(ticks) & TICK_MASK;
            }
        }
    }

    fn value(&self, key: u64, occupant: Occupant) -> Value {
        let tag = flow_place(self.keys.flow, key, self.mask).tag;
        match occupant {
            Occupant::Flow(_, flow) => Value::new(flow.backend, flow.state as u8, tag, flow.seen),
            Occupant::Second(_, slot) => Value::pointing(slot as u64, tag),
        }
    }

    /// What the table must hold: slot, key and value of everybody, in the order of slots.
    pub(super) fn table(&self) -> impl Iterator<Item = (usize, u64, Value)> {
        self.slots.iter().map(|(slot, occupant)| {
            let key = self.last[slot];
            (*slot, key, self.value(key, *occupant))
        })
    }
}

/// Ticks from `seen` to `now`.
pub(super) const fn age(seen: u32, now: u32) -> u32 {
    now.wrapping_sub(seen) & TICK_MASK
}

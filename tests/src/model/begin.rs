//! New flows: the backend that the tables give, and the place that their pin gets.

use std::net::SocketAddr;

use splitter_ebpf::abi::{Mode, NoBackend};
use splitter_ebpf::flow::{State, Value};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::TCP;

use super::packet::Headers;
use super::room::{self, Flow, Occupant, Room};
use super::{Model, Refusal};

/// The slot of a second entry whose flow has none yet.
const NOWHERE: usize = (1 << 40) - 1;
impl Model {
    /// Chooses a backend for a new flow, and pins it where that is possible.
    pub(super) fn begin(
        &mut self,
        segment: &Headers,
        name: room::Name,
        found: Option<Flow>,
    ) -> Result<(u16, Reason), Refusal> {
        let (id, aside) = self.choose(segment.from, name.1)?;
        let backend = self.services.backends[&id].clone();
        if backend.hop.is_none() {
            return Err(Reason::NoNextHop.into());
        }
        let translated = backend.mode == Mode::FullNat;
        if segment.flags & splitter_ebpf::flow::RST != 0 {
            if translated {
                return Err(Reason::NatUnpinned.into());
            }
            return Ok((id, Reason::StrayReset));
        }
        let pinned = match &mut self.limits.pins {
            Some(0) => {
                if found.is_some() {
                    self.forget(name);
                }
                Err(Reason::UnpinnedCapped)
            }
            cap => {
                *cap = cap.map(|left| left - 1);
                self.pin(segment, name, id, found)
            }
        };
        let counters = self.counters.entry(id).or_default();
        match pinned {
            Ok(()) => {
                counters.new_flows += 1;
                counters.aside += u64::from(aside);
                Ok((id, Reason::NewFlow))
            }
            Err(Reason::NatExhausted) => Err(Reason::NatExhausted.into()),
            Err(_) if translated => Err(Reason::NatUnpinned.into()),
            Err(reason) => {
                counters.unpinned += 1;
                Ok((id, reason))
            }
        }
    }

    /// Pins a flow to a backend, in the place of `found` if there is one that is over.
    fn pin(
        &mut self,
        segment: &Headers,
        name: room::Name,
        id: u16,
        found: Option<Flow>,
    ) -> Result<(), Reason> {
        let backend = self.services.backends[&id].clone();
        let mut flow = Flow {
            backend: id,
            state: if segment.protocol == TCP {
                State::New
            } else {
                State::UdpNew
            },
            seen: self.now,
            way: None,
        };
        if let Some(old) = found {
            if backend.mode != Mode::FullNat && old.way.is_none() {
                self.room.set(name, flow);
                return Ok(());
            }
            self.forget(name);
        }
        let now = self.now;
        let place = |occupant, room: &mut Room| room.insert(occupant, now);
        if backend.mode != Mode::FullNat {
            let occupant = Occupant::Flow(name, flow);
            let (_, victim) = place(occupant, &mut self.room).ok_or(Reason::UnpinnedTableFull)?;
            self.release(victim);
            return Ok(());
        }
        let spread = self.room.spread(name);
        let at = backend.at(segment.to.port());
        // So many places are tried before there is none.
        for probe in 0..32 {
            let ours = backend.place(spread, probe);
            let way = (at, ours.ok_or(Reason::NatExhausted)?, segment.protocol);
            if self.room.is_used(way) {
                continue;
            }
            let second = Occupant::Second(way, NOWHERE);
            let (second, victim) =
                place(second, &mut self.room).ok_or(Reason::UnpinnedTableFull)?;
            self.release(victim);
            flow.way = Some(way);
            let Some((slot, victim)) = place(Occupant::Flow(name, flow), &mut self.room) else {
                self.room.remove_second(way, NOWHERE);
                return Err(Reason::UnpinnedTableFull);
            };
            self.room.point(second, slot);
            self.release(victim);
            return Ok(());
        }
        Err(Reason::NatExhausted)
    }

    /// Frees a flow, its second entry too.
    pub(super) fn forget(&mut self, name: room::Name) -> Option<(usize, u64, Value)> {
        let (slot, key, value, flow) = self.room.remove(name)?;
        self.release(Some((flow, slot)));
        Some((slot, key, value))
    }

    /// Frees the second entry of a flow that was in a slot.
    fn release(&mut self, victim: Option<(Flow, usize)>) {
        if let Some((flow, slot)) = victim
            && let Some(way) = flow.way
        {
            self.room.remove_second(way, slot);
        }
    }

    /// The backend for a new flow, and whether it gets it aside from the weights.
    fn choose(&self, client: SocketAddr, id: u16) -> Result<(u16, bool), Reason> {
        let services = &self.services;
        let listener = &services.listeners[&id];
        if listener.service == 0 {
            return Err(Reason::InactiveListener);
        }
        let (candidates, aside) = services.candidates(client, id);
        let Some(first) = candidates.first().copied() else {
            return Err(match services.services[&listener.service].no_backend {
                NoBackend::Drop => Reason::NoBackend,
                NoBackend::Reset => Reason::NoBackendReset,
                NoBackend::Unreachable => Reason::NoBackendUnreachable,
            });
        };
        if !services.backends[&first].shared {
            return Ok((first, aside));
        }
        let free = |backend: &u16| !self.is_taken(client, id, *backend);
        let backend = candidates.into_iter().find(free);
        Ok((backend.ok_or(Reason::TupleConflict)?, aside))
    }

    /// Whether a client already reaches a backend's endpoint through another listener.
    fn is_taken(&self, client: SocketAddr, id: u16, backend: u16) -> bool {
        let listener = &self.services.listeners[&id];
        let at = self.services.backends[&backend].at(listener.at.port());
        let pairs = self.services.answers.get(&(at, listener.protocol));
        pairs.into_iter().flatten().any(|(other, as_whom)| {
            *other != id
                && self
                    .room
                    .get((client, *other))
                    .is_some_and(|flow| flow.backend == *as_whom)
        })
    }

    /// Whether a SYN opens a new flow in the old one's place.
    pub(super) fn opens_anew(&self, segment: &Headers, flow: Flow) -> bool {
        use splitter_ebpf::flow::{ACK, SYN};
        let one_way = self
            .services
            .backends
            .get(&flow.backend)
            .is_some_and(|backend| matches!(backend.mode, Mode::DsrL2 | Mode::Ipip));
        let lately = room::age(flow.seen, self.now) < self.second;
        let over = match flow.state {
            State::ResetNew => true,
            _ if flow.state.is_cut() => true,
            State::Closing => !one_way || !lately,
            State::Reset => !lately,
            _ => false,
        };
        let silent = room::age(flow.seen, self.now) > self.reuse;
        segment.flags & (SYN | ACK) == SYN && (over || silent)
    }
}

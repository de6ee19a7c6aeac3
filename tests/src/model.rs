//! A plain model of what the program does, to compare it with over random packets and events.
//!
//! It knows the glossary and the tables' content, and nothing of how the program is built: hash maps,
//! byte slices, checksums by 16-bit words, one state machine written down once more. What it shares with
//! the program is where hashes lead (`splitter_ebpf::endpoint`), since places are part of the contract.
//!
//! Time does not pass in a trial: the clock's shift makes a tick of months. Flows grow older by the
//! trial's own [`Step::Age`], which takes the same ticks from every `last seen` in model and table.

mod generate;
mod hops;
mod life;
mod packet;
mod rewrite;
mod room;
mod split;
mod trial;
mod world;

pub use trial::run;
pub use world::World;

use std::net::SocketAddr;

use splitter_ebpf::flow::State;
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::TCP;

use hops::{Hop, WaysBack};
use life::Sender;
use packet::{Content, Headers, Known};
use room::{Flow, Room};
use split::Services;

/// What must become of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its verdict.
    pub reason: Reason,
    /// The whole frame, as the program leaves it.
    pub frame: Vec<u8>,
    /// Where it is sent; 0 if it is not.
    pub ifindex: u32,
}

/// The model.
#[derive(Debug)]
struct Model {
    services: Services,
    room: Room,
    ways_back: WaysBack,
    /// The tick of now, and of a trial.
    now: u32,
    /// Ticks that are a second.
    second: u32,
    /// Ticks after which a SYN chooses anew.
    reuse: u32,
    /// Where test runs come in by.
    ingress: u32,
}

impl Model {
    /// What becomes of a frame, which may change flows.
    fn packet(&mut self, frame: &[u8]) -> Expected {
        let mut out = frame.to_vec();
        let (reason, hop) = self.classify(&mut out);
        if let Some(hop) = hop {
            out[..12].copy_from_slice(&hop.macs);
        }
        Expected {
            reason,
            frame: out,
            ifindex: hop.map_or(0, |hop| hop.ifindex),
        }
    }

    fn classify(&mut self, frame: &mut [u8]) -> (Reason, Option<Hop>) {
        let no = |reason| (reason, None);
        match packet::read(frame) {
            Known::Nothing => no(Reason::NotIp),
            Known::Destination(to, _) if !self.services.is_vip(to) => no(Reason::Foreign),
            Known::Destination(_, packet::Fate::Verdict(reason)) => no(reason),
            Known::Destination(to, packet::Fate::Echo) => {
                rewrite::echo(frame, to.is_ipv6());
                let macs = frame[..12].try_into().expect("twelve bytes");
                let ifindex = self.ingress;
                (Reason::EchoReply, Some(Hop { macs, ifindex }))
            }
            Known::Segment(segment) => {
                if let Some(id) = self.services.listener(segment.to, segment.protocol) {
                    return self
                        .request(frame, &segment, id)
                        .unwrap_or_else(|reason| no(reason));
                }
                let from = (segment.from, segment.protocol);
                if let Some(pairs) = self.services.answers.get(&from).cloned() {
                    return self
                        .reply(frame, &segment, &pairs)
                        .unwrap_or_else(|reason| no(reason));
                }
                no(Reason::Foreign)
            }
        }
    }

    /// From a client to a listener.
    fn request(
        &mut self,
        frame: &mut [u8],
        segment: &Headers,
        listener: u16,
    ) -> Result<(Reason, Option<Hop>), Reason> {
        check(segment)?;
        let name = (segment.from, listener);
        let found = self.room.get(name);
        if let Some(flow) = found.filter(|flow| !self.opens_anew(segment, *flow)) {
            if self.refresh(name, flow, Sender::Client, segment) {
                let client = segment.from.ip();
                self.ways_back.learn(client, frame, self.ingress);
            }
            return self.deliver(frame, segment, flow.backend, Reason::Pinned);
        }
        let backend = self.choose(segment.from, listener)?;
        if self.services.backends[&backend].hop.is_none() {
            return Err(Reason::NoNextHop);
        }
        if segment.flags & splitter_ebpf::flow::RST != 0 {
            return self.deliver(frame, segment, backend, Reason::StrayReset);
        }
        let state = if segment.protocol == TCP {
            State::New
        } else {
            State::UdpNew
        };
        let flow = Flow {
            backend,
            state,
            seen: self.now,
        };
        let reason = if found.is_some() {
            self.room.set(name, flow);
            Reason::NewFlow
        } else if self.room.insert(name, flow, self.now) {
            Reason::NewFlow
        } else {
            Reason::UnpinnedTableFull
        };
        if reason == Reason::NewFlow {
            let client = segment.from.ip();
            self.ways_back.learn(client, frame, self.ingress);
        }
        self.deliver(frame, segment, backend, reason)
    }

    /// From a backend that may answer for these listeners.
    fn reply(
        &mut self,
        frame: &mut [u8],
        segment: &Headers,
        pairs: &[(u16, u16)],
    ) -> Result<(Reason, Option<Hop>), Reason> {
        let pinned = |(listener, _): &(u16, u16)| self.room.get((segment.to, *listener));
        let own = |pair: &&(u16, u16)| pinned(pair).is_some_and(|flow| flow.backend == pair.1);
        let Some((listener, _)) = pairs.iter().find(own).copied() else {
            let others = pairs.iter().any(|pair| pinned(pair).is_some());
            return Err(if others {
                Reason::WrongBackend
            } else {
                Reason::BackendDirect
            });
        };
        check(segment)?;
        let client = segment.to.ip();
        let hop = self.ways_back.towards(client).ok_or(Reason::NoReturnPath)?;
        let name = (segment.to, listener);
        let flow = self.room.get(name).expect("just found");
        self.refresh(name, flow, Sender::Backend, segment);
        let from = self.services.listeners[&listener].at;
        rewrite::translate(frame, rewrite::End::Source, from, segment.protocol);
        Ok((Reason::Reply, Some(hop)))
    }

    /// The backend for a new flow.
    fn choose(&self, client: SocketAddr, id: u16) -> Result<u16, Reason> {
        let services = &self.services;
        let listener = &services.listeners[&id];
        if listener.service == 0 {
            return Err(Reason::InactiveListener);
        }
        let mut candidates = services.candidates(client, listener);
        let first = candidates.next().filter(|backend| *backend != 0);
        let first = first.ok_or(Reason::NoBackend)?;
        if !services.backends[&first].shared {
            return Ok(first);
        }
        let free = |backend: &u16| *backend != 0 && !self.is_taken(client, id, *backend);
        std::iter::once(first)
            .chain(candidates)
            .find(free)
            .ok_or(Reason::TupleConflict)
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

    /// Records a packet of a flow; says whether anything changed.
    fn refresh(&mut self, name: room::Name, flow: Flow, sender: Sender, segment: &Headers) -> bool {
        let said = life::Said {
            sender,
            flags: segment.flags,
            data: segment.content == Content::Data,
            old: room::age(flow.seen, self.now) >= self.second,
            one_way: false,
        };
        let state = life::after(flow.state, said);
        let seen = if life::unconfirmed(state, false) {
            flow.seen
        } else {
            self.now
        };
        let next = Flow {
            state,
            seen,
            ..flow
        };
        self.room.set(name, next);
        next != flow
    }

    /// Whether a SYN opens a new flow in the old one's place.
    fn opens_anew(&self, segment: &Headers, flow: Flow) -> bool {
        use splitter_ebpf::flow::{ACK, SYN};
        let over = matches!(flow.state, State::Closing | State::Reset | State::ResetNew);
        let silent = room::age(flow.seen, self.now) > self.reuse;
        segment.flags & (SYN | ACK) == SYN && (over || silent)
    }

    fn deliver(
        &self,
        frame: &mut [u8],
        segment: &Headers,
        backend: u16,
        reason: Reason,
    ) -> Result<(Reason, Option<Hop>), Reason> {
        let backend = self.services.backends[&backend];
        let hop = backend.hop.ok_or(Reason::NoNextHop)?;
        let to = backend.at(segment.to.port());
        rewrite::translate(frame, rewrite::End::Destination, to, segment.protocol);
        Ok((reason, Some(hop)))
    }
}

/// What every segment of a flow must be.
fn check(segment: &Headers) -> Result<(), Reason> {
    if segment.content == Content::Contradictory {
        return Err(Reason::Malformed);
    }
    if segment.ttl <= 1 {
        return Err(Reason::TtlExpired);
    }
    Ok(())
}

/// What a trial does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A packet comes in.
    Packet(Vec<u8>),
    /// This service's split table of this number becomes current.
    Flip(usize, u8),
    /// Of a service's track, the backends in this set take new flows.
    Backends(usize, usize, u32),
    /// Every flow grows older by so many ticks.
    Age(u32),
    /// The agent frees a flow, if it is there.
    Expire((SocketAddr, u16)),
    /// Routes may have changed.
    Routes,
    /// A listener, by its place among all, is owned by nobody, or by its service again.
    Binding(usize, bool),
    /// The next hop of a backend, by its place among all, is over this interface now; 0: unknown.
    Hop(usize, u32),
}

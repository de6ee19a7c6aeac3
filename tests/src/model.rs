//! A plain model of what the program does, to compare it with over random packets and events.
//!
//! It knows the glossary and the tables' content, and nothing of how the program is built: hash maps,
//! byte slices, checksums by 16-bit words, one state machine written down once more. What it shares with
//! the program is where hashes lead (`splitter_ebpf::endpoint`), since places are part of the contract.
//!
//! Packets of a VIP or a backend with options, extension headers or in fragments, and ICMP errors, are
//! none of its business yet: it leaves them out.
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
mod told;
mod trial;
mod world;

pub use trial::run;
pub use world::World;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use splitter_ebpf::abi::{BackendCounters, Mode, NoBackend};
use splitter_ebpf::flow::{State, Value};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::TCP;

use hops::{Hop, WaysBack};
use life::Sender;
use packet::{Content, Fate, Headers, Known, Other};
use room::{Flow, Occupant, Room};
use split::Services;
use told::Answer;

/// What must become of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    /// Its verdict.
    reason: Reason,
    /// Where a frame is sent; `None` if none is.
    sent: Option<u32>,
    /// The frame that is sent or passed.
    frame: Vec<u8>,
}

/// A packet that is not sent on.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    reason: Reason,
    /// The VIP that tells the sender, if it is not whom the packet was sent to.
    by: Option<IpAddr>,
    /// What a packet too big is told.
    mtu: u16,
    /// The model does not know.
    unknown: bool,
}

impl Refusal {
    const UNKNOWN: Self = Self {
        reason: Reason::Foreign,
        by: None,
        mtu: 0,
        unknown: true,
    };
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            by: None,
            mtu: 0,
            unknown: false,
        }
    }
}

type Verdict = Result<(Reason, Hop), Refusal>;

/// The model.
#[derive(Debug)]
struct Model {
    services: Services,
    room: Room,
    ways_back: WaysBack,
    counters: HashMap<u16, BackendCounters>,
    limits: Limits,
    /// Outer source addresses: IPv4's first half, IPv6's first three quarters.
    tunnel: ([u8; 2], [u8; 12]),
    /// The tick of now, and of a trial.
    now: u32,
    /// Ticks that are a second.
    second: u32,
    /// Ticks after which a SYN chooses anew.
    reuse: u32,
    /// Where test runs come in by.
    ingress: u32,
}

/// What may be done within a tick, of which a trial has one.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Flows that may still be pinned, if there is a cap.
    pins: Option<u64>,
    /// ICMP errors that may still be sent.
    errors: u64,
}

impl Model {
    /// What becomes of a frame, which may change flows; `None` if the model does not know.
    fn packet(&mut self, frame: &[u8]) -> Option<Expected> {
        let passed = |reason| Expected {
            reason,
            sent: None,
            frame: frame.to_vec(),
        };
        let (mut inner, mut tag) = (frame.to_vec(), None);
        if packet::is_tagged(frame) {
            let Some(tagged) = packet::read_tagged(frame) else {
                return Some(passed(Reason::NotIp));
            };
            let ours = tagged
                .addresses
                .into_iter()
                .any(|ip| self.services.concerns(ip));
            if !ours && (tagged.stacked || !tagged.icmp) {
                return Some(passed(Reason::Foreign));
            }
            if tagged.stacked {
                return Some(passed(Reason::VlanTag));
            }
            inner.drain(12..16);
            tag = Some(tagged.vlan);
        }
        let mut out = inner.clone();
        let back = Hop::back(&inner, self.ingress).by(0, tag);
        Some(match self.classify(&mut out, back) {
            Ok((reason, hop)) => {
                out[..12].copy_from_slice(&hop.macs);
                sent(reason, out, hop)
            }
            Err(refusal) if refusal.unknown => return None,
            Err(refusal) => match self.told(&inner, refusal) {
                Some(answer) => sent(refusal.reason, answer, back),
                None => passed(refusal.reason),
            },
        })
    }

    /// What the sender of a refused packet is told.
    fn told(&mut self, frame: &[u8], refusal: Refusal) -> Option<Vec<u8>> {
        let Known::Segment(segment) = packet::read(frame) else {
            return None;
        };
        let answer = told::answer(frame, &segment, refusal.reason, refusal.by, refusal.mtu)?;
        match answer {
            Answer::Reset(frame) => Some(frame),
            Answer::Error(frame) => {
                self.limits.errors = self.limits.errors.checked_sub(1)?;
                Some(frame)
            }
        }
    }

    /// `back` is the way that the frame came.
    fn classify(&mut self, frame: &mut Vec<u8>, back: Hop) -> Verdict {
        match packet::read(frame) {
            Known::Nothing => Err(Reason::NotIp.into()),
            Known::Other(other) => self.other(frame, other, back),
            Known::Segment(segment) => {
                if let Some(id) = self.services.listener(segment.to, segment.protocol) {
                    return self.request(frame, &segment, id, back);
                }
                let from = (segment.from, segment.protocol);
                if self.services.translated.contains(&from) {
                    let way = (segment.from, segment.to, segment.protocol);
                    if let Some((name, flow)) = self.room.behind(way) {
                        return self.reply_translated(frame, &segment, name, flow);
                    }
                }
                match self.services.answers.get(&from).cloned() {
                    Some(pairs) => self.reply(frame, &segment, &pairs),
                    None => Err(Reason::Foreign.into()),
                }
            }
        }
    }

    /// No plain segment.
    fn other(&self, frame: &mut [u8], other: Other, back: Hop) -> Verdict {
        let vip = self.services.is_vip(other.destination);
        let ours = vip || self.services.concerns(other.source);
        match other.fate {
            Fate::Echo if vip && !is_one_host(frame, other.source) => Err(Reason::HostIcmp.into()),
            Fate::Echo if vip => {
                rewrite::echo(frame, other.source.is_ipv6());
                Ok((Reason::EchoReply, back))
            }
            Fate::Host if vip => Err(Reason::HostIcmp.into()),
            Fate::Malformed if ours => Err(Reason::Malformed.into()),
            Fate::Unmodelled if ours => Err(Refusal::UNKNOWN),
            Fate::Error => Err(Refusal::UNKNOWN),
            _ => Err(Reason::Foreign.into()),
        }
    }

    /// From a client to a listener.
    fn request(
        &mut self,
        frame: &mut Vec<u8>,
        segment: &Headers,
        listener: u16,
        back: Hop,
    ) -> Verdict {
        check(segment)?;
        let name = (segment.from, listener);
        let found = self.room.get(name);
        if let Some(flow) = found.filter(|flow| !self.opens_anew(segment, *flow)) {
            if self.refresh(name, flow, Sender::Client, segment) {
                self.ways_back.learn(segment.from.ip(), back);
            }
            return self.deliver(frame, segment, name, flow.backend, Reason::Pinned);
        }
        let (backend, reason) = self.begin(segment, name, found)?;
        if reason == Reason::NewFlow {
            self.ways_back.learn(segment.from.ip(), back);
        }
        self.deliver(frame, segment, name, backend, reason)
    }

    /// Chooses a backend for a new flow, and pins it where that is possible.
    fn begin(
        &mut self,
        segment: &Headers,
        name: room::Name,
        found: Option<Flow>,
    ) -> Result<(u16, Reason), Refusal> {
        let id = self.choose(segment.from, name.1)?;
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
    fn forget(&mut self, name: room::Name) -> Option<(usize, u64, Value)> {
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

    /// From a backend that may answer for these listeners.
    fn reply(&mut self, frame: &mut [u8], segment: &Headers, pairs: &[(u16, u16)]) -> Verdict {
        let pinned = |(listener, _): &(u16, u16)| self.room.get((segment.to, *listener));
        let own = |pair: &&(u16, u16)| pinned(pair).is_some_and(|flow| flow.backend == pair.1);
        let Some((listener, _)) = pairs.iter().find(own).copied() else {
            let others = pairs.iter().any(|pair| pinned(pair).is_some());
            return Err(if others {
                Reason::WrongBackend.into()
            } else {
                Reason::BackendDirect.into()
            });
        };
        let vip = self.services.listeners[&listener].at;
        let by = |refusal| Refusal {
            by: Some(vip.ip()),
            ..refusal
        };
        check(segment).map_err(by)?;
        let client = segment.to.ip();
        let hop = self.ways_back.towards(client).ok_or(Reason::NoReturnPath)?;
        fits(segment, hop.mtu, 0).map_err(by)?;
        let name = (segment.to, listener);
        let flow = self.room.get(name).expect("just found");
        self.refresh(name, flow, Sender::Backend, segment);
        rewrite::translate(frame, rewrite::End::Source, vip, segment.protocol);
        rewrite::hop(frame, vip.is_ipv6());
        Ok((Reason::Reply, hop))
    }

    /// From a backend to a place of ours that stands for a client.
    fn reply_translated(
        &mut self,
        frame: &mut [u8],
        segment: &Headers,
        name: room::Name,
        flow: Flow,
    ) -> Verdict {
        let (client, listener) = name;
        let hop = self
            .ways_back
            .towards(client.ip())
            .ok_or(Reason::NoReturnPath)?;
        check(segment)?;
        fits(segment, hop.mtu, 0)?;
        self.refresh(name, flow, Sender::Backend, segment);
        let vip = self.services.listeners[&listener].at;
        rewrite::translate(frame, rewrite::End::Source, vip, segment.protocol);
        rewrite::translate(frame, rewrite::End::Destination, client, segment.protocol);
        rewrite::hop(frame, vip.is_ipv6());
        Ok((Reason::Reply, hop))
    }

    /// The backend for a new flow.
    fn choose(&self, client: SocketAddr, id: u16) -> Result<u16, Reason> {
        let services = &self.services;
        let listener = &services.listeners[&id];
        if listener.service == 0 {
            return Err(Reason::InactiveListener);
        }
        let mut candidates = services.candidates(client, listener);
        let Some(first) = candidates.next().filter(|backend| *backend != 0) else {
            return Err(match services.services[&listener.service].no_backend {
                NoBackend::Drop => Reason::NoBackend,
                NoBackend::Reset => Reason::NoBackendReset,
                NoBackend::Unreachable => Reason::NoBackendUnreachable,
            });
        };
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
        let one_way = self.services.backends[&flow.backend].one_way();
        let said = life::Said {
            sender,
            flags: segment.flags,
            data: segment.content == Content::Data,
            old: room::age(flow.seen, self.now) >= self.second,
            one_way,
        };
        let state = life::after(flow.state, said);
        let seen = if life::unconfirmed(state, one_way) {
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
        let one_way = self
            .services
            .backends
            .get(&flow.backend)
            .is_some_and(|backend| matches!(backend.mode, Mode::DsrL2 | Mode::Ipip));
        let lately = room::age(flow.seen, self.now) < self.second;
        let over = match flow.state {
            State::ResetNew => true,
            State::Closing => !one_way || !lately,
            State::Reset => !lately,
            _ => false,
        };
        let silent = room::age(flow.seen, self.now) > self.reuse;
        segment.flags & (SYN | ACK) == SYN && (over || silent)
    }

    /// Sends a client's packet on to its backend.
    fn deliver(
        &self,
        frame: &mut Vec<u8>,
        segment: &Headers,
        name: room::Name,
        id: u16,
        reason: Reason,
    ) -> Verdict {
        let backend = &self.services.backends[&id];
        let hop = backend.hop.ok_or(Reason::NoNextHop)?;
        let v6 = segment.to.is_ipv6();
        let overhead = match backend.mode {
            Mode::Ipip if v6 => 40,
            Mode::Ipip => 20,
            _ => 0,
        };
        fits(segment, hop.mtu, overhead)?;
        rewrite::hop(frame, v6);
        let to = backend.at(segment.to.port());
        match backend.mode {
            Mode::DsrL2 => {}
            Mode::Dnat => {
                rewrite::translate(frame, rewrite::End::Destination, to, segment.protocol);
            }
            Mode::FullNat => {
                let flow = self.room.get(name).expect("it is pinned");
                let (_, ours, _) = flow.way.expect("it was translated");
                rewrite::translate(frame, rewrite::End::Destination, to, segment.protocol);
                rewrite::translate(frame, rewrite::End::Source, ours, segment.protocol);
            }
            Mode::Ipip => {
                let spread = self.room.spread(name);
                let bits = spread.to_ne_bytes();
                let from = if v6 {
                    let octets = [&self.tunnel.1[..], &bits].concat();
                    IpAddr::from(<[u8; 16]>::try_from(octets).expect("sixteen bytes"))
                } else {
                    let [a, b] = self.tunnel.0;
                    IpAddr::from([a, b, bits[2], bits[3]])
                };
                rewrite::encapsulate(frame, from, to.ip(), spread);
            }
        }
        Ok((reason, hop))
    }
}

/// The slot of a second entry whose flow has none yet.
const NOWHERE: usize = (1 << 40) - 1;

/// A frame on its way, with the tag that its next hop asks for.
fn sent(reason: Reason, mut frame: Vec<u8>, hop: Hop) -> Expected {
    if let Some(vlan) = hop.tag {
        let [high, low] = vlan.to_be_bytes();
        frame.splice(12..12, [0x81, 0, high, low]);
    }
    Expected {
        reason,
        sent: Some(hop.ifindex),
        frame,
    }
}

/// What every segment of a flow must be.
fn check(segment: &Headers) -> Result<(), Refusal> {
    if segment.content == Content::Contradictory {
        return Err(Reason::Malformed.into());
    }
    if segment.ttl <= 1 {
        return Err(Reason::TtlExpired.into());
    }
    Ok(())
}

/// Whether the way on takes a segment that grows by `overhead`.
fn fits(segment: &Headers, mtu: u16, overhead: u16) -> Result<(), Refusal> {
    if mtu == 0 || segment.total + usize::from(overhead) <= usize::from(mtu) {
        return Ok(());
    }
    if !segment.whole {
        return Err(Reason::TooBigToFragment.into());
    }
    Err(Refusal {
        mtu: mtu.saturating_sub(overhead),
        ..Reason::TooBig.into()
    })
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
    /// The agent frees second entries that lead nowhere.
    Sweep,
    /// Routes may have changed.
    Routes,
    /// A listener, by its place among all, is owned by nobody, or by its service again.
    Binding(usize, bool),
    /// The next hop of a backend, by its place among all, is over this interface now; 0: unknown.
    Hop(usize, u32),
}

/// Whether something may be sent back to a frame's sender: it is a single host, and the frame is from one
/// MAC address to another.
fn is_one_host(frame: &[u8], source: IpAddr) -> bool {
    let single = match source {
        IpAddr::V4(v4) => !matches!(v4.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(v6) => !v6.is_multicast() && v6.segments()[..4] != [0; 4],
    };
    single && (frame[0] | frame[6]) & 1 == 0
}

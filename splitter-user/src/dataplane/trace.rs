//! What the program would do with the first packet of a flow, read from the tables as they are: the same
//! steps in the same order, over the same pure code.

use std::net::SocketAddr;

use splitter_ebpf::abi::{
    BUCKET_FLOWS, Backend, Binding, Endpoint, EndpointKind, MAGLEV, MAX_SERVICES, Mode, NoBackend,
    Pair, TABLES, track_table_index,
};
use splitter_ebpf::choice::Choice;
use splitter_ebpf::endpoint::{FlowTuple, flow_key_v4, flow_key_v6, flow_place};
use splitter_ebpf::flow::{State, Value};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{Family, TCP, WireAddress, WirePort};

use super::{FlowSlot, Tables};

/// Entries of a track table that the program tries while the client already reaches their backends through
/// another listener.
const TRIES: u32 = 16;

/// A client's packet that opens a flow: a SYN, or a UDP datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// The client.
    pub client: SocketAddr,
    /// What it dials.
    pub to: SocketAddr,
    /// IP protocol number.
    pub protocol: u8,
}

/// What time it is for flows, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Now.
    pub now: u32,
    /// A second.
    pub second: u32,
    /// How long a flow may be silent before a SYN opens a new one in its place.
    pub reuse: u32,
}

/// What becomes of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// The listener's id; 0 if nobody listens there.
    pub listener: u16,
    /// The flow of that name that is in the table, whether it is followed or over.
    pub pin: Option<Value>,
    /// The service that owns the listener now; 0 if none does or it does not matter.
    pub service: u16,
    /// Where the split leads a new flow.
    pub choice: Option<Choice>,
    /// The track whose table was asked, if any was.
    pub track: Option<u8>,
    /// The backend that it goes to; 0: to none.
    pub backend: u16,
    /// Backends that were passed over, for the client reaches them through another listener.
    pub passed_over: u32,
    /// The verdict's reason. A new flow is taken to find room for its pin.
    pub reason: Reason,
}

impl Trace {
    const fn of(reason: Reason) -> Self {
        Self {
            listener: 0,
            pin: None,
            service: 0,
            choice: None,
            track: None,
            backend: 0,
            passed_over: 0,
            reason,
        }
    }
}

impl Tables {
    /// Follows a flow's first packet through the tables.
    #[must_use]
    pub fn trace(&self, opening: &Opening, clock: Clock) -> Trace {
        let family = Family::of(&opening.to.ip());
        let address = WireAddress::from(opening.to.ip());
        let port = WirePort::new(opening.to.port());
        let meta = Endpoint::meta_of(port, opening.protocol, family);
        let found = self.endpoints.get(address, meta);
        let is_listener = |found: &Endpoint| found.kind == EndpointKind::Listener as u32;
        let Some(found) = found.filter(is_listener) else {
            return Trace::of(self.not_dialled(opening, family));
        };
        let Ok(listener) = u16::try_from(found.id) else {
            return Trace::of(Reason::Inconsistent);
        };
        let mut trace = Trace {
            listener,
            pin: self.pinned(opening.client, listener),
            ..Trace::of(Reason::NewFlow)
        };
        match trace.pin {
            Some(value) if !self.selects_anew(opening, value, clock) => {
                trace.backend = value.backend();
                trace.reason = if value.is_cut() {
                    Reason::FlowCut
                } else if self.hop_of(value.backend()) == 0 {
                    Reason::NoNextHop
                } else {
                    Reason::Pinned
                };
            }
            _ => self.choose(opening, family, &mut trace),
        }
        trace
    }

    /// Why a packet is passed that goes to no listener.
    fn not_dialled(&self, opening: &Opening, family: Family) -> Reason {
        let from = WireAddress::from(opening.client.ip());
        let port = WirePort::new(opening.client.port());
        let answers = |meta| {
            let found = self.endpoints.get(from, meta);
            found.is_some_and(|found| {
                found.kind == EndpointKind::Backend as u32
                    || found.kind == EndpointKind::Translated as u32
            })
        };
        if answers(Endpoint::meta_of(port, opening.protocol, family)) {
            Reason::BackendDirect
        } else {
            Reason::Foreign
        }
    }

    /// The value of a client's flow at a listener.
    fn pinned(&self, client: SocketAddr, listener: u16) -> Option<Value> {
        let (address, port) = (WireAddress::from(client.ip()), WirePort::new(client.port()));
        let key = if client.is_ipv4() {
            flow_key_v4(address.0[0], port, listener)
        } else {
            flow_key_v6(self.keys.fingerprint, address, port, listener)
        };
        let mask = u32::try_from(self.flow_buckets() - 1).unwrap_or(u32::MAX);
        let place = flow_place(self.keys.flow, key, mask);
        let mut found: Option<FlowSlot> = None;
        for bucket in place.buckets {
            let bucket = usize::try_from(bucket).unwrap_or(0);
            self.scan(bucket..bucket + 1, |flow| {
                let lane = flow.slot % BUCKET_FLOWS;
                if flow.key == key && flow.value.tag() == place.tag && lane < BUCKET_FLOWS {
                    found.get_or_insert(flow);
                }
            });
        }
        found.map(|flow| flow.value)
    }

    /// Whether a SYN opens a new flow where an old one was.
    fn selects_anew(&self, opening: &Opening, value: Value, clock: Clock) -> bool {
        if opening.protocol != TCP {
            return false;
        }
        let (state, age) = (State::from_bits(value.state_bits()), value.age(clock.now));
        let one_way = Mode::one_way(self.backend(value.backend()).mode);
        let doubtful = state == Some(State::Reset) || one_way;
        let closed = matches!(state, Some(State::Closing | State::Reset));
        state == Some(State::ResetNew)
            || value.is_cut()
            || (closed && (!doubtful || age >= clock.second))
            || age > clock.reuse
    }

    fn hop_of(&self, backend: u16) -> u32 {
        let backend = self.backend(backend);
        backend.hops[usize::from(backend.current_hop & 1)].ifindex
    }

    /// What becomes of a flow that is not pinned.
    fn choose(&self, opening: &Opening, family: Family, trace: &mut Trace) {
        let selector = self.selector();
        trace.service = Binding(self.listener(trace.listener).binding).service(selector);
        if trace.service == 0 {
            trace.reason = Reason::InactiveListener;
            return;
        }
        let row = self.row(selector.row());
        let table = row.table[usize::from(trace.service) & (MAX_SERVICES - 1)];
        let Ok(split) = self.read_table(trace.service, table % u8::try_from(TABLES).unwrap_or(1))
        else {
            trace.reason = Reason::Inconsistent;
            return;
        };
        let tuple = FlowTuple {
            client: opening.client.ip().into(),
            vip: opening.to.ip().into(),
            client_port: WirePort::new(opening.client.port()),
            vip_port: WirePort::new(opening.to.port()),
            protocol: opening.protocol,
        };
        let choice = match family {
            Family::V4 => split.choose::<false>(&tuple, trace.listener, std::convert::identity),
            Family::V6 => split.choose::<true>(&tuple, trace.listener, std::convert::identity),
        };
        trace.choice = Some(choice);
        for track in [choice.track, choice.fallback] {
            let Some(number) = track.checked_sub(1) else {
                continue;
            };
            let index = track_table_index(trace.service, number, family);
            trace.track = Some(number);
            trace.backend = self.track_entry(index, entry(choice.entry));
            if trace.backend != 0 {
                self.pass_over(opening, family, index, choice.entry, trace);
                return;
            }
        }
        trace.reason = match self.service_word(trace.service).no_backend {
            word if word == NoBackend::Reset as u32 => Reason::NoBackendReset,
            word if word == NoBackend::Unreachable as u32 => Reason::NoBackendUnreachable,
            _ => Reason::NoBackend,
        };
    }

    /// Goes on to the next backend of the table while the client reaches this one through another listener.
    fn pass_over(
        &self,
        opening: &Opening,
        family: Family,
        index: u32,
        first: u32,
        trace: &mut Trace,
    ) {
        if self.backend(trace.backend).flags & Backend::SHARED != 0 {
            let tries =
                (0..TRIES).map(|tried| self.track_entry(index, entry(first.wrapping_add(tried))));
            let mut seen = 0;
            let free = tries
                .inspect(|_| seen += 1)
                .find(|id| *id != 0 && !self.is_taken(opening, family, trace.listener, *id));
            let Some(free) = free else {
                trace.backend = 0;
                trace.passed_over = TRIES;
                trace.reason = Reason::TupleConflict;
                return;
            };
            trace.backend = free;
            trace.passed_over = seen - 1;
        }
        if self.hop_of(trace.backend) == 0 {
            trace.reason = Reason::NoNextHop;
        }
    }

    /// Whether the client reaches a backend's endpoint through another listener.
    fn is_taken(&self, opening: &Opening, family: Family, listener: u16, id: u16) -> bool {
        let backend = self.backend(id);
        let port = match backend.port {
            WirePort(0) => WirePort::new(opening.to.port()),
            port => port,
        };
        let meta = Endpoint::meta_of(port, opening.protocol, family);
        let Some(endpoint) = self.endpoints.get(backend.address, meta) else {
            return false;
        };
        if endpoint.id >= self.layout.replies {
            return false;
        }
        let pairs = self.reply(endpoint.id).pairs;
        pairs
            .into_iter()
            .take_while(|pair| *pair != Pair(0))
            .any(|pair| {
                pair.listener() != listener
                    && self
                        .pinned(opening.client, pair.listener())
                        .is_some_and(|value| value.backend() == pair.backend())
            })
    }
}

/// A place in a track table, as the program keeps it within.
fn entry(entry: u32) -> usize {
    usize::try_from(entry)
        .ok()
        .filter(|entry| *entry < MAGLEV)
        .unwrap_or(0)
}

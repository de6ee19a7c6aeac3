//! From a client to a backend.

use super::flows::{Name, Pin};
use super::maps::{BACKENDS, REUSE_TICKS, SECOND_TICKS};
use super::packet::Frame;
use super::split::{choose, flow_key};
use super::{Verdict, clock, family, hops, no, telemetry};
use splitter_ebpf::abi::{Backend, ColdKey, Translation};
use splitter_ebpf::flow::{ACK, Event, RST, SYN, State, Value};
use splitter_ebpf::headers::{Segment, payload};
use splitter_ebpf::rewrite::{End, may_hop, translate};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{TCP, WirePort};

/// Sends a client's packet on: a pinned flow to its backend, whatever the tables say; a new one to
/// the backend that the current split gives, pinned.
#[inline(always)]
pub fn forward<const V6: bool>(frame: &mut Frame, segment: &Segment, listener: u16) -> Verdict {
    let Some(payload) = payload(frame, segment, family::<V6>()) else {
        return no(Reason::Malformed);
    };
    if !may_hop(frame, family::<V6>()) {
        return no(Reason::TtlExpired);
    }
    let name = Name::new(flow_key::<V6>(
        segment.source,
        segment.source_port,
        listener,
    ));
    let now = clock::now();
    let found = name.find();
    if let Some(value) = found
        && !selects_anew(segment, value, now)
    {
        let event = Event {
            from_client: true,
            flags: segment.flags,
            payload,
            aged: value.age(now) >= SECOND_TICKS.load(),
            one_way: false,
        };
        if name.refresh(value, event, now) {
            // Once in a while, for another client may have taken its cell.
            hops::learn::<V6>(frame, segment.source);
        }
        let Some(backend) = BACKENDS.get(value.backend().into()) else {
            return no(Reason::Inconsistent);
        };
        return deliver::<V6>(frame, segment, backend, Reason::Pinned);
    }

    let (id, backend) = match choose::<V6>(segment, listener) {
        Ok(chosen) => chosen,
        Err(reason) => return no(reason),
    };
    if current_hop(backend).ifindex == 0 {
        return no(Reason::NoNextHop);
    }
    if segment.flags & RST != 0 {
        return deliver::<V6>(frame, segment, backend, Reason::StrayReset);
    }
    let state = if segment.protocol == TCP {
        State::New
    } else {
        State::UdpNew
    };
    let value = Value::new(id, state as u8, name.tag(), now);
    let pin = match found {
        Some(old) if name.replace(old, value) => Pin::Done,
        Some(_) => name
            .find_out_of_line()
            .map_or(Pin::Contended, Pin::Existing),
        None if V6 => name.pin(
            value,
            Some(&ColdKey {
                address: segment.source,
                rest: ColdKey::rest_of(segment.source_port, listener, Translation(0)),
            }),
        ),
        None => name.pin(value, None),
    };
    let (backend, reason) = match pin {
        Pin::Done => {
            telemetry::count_new_flow(id);
            hops::learn::<V6>(frame, segment.source);
            (backend, Reason::NewFlow)
        }
        Pin::Existing(value) => {
            let Some(backend) = BACKENDS.get(value.backend().into()) else {
                return no(Reason::Inconsistent);
            };
            (backend, Reason::Pinned)
        }
        Pin::Full => {
            telemetry::count_unpinned(id);
            (backend, Reason::UnpinnedTableFull)
        }
        Pin::Contended => {
            telemetry::count_unpinned(id);
            (backend, Reason::UnpinnedContended)
        }
    };
    deliver::<V6>(frame, segment, backend, reason)
}

/// Whether a SYN opens a new flow where an old one was: after its close, or when it was silent for
/// longer than any client repeats a SYN.
#[inline(always)]
fn selects_anew(segment: &Segment, value: Value, now: u32) -> bool {
    if segment.flags & (SYN | ACK) != SYN {
        return false;
    }
    let state = value.state_bits();
    state == State::Closing as u8
        || state == State::Reset as u8
        || state == State::ResetNew as u8
        || value.age(now) > REUSE_TICKS.load()
}

#[inline(always)]
fn current_hop(backend: &Backend) -> splitter_ebpf::abi::Hop {
    backend.hops[backend.current_hop as usize & 1]
}

#[inline(always)]
fn deliver<const V6: bool>(
    frame: &mut Frame,
    segment: &Segment,
    backend: &Backend,
    reason: Reason,
) -> Verdict {
    let hop = current_hop(backend);
    if hop.ifindex == 0 {
        return no(Reason::NoNextHop);
    }
    let port = if backend.port == WirePort(0) {
        segment.destination_port
    } else {
        backend.port
    };
    translate(
        frame,
        family::<V6>(),
        segment.protocol,
        End::Destination,
        backend.address,
        port,
    );
    (reason, hop)
}

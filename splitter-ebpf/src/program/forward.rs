//! From a client to a backend.

use super::cut::cut;
use super::flows::Name;
use super::maps::{BACKENDS, REUSE_TICKS, SECOND_TICKS};
use super::outcome::Outcome;
use super::packet::Frame;
use super::split::flow_key;
use super::translated::{self, orders};
use super::{begin, clock, family, hops, tunnel};
use splitter_ebpf::abi::{Backend, Hop, Mode, Path};
use splitter_ebpf::flow::{ACK, Event, SYN, State, Value};
use splitter_ebpf::headers::{ETHERNET, Packet, Segment, extent};
use splitter_ebpf::rewrite::{self, End, Layers, may_hop, take_hop, translate};
use splitter_ebpf::verdict::Reason;

/// "Don't fragment" (RFC 791 section 3.1).
const DONT_FRAGMENT: u16 = 0x4000_u16.to_be();

/// Sends a client's packet on: a pinned flow to its backend, whatever the tables say; a new one to
/// the backend that the current split gives, pinned.
#[inline(always)]
pub fn forward<const V6: bool>(frame: &mut Frame, segment: &Segment, listener: u16) -> Outcome {
    let Some(extent) = extent(frame, segment, family::<V6>()) else {
        return Outcome::of(Reason::Malformed);
    };
    if !may_hop(frame, family::<V6>()) {
        return Outcome::of(Reason::TtlExpired);
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
        let id = value.backend();
        let Some(backend) = BACKENDS.get(id.into()) else {
            return Outcome::of(Reason::Inconsistent);
        };
        let event = Event {
            from_client: true,
            flags: segment.flags,
            payload: extent.payload,
            aged: value.age(now) >= SECOND_TICKS.load(),
            one_way: Mode::one_way(backend.mode),
        };
        if value.is_cut() {
            return cut(&name, value, event, segment.protocol);
        }
        if name.refresh(value, event, now) {
            // Once in a while, for another client may have taken its cell.
            hops::learn::<V6>(frame, segment.source);
        }
        return deliver::<V6>(
            frame,
            segment,
            extent.total,
            &name,
            id,
            backend,
            Reason::Pinned as u8,
        );
    }

    let found = found.map_or(0, |value| value.0);
    if !begin::pend::<V6>(segment, listener, found) {
        return Outcome::of(Reason::Inconsistent);
    }
    let (id, reason) = begin::begin_flow(&name);
    if id == 0 {
        return Outcome(reason.into());
    }
    if reason == Reason::NewFlow as u8 {
        hops::learn::<V6>(frame, segment.source);
    }
    let Some(backend) = BACKENDS.get(id.into()) else {
        return Outcome::of(Reason::Inconsistent);
    };
    deliver::<V6>(frame, segment, extent.total, &name, id, backend, reason)
}

/// Whether a SYN opens a new flow where an old one was: after its close, or when it was silent for
/// longer than any client repeats a SYN.
#[inline(always)]
pub fn selects_anew(segment: &Segment, value: Value, now: u32) -> bool {
    if segment.flags & (SYN | ACK) != SYN {
        return false;
    }
    let (state, age) = (value.state_bits(), value.age(now));
    // A RST or, where the client alone is seen, a FIN may be forged, and a forged SYN follow it. Within a
    // second whoever lives says so, and the flow is established again.
    let doubtful = state == State::Reset as u8
        || BACKENDS
            .get(value.backend().into())
            .is_some_and(|backend| Mode::one_way(backend.mode));
    let closed = state == State::Closing as u8 || state == State::Reset as u8;
    state == State::ResetNew as u8
        || value.is_cut()
        || (closed && (!doubtful || age >= SECOND_TICKS.load()))
        || age > REUSE_TICKS.load()
}

/// The next hop of a backend and what it asks of packets.
#[inline(always)]
pub fn current_hop(backend: &Backend) -> (Hop, Path) {
    let place = backend.current_hop as usize & 1;
    (backend.hops[place], backend.paths[place])
}

/// The verdict on a packet of `total` bytes that would grow by `overhead`, if the way on takes no more
/// than `mtu`.
#[inline(always)]
pub fn too_big<const V6: bool>(
    packet: &impl Packet,
    total: usize,
    mtu: u16,
    overhead: usize,
) -> Option<Outcome> {
    // The length of an IP packet has 16 bits, whatever the way takes.
    let mtu = if mtu == 0 { u16::MAX } else { mtu } as usize;
    if total + overhead <= mtu {
        return None;
    }
    if !V6 && packet.half(ETHERNET + 6) & DONT_FRAGMENT == 0 {
        return Some(Outcome::of(Reason::TooBigToFragment));
    }
    Some(Outcome::told(
        Reason::TooBig,
        mtu.saturating_sub(overhead) as u32,
    ))
}

#[inline(always)]
fn deliver<const V6: bool>(
    frame: &mut Frame,
    segment: &Segment,
    total: usize,
    name: &Name,
    id: u16,
    backend: &Backend,
    reason: u8,
) -> Outcome {
    let (hop, path) = current_hop(backend);
    if hop.ifindex == 0 {
        return Outcome::of(Reason::NoNextHop);
    }
    let family = family::<V6>();
    let tunneled = backend.mode == Mode::Ipip as u8;
    let overhead = if tunneled {
        tunnel::overhead(family)
    } else {
        0
    };
    if let Some(outcome) = too_big::<V6>(frame, total, path.mtu, overhead) {
        return outcome;
    }
    if tunneled {
        let orders = id as u32 | ((family as u32) << 16) | ((reason as u32) << 24);
        return Outcome(tunnel::encapsulate(frame.context(), orders, name.spread()));
    }
    if backend.mode == Mode::FullNat as u8 {
        let (key, buckets, tag) = name.parts();
        let orders = orders(id, reason, segment.protocol, family);
        return Outcome(translated::send_translated(
            frame.context(),
            key,
            buckets,
            tag,
            orders,
        ));
    }
    if backend.mode == Mode::DsrL2 as u8 {
        take_hop(frame, family, ETHERNET);
    } else {
        let port = translated::port_at(backend, segment.destination_port);
        translate(
            frame,
            family,
            Layers::plain(family),
            segment.protocol,
            End::Destination,
            backend.address,
            port,
        );
    }
    rewrite::macs(frame, &hop);
    Outcome::sent(reason, &hop, path)
}

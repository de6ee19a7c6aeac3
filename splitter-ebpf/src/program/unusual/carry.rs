//! TCP and UDP behind options, extension headers, or in a first fragment: through their flow, as plain
//! segments go.

use super::super::cut::cut;
use super::super::flows::Name;
use super::super::forward::selects_anew;
use super::super::maps::{BACKENDS, LISTENERS, NAT_POOLS, SECOND_TICKS};
use super::super::packet::Frame;
use super::super::split::flow_key;
use super::super::translated::{address_of, port_at, translation_of};
use super::super::{begin as beginning, clock, family, hops, lookup};
use super::{Step, both_families, may_hop, sight};
use aya_ebpf::bindings::xdp_md;
use splitter_ebpf::abi::{Backend, Endpoint, EndpointKind, Mode, Translation};
use splitter_ebpf::flow::{Event, Value};
use splitter_ebpf::unusual::Sight;
use splitter_ebpf::unusual::quote::Side;
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::WirePort;

both_families! {
    /// Whether a packet with ports is to a listener or from a backend.
    carry = carry_v4, carry_v6, carried()
}

#[inline(always)]
fn carried<const V6: bool>() -> Step {
    let Some(sight) = sight() else {
        return Step::end(Reason::Inconsistent);
    };
    let family = family::<V6>();
    let to = Endpoint::meta_of(sight.to_port, sight.protocol, family);
    if let Some(endpoint) = lookup::endpoint::<V6>(sight.to, to)
        && endpoint.kind == EndpointKind::Listener as u32
    {
        sight.listener = endpoint.id as u16;
        return Step::FIND;
    }
    let from = Endpoint::meta_of(sight.from_port, sight.protocol, family);
    if let Some(endpoint) = lookup::endpoint::<V6>(sight.from, from)
        && (endpoint.kind == EndpointKind::Backend as u32
            || endpoint.kind == EndpointKind::Translated as u32)
    {
        if sight.refusal != Sight::CARRIED {
            return Step(sight.refusal.into());
        }
        (sight.endpoint, sight.kind) = (endpoint.id, endpoint.kind);
        return Step::OWNER_OF_SENT;
    }
    Step::end(Reason::Foreign)
}

both_families! {
    /// Finds the flow of a client's packet.
    find = find_v4, find_v6, found(context: *mut xdp_md)
}

#[inline(always)]
fn found<const V6: bool>(context: *mut xdp_md) -> Step {
    let Some(sight) = sight() else {
        return Step::end(Reason::Inconsistent);
    };
    let frame = Frame::new(context, sight.tag);
    if !may_hop::<V6>(&frame) {
        return Step::end(Reason::TtlExpired);
    }
    sight.flow = flow_key::<V6>(sight.from, sight.from_port, sight.listener);
    let name = Name::new(sight.flow);
    sight.spread = name.spread();
    let (segment, now) = (sight.segment(), clock::now());
    let value = match name.find() {
        Some(value) if !selects_anew(&segment, value, now) => value,
        found => {
            let found = found.map_or(0, |value| value.0);
            if beginning::pend::<V6>(&segment, sight.listener, found) {
                return Step::BEGIN;
            }
            return Step::end(Reason::Inconsistent);
        }
    };
    (sight.backend, sight.reason) = (value.backend(), Reason::Pinned as u8);
    let Some(backend) = BACKENDS.get(sight.backend.into()) else {
        return Step::end(Reason::Inconsistent);
    };
    let event = Event {
        from_client: true,
        flags: sight.flags,
        payload: sight.payload != 0,
        aged: value.age(now) >= SECOND_TICKS.load(),
        one_way: Mode::one_way(backend.mode),
    };
    if value.is_cut() {
        return Step(cut(&name, value, event, sight.protocol).0);
    }
    if name.refresh(value, event, now) {
        hops::learn::<V6>(&frame, sight.from);
    }
    Step::MEET
}

both_families! {
    /// Begins the flow of a client's packet.
    begin = begin_v4, begin_v6, begun(context: *mut xdp_md)
}

#[inline(always)]
fn begun<const V6: bool>(context: *mut xdp_md) -> Step {
    let Some(sight) = sight() else {
        return Step::end(Reason::Inconsistent);
    };
    (sight.backend, sight.reason) = beginning::begin_flow(&Name::new(sight.flow));
    if sight.backend == 0 {
        return Step(sight.reason.into());
    }
    if sight.reason == Reason::NewFlow as u8 {
        let frame = Frame::new(context, sight.tag);
        if may_hop::<V6>(&frame) {
            hops::learn::<V6>(&frame, sight.from);
        }
    }
    Step::MEET
}

both_families! {
    /// Gives a client's packet the ends that its backend knows.
    meet = meet_v4, meet_v6, met()
}

#[inline(always)]
fn met<const V6: bool>() -> Step {
    let Some(sight) = sight() else {
        return Step::end(Reason::Inconsistent);
    };
    let Some(backend) = BACKENDS.get(sight.backend.into()) else {
        return Step::end(Reason::Inconsistent);
    };
    let reach = match reach(
        &Name::new(sight.flow),
        sight.backend,
        backend,
        sight.to_port,
    ) {
        Ok(reach) => reach,
        Err(reason) => return Step::end(reason),
    };
    sight.to_client = 0;
    sight.change = Sight::NOTHING;
    if let Some(backend) = reach.backend {
        sight.set_to(backend);
        sight.change = Sight::ENDS;
    }
    if let Some(client) = reach.client {
        sight.set_from(client);
    }
    Step::WAY
}

/// What the ends of a flow's packets are called where its backend is.
pub(super) struct Reach {
    /// The backend, if it is not called by the VIP's name.
    pub backend: Option<Side>,
    /// The client, if it is not called by its own.
    pub client: Option<Side>,
}

/// How the flow `name` reaches `backend`; the listener has `port`.
#[inline(always)]
pub(super) fn reach(
    name: &Name,
    id: u16,
    backend: &Backend,
    port: WirePort,
) -> Result<Reach, Reason> {
    let address = Some((backend.address, port_at(backend, port)));
    if backend.mode == Mode::Dnat as u8 {
        return Ok(Reach {
            backend: address,
            client: None,
        });
    }
    if backend.mode != Mode::FullNat as u8 {
        return Ok(Reach {
            backend: None,
            client: None,
        });
    }
    let (key, buckets, tag) = name.parts();
    let translation = Translation(translation_of(key, buckets, tag, id.into()) as u32);
    if translation.0 == 0 {
        return Err(Reason::NatUnfinished);
    }
    let client = match NAT_POOLS.get(backend.pool.into()) {
        Some(pool) => address_of(pool, translation),
        None => None,
    };
    match client {
        Some(client) => Ok(Reach {
            backend: address,
            client: Some((client, translation.port())),
        }),
        None => Err(Reason::Inconsistent),
    }
}

both_families! {
    /// Gives a backend's packet the ends that its client knows.
    reply = reply_v4, reply_v6, replied(context: *mut xdp_md)
}

#[inline(always)]
fn replied<const V6: bool>(context: *mut xdp_md) -> Step {
    let Some(sight) = sight() else {
        return Step::end(Reason::Inconsistent);
    };
    let Some(listener) = LISTENERS.get(sight.listener.into()) else {
        return Step::end(Reason::Inconsistent);
    };
    if may_hop::<V6>(&Frame::new(context, 0)) {
        let (value, now) = (Value(sight.value), clock::now());
        let event = Event {
            from_client: false,
            flags: sight.flags,
            payload: sight.payload != 0,
            aged: value.age(now) >= SECOND_TICKS.load(),
            one_way: false,
        };
        let name = Name::new(sight.flow);
        if value.is_cut() {
            return Step(cut(&name, value, event, sight.protocol).0);
        }
        name.refresh(value, event, now);
    }
    sight.set_from((listener.address, listener.port));
    sight.set_to(sight.client());
    sight.change = Sight::ENDS;
    sight.to_client = 1;
    sight.reason = Reason::Reply as u8;
    Step::WAY
}

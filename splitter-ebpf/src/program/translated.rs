//! Mode `fullnat`: clients translated to addresses and ports of this host.
//!
//! Such a flow has a second entry in the flow table, named by the backend and by what the client is
//! translated to, which leads replies to the flow's slot. It is written before the flow's own entry
//! and freed after it; what is left of a pair when a CPU stops half-way is swept by the agent.

use super::cut::cut;
use super::flows::{CONTENDED, EXISTING, FULL, Name, Pin, exchange, find_lane, slot};
use super::maps::{
    BACKENDS, FINGERPRINT_KEY, FLOW_KEYS, FLOWS, LISTENERS, NAT_POOLS, PENDING, REVERSE,
    SECOND_TICKS,
};
use super::outcome::Outcome;
use super::packet::Frame;
use super::{clock, family, forward, hops, lookup, word};
use aya_ebpf::bindings::xdp_md;
use splitter_ebpf::abi::{
    BUCKET_FLOWS, Backend, ColdKey, Mode, NAT_ADDRESSES, NatPool, Translation,
};
use splitter_ebpf::endpoint::{translation_key, translation_place};
use splitter_ebpf::flow::{Event, Value};
use splitter_ebpf::headers::{Parsed, Segment, extent, parse};
use splitter_ebpf::rewrite::{self, End, Layers, may_hop, put_address, put_port, translate};
use splitter_ebpf::unusual::copied;
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{Family, TCP, WireAddress, WirePort};

/// Addresses and ports that are tried for a new flow. Were they independent, one new flow in thirty would
/// find none with nine in ten taken, and one in a hundred thousand with seven.
const PROBES: u32 = 32;
/// The slot of a second entry whose flow has none yet.
const NO_SLOT: u64 = (1 << 40) - 1;

/// The key of a second entry.
#[inline(always)]
fn second_key(
    v6: bool,
    backend: (WireAddress, WirePort),
    translated: (WireAddress, WirePort),
    protocol: u8,
) -> u64 {
    let key = FINGERPRINT_KEY.load();
    if v6 {
        translation_key::<true>(key, backend, translated, protocol)
    } else {
        translation_key::<false>(key, backend, translated, protocol)
    }
}

/// The port of `backend` that a listener's `port` stands for.
#[inline(always)]
pub fn port_at(backend: &Backend, port: WirePort) -> WirePort {
    if backend.port == WirePort(0) {
        port
    } else {
        backend.port
    }
}

/// An address of a pool.
#[inline(always)]
pub fn address_of(pool: &NatPool, translation: Translation) -> Option<WireAddress> {
    // The mask keeps even the place behind the last one within the record, for verifiers (Linux 6.1) that
    // do not see the comparison in the register that is used.
    let place = translation.address() as usize & NAT_ADDRESSES;
    if place < NAT_ADDRESSES {
        Some(pool.addresses[place])
    } else {
        None
    }
}

/// Pins the flow in [`PENDING`] to the backend of `value`, with an address and a port that are free there.
#[inline(always)]
pub fn pin(name: &Name, value: Value) -> Pin {
    let mut probe = 0;
    while probe < PROBES {
        let key = nth_translation(value.backend().into(), name.spread(), probe);
        probe += 1;
        if key == 0 {
            break;
        }
        let second = Name::new(key);
        let provisional = Value::pointing(NO_SLOT, second.tag());
        match second.pin_raw(provisional, false) {
            EXISTING | CONTENDED => {}
            FULL => return Pin::Full,
            _ => {
                release_victim();
                let answer = name.pin_raw(value, true);
                let settled = if answer < FULL {
                    Value::pointing(answer, second.tag())
                } else {
                    Value(0)
                };
                second.replace(provisional, settled);
                return name.pinned(answer);
            }
        }
    }
    Pin::Exhausted
}

/// Frees the second entry of whoever had to make room for the flow in [`PENDING`].
#[inline(always)]
pub fn release_victim() {
    let Some(flow) = PENDING.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the look-up succeeded, and the value is this CPU's own.
    let victim = unsafe { (*flow).victim };
    if victim.value == 0 {
        return;
    }
    // SAFETY: as above.
    unsafe { (*flow).victim.value = 0 }
    release(victim.value, victim.rest, victim.slot as u32);
}

/// The name of the second entry that the flow in [`PENDING`] would have at `backend` with the address and
/// port of number `probe`, from where `spread` says; remembers those. 0 if the pool is empty.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nth_translation(backend: u32, spread: u32, probe: u32) -> u64 {
    let (Some(flow), Some(backend)) = (PENDING.get_ptr_mut(0), BACKENDS.get(backend)) else {
        return 0;
    };
    // SAFETY: the look-up succeeded, and the value is this CPU's own.
    let flow = unsafe { &mut *flow };
    let Some(pool) = NAT_POOLS.get(backend.pool.into()) else {
        return 0;
    };
    let total = pool.count * pool.ports;
    if total == 0 {
        return 0;
    }
    let place = translation_place(spread, probe, total);
    let port = WirePort(((pool.first_port + place % pool.ports) as u16).to_be());
    let translation = Translation::new((place / pool.ports) as u16, port);
    let Some(address) = address_of(pool, translation) else {
        return 0;
    };
    flow.translation = translation;
    second_key(
        flow.family == Family::V6 as u32,
        (backend.address, port_at(backend, flow.vip_port)),
        (address, port),
        flow.protocol,
    )
}

/// Frees the second entry of a flow that was at `slot` with `value` and the cold word `rest`, if it has
/// one. Always 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn release(value: u64, rest: u64, slot: u32) -> u64 {
    let Some(backend) = BACKENDS.get(Value(value).backend().into()) else {
        return 0;
    };
    if backend.mode != Mode::FullNat as u8 {
        return 0;
    }
    let cold = ColdKey {
        address: WireAddress([0; 4]),
        rest,
    };
    let (Some(listener), Some(pool)) = (
        LISTENERS.get(cold.listener().into()),
        NAT_POOLS.get(backend.pool.into()),
    ) else {
        return 0;
    };
    let translation = cold.translation();
    let Some(address) = address_of(pool, translation) else {
        return 0;
    };
    let name = Name::new(second_key(
        listener.family == Family::V6 as u8,
        (backend.address, port_at(backend, listener.port)),
        (address, translation.port()),
        listener.protocol,
    ));
    let (key, buckets, tag) = name.parts();
    exchange(key, buckets, Value::pointing(slot.into(), tag).0, 0);
    0
}

/// Frees the flow `key`, whose value is `value`, and its second entry. Gives back 1 if it did.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn forget_flow(key: u64, buckets: u64, value: u64) -> u64 {
    let Some((slot, rest, _)) = locate(key, buckets, Value(value).tag()) else {
        return 0;
    };
    if exchange(key, buckets, value, 0) != value {
        return 0;
    }
    release(value, rest, slot);
    1
}

/// The slot, the cold word and the value of the flow `key`. All three belong together: the slot was the
/// flow's before the word was read, and still is after it.
#[inline(always)]
fn locate(key: u64, buckets: u64, tag: u32) -> Option<(u32, u64, u64)> {
    let mut side = 0;
    while side < 2 {
        let number = (buckets >> (32 * side)) as u32;
        let bucket = FLOWS.get_ptr_mut(number)?;
        let (lane, value) = find_lane(bucket, key, tag);
        if value != 0 {
            let index = number.wrapping_mul(BUCKET_FLOWS as u32).wrapping_add(lane);
            let cell = FLOW_KEYS.get_ptr(index)?;
            // SAFETY: a field's address within a value that a look-up returned.
            let rest = word::load(unsafe { &raw const (*cell).rest });
            let (key_word, value_word) = slot(bucket, lane as usize & (BUCKET_FLOWS - 1));
            let again = word::load(value_word);
            let same = again != 0 && Value(again).tag() == tag && word::load(key_word) == key;
            return same.then_some((index, rest, again));
        }
        side += 1;
    }
    None
}

/// What the client of the flow `key` is translated to at `backend`; 0 while nobody knows, or if the flow is
/// pinned to another by now.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn translation_of(key: u64, buckets: u64, tag: u32, backend: u32) -> u64 {
    match locate(key, buckets, tag) {
        Some((_, rest, value)) if Value(value).backend() as u32 == backend => rest >> 32,
        _ => 0,
    }
}

/// Orders for [`send_translated`]: the backend, the reason, the protocol and the family in one word.
#[inline(always)]
pub const fn orders(backend: u16, reason: u8, protocol: u8, family: Family) -> u64 {
    backend as u64 | ((reason as u64) << 16) | ((protocol as u64) << 24) | ((family as u64) << 32)
}

/// Translates both ends of a plain packet of the flow `key`, and addresses it to its backend.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn send_translated(
    context: *mut xdp_md,
    key: u64,
    buckets: u64,
    tag: u32,
    orders: u64,
) -> u64 {
    let backend = (orders & 0xffff) as u32;
    let translation = Translation(translation_of(key, buckets, tag, backend) as u32);
    if translation.0 == 0 {
        return Outcome::of(Reason::NatUnfinished).0;
    }
    if (orders >> 32) as u8 == Family::V6 as u8 {
        translate_both::<true>(context, translation, orders).0
    } else {
        translate_both::<false>(context, translation, orders).0
    }
}

#[inline(always)]
fn translate_both<const V6: bool>(
    context: *mut xdp_md,
    translation: Translation,
    orders: u64,
) -> Outcome {
    let (protocol, family) = ((orders >> 24) as u8, family::<V6>());
    let (Some(backend), mut frame) = (
        BACKENDS.get((orders & 0xffff) as u32),
        Frame::new(context, 0),
    ) else {
        return Outcome::of(Reason::Inconsistent);
    };
    let address = match NAT_POOLS.get(backend.pool.into()) {
        Some(pool) => address_of(pool, translation),
        None => None,
    };
    let Some(address) = address else {
        return Outcome::of(Reason::Inconsistent);
    };
    let segment = match parse(&frame) {
        Parsed::V4(segment) if !V6 => segment,
        Parsed::V6(segment) if V6 => segment,
        _ => return Outcome::of(Reason::Malformed),
    };
    let layers = Layers::plain(family);
    let destination = (backend.address, port_at(backend, segment.destination_port));
    translate(
        &mut frame,
        family,
        layers,
        protocol,
        End::Destination,
        destination.0,
        destination.1,
    );
    let difference = put_address(&mut frame, family, layers.l3, End::Source, address);
    put_port(
        &mut frame,
        layers.l4,
        protocol,
        End::Source,
        translation.port(),
        difference,
    );
    let (hop, path) = forward::current_hop(backend);
    rewrite::macs(&mut frame, &hop);
    Outcome::sent((orders >> 16) as u8, &hop, path)
}

/// Finds the flow whose client is translated to `translated` at `backend`, and leaves it in [`REVERSE`].
#[inline(always)]
pub fn reverse<const V6: bool>(
    backend: (WireAddress, WirePort),
    translated: (WireAddress, WirePort),
    protocol: u8,
) -> Option<()> {
    let pointer = Name::new(second_key(V6, backend, translated, protocol)).find()?;
    if !pointer.is_pointing() || pointer.slot() > u32::MAX as u64 {
        return None;
    }
    let index = pointer.slot() as u32;
    let bucket = FLOWS.get_ptr_mut(index / BUCKET_FLOWS as u32)?;
    let (key_word, value_word) = slot(bucket, index as usize & (BUCKET_FLOWS - 1));
    let key = word::load(key_word);
    let cell = FLOW_KEYS.get_ptr(index)?;
    // SAFETY: a field's address within a value that a look-up returned.
    let rest = word::load(unsafe { &raw const (*cell).rest });
    let found = REVERSE.get_ptr_mut(0)?;
    // SAFETY: the look-ups succeeded; the record is this CPU's own, and the cell is read before the flow
    // is seen to be in its slot still.
    unsafe {
        (*found).client = copied((*cell).address);
        (*found).rest = rest;
        (*found).key = key;
    }
    let value = Value(word::load(value_word));
    if value.0 == 0
        || value.is_pointing()
        || value.tag() != Name::new(key).tag()
        || word::load(key_word) != key
    {
        return None;
    }
    // SAFETY: as above.
    unsafe { (*found).value = value.0 }
    let record = BACKENDS.get(value.backend().into())?;
    let translation = Translation((rest >> 32) as u32);
    let address = address_of(NAT_POOLS.get(record.pool.into())?, translation)?;
    (record.mode == Mode::FullNat as u8
        && lookup::same_address::<V6>(&record.address, &backend.0)
        && lookup::same_address::<V6>(&address, &translated.0)
        && translation.port() == translated.1)
        .then_some(())
}

/// Finds the flow of a plain packet from a backend to an address of ours that may stand for a client, and
/// leaves it in [`REVERSE`]. Gives back 1 if there is one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_reverse(context: *mut xdp_md) -> u64 {
    let frame = Frame::new(context, 0);
    let found = match parse(&frame) {
        Parsed::V4(segment) => reverse::<false>(
            (segment.source, segment.source_port),
            (segment.destination, segment.destination_port),
            segment.protocol,
        ),
        Parsed::V6(segment) => reverse::<true>(
            (segment.source, segment.source_port),
            (segment.destination, segment.destination_port),
            segment.protocol,
        ),
        _ => None,
    };
    found.is_some().into()
}

/// Finds the way to the client of the flow in [`REVERSE`], and leaves its cell there. Gives back 1 if
/// there is one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_reverse_way(context: *mut xdp_md) -> u64 {
    let Some(flow) = REVERSE.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the look-up succeeded, and the value is this CPU's own.
    let flow = unsafe { &mut *flow };
    let Some(listener) = LISTENERS.get(((flow.rest >> 16) & 0xffff) as u32) else {
        return 0;
    };
    let now = clock::now();
    let cell = if listener.family == Family::V6 as u8 {
        hops::cell_towards::<true>(context, listener.address, flow.client, now)
    } else {
        hops::cell_towards::<false>(context, listener.address, flow.client, now)
    };
    let Some(cell) = cell else {
        return 0;
    };
    flow.cell = cell.into();
    1
}

/// Sends a plain packet of the flow in [`REVERSE`] to its client.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn reply_translated(context: *mut xdp_md) -> u64 {
    let mut frame = Frame::new(context, 0);
    match parse(&frame) {
        Parsed::V4(segment) => back::<false>(&mut frame, &segment).0,
        Parsed::V6(segment) => back::<true>(&mut frame, &segment).0,
        _ => Outcome::of(Reason::Malformed).0,
    }
}

#[inline(always)]
fn back<const V6: bool>(frame: &mut Frame, segment: &Segment) -> Outcome {
    let family = family::<V6>();
    let Some(extent) = extent(frame, segment, family) else {
        return Outcome::of(Reason::Malformed);
    };
    if !may_hop(frame, family) {
        return Outcome::of(Reason::TtlExpired);
    }
    let Some(flow) = REVERSE.get_ptr_mut(0) else {
        return Outcome::of(Reason::Inconsistent);
    };
    // SAFETY: the look-up succeeded, and the value is this CPU's own.
    let flow = unsafe { &mut *flow };
    let cell = core::mem::take(&mut flow.cell);
    if Value(flow.value).is_cut() {
        flow.cell = SENT | segment.flags as u64;
        return Outcome::of(Reason::FlowCut);
    }
    let Some((hop, path)) = hops::way_in(cell as u32) else {
        return Outcome::of(Reason::Inconsistent);
    };
    if let Some(outcome) = forward::too_big::<V6>(frame, extent.total, path.mtu, 0) {
        return outcome;
    }
    let Some(listener) = LISTENERS.get(((flow.rest >> 16) & 0xffff) as u32) else {
        return Outcome::of(Reason::Inconsistent);
    };
    let layers = Layers::plain(family);
    let protocol = segment.protocol;
    translate(
        frame,
        family,
        layers,
        protocol,
        End::Source,
        listener.address,
        listener.port,
    );
    let difference = put_address(frame, family, layers.l3, End::Destination, flow.client);
    let port = WirePort((flow.rest & 0xffff) as u16);
    put_port(
        frame,
        layers.l4,
        protocol,
        End::Destination,
        port,
        difference,
    );
    rewrite::macs(frame, &hop);
    flow.cell = SENT | segment.flags as u64 | ((extent.payload as u64) << 8);
    Outcome::to(Reason::Reply, &hop, path)
}

/// In the cell of [`REVERSE`], once that is used: a packet was sent on, or answered if the flow is cut. TCP flags beside it and, at bit 8,
/// whether it carries data.
const SENT: u64 = 1 << 16;

/// Records the backend's packet that [`reply_translated`] has sent on or answered, if it has. Always 0. Not called by it:
/// the verifier adds up the stacks of functions that call each other, and those before Linux 6.8 round each
/// up to 32 bytes.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn refresh_reverse() -> u64 {
    let Some(flow) = REVERSE.get(0) else {
        return 0;
    };
    let packet = flow.cell;
    if packet & SENT == 0 {
        return 0;
    }
    let (value, now) = (Value(flow.value), clock::now());
    let event = Event {
        from_client: false,
        flags: packet as u8,
        payload: packet & (1 << 8) != 0,
        aged: value.age(now) >= SECOND_TICKS.load(),
        one_way: false,
    };
    let name = Name::new(flow.key);
    if value.is_cut() {
        cut(&name, value, event, TCP);
        return 0;
    }
    name.refresh(value, event, now);
    0
}

//! A new flow: its backend, by the split that is current now, and its pin.

use super::flows::{Name, Pin};
use super::maps::{BACKENDS, PENDING};
use super::split::{SHARED, choose, untaken};
use super::{budget, clock, family, telemetry, translated};
use splitter_ebpf::abi::{Backend, Mode, Pending, Translation};
use splitter_ebpf::flow::{RST, State, Value};
use splitter_ebpf::headers::Segment;
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{Family, TCP};

/// Leaves a flow's first packet for [`begin_flow`]. `found` is the value of a flow of that name that is
/// over, or 0.
#[inline(always)]
pub fn pend<const V6: bool>(segment: &Segment, listener: u16, found: u64) -> bool {
    let Some(pending) = PENDING.get_ptr_mut(0) else {
        return false;
    };
    // Field by field, and only those that are read before they are written: LLVM zeroes a whole record by
    // a call of a byte-wise memset, which costs as much as all else about a new flow.
    // SAFETY: the look-up succeeded, and the value is this CPU's own.
    unsafe {
        (*pending).client = segment.source;
        (*pending).vip = segment.destination;
        (*pending).client_port = segment.source_port;
        (*pending).vip_port = segment.destination_port;
        (*pending).protocol = segment.protocol;
        (*pending).flags = segment.flags;
        (*pending).listener = listener;
        (*pending).family = family::<V6>() as u32;
        (*pending).translation = Translation(0);
        (*pending).victim.value = 0;
        (*pending).found = found;
    }
    true
}

/// Chooses a backend for the flow in [`PENDING`] and pins it. Gives back the backend's id, 0 if the packet
/// goes nowhere, and the number of the reason.
///
/// Two global functions one after the other, not one that calls the other: the stack is 512 bytes for all
/// that are called at one time.
#[inline(always)]
pub fn begin_flow(name: &Name) -> (u16, u8) {
    let mut answer = choose_open_backend();
    if answer as u16 != 0 && (answer >> 16) as u8 == TO_BE_PINNED {
        let (key, buckets, _) = name.parts();
        answer = pin_pending(key, buckets, name.spread(), (answer & 0xffff) as u32);
    }
    (answer as u16, (answer >> 16) as u8)
}

/// In the place of a reason: the flow is to be pinned.
const TO_BE_PINNED: u8 = 0xff;

/// A backend for the flow in [`PENDING`] that it can be sent to. Gives back its id and [`TO_BE_PINNED`] or
/// the reason why it goes there without a pin, or 0 and the reason why it goes nowhere.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn choose_open_backend() -> u64 {
    let chosen = choose_backend();
    if chosen as u16 == 0 {
        return chosen;
    }
    let Some(flow) = PENDING.get(0) else {
        return answer(0, Reason::Inconsistent);
    };
    let id = if chosen & SHARED != 0 {
        untaken(flow.track_table, flow.entry) as u16
    } else {
        chosen as u16
    };
    if id == 0 {
        return answer(0, Reason::TupleConflict);
    }
    let Some(backend) = BACKENDS.get(id.into()) else {
        return answer(0, Reason::Inconsistent);
    };
    if super::forward::current_hop(backend).0.ifindex == 0 {
        return answer(0, Reason::NoNextHop);
    }
    if flow.flags & RST == 0 {
        return id as u64 | ((TO_BE_PINNED as u64) << 16);
    }
    if backend.mode == Mode::FullNat as u8 {
        answer(0, Reason::NatUnpinned)
    } else {
        answer(id, Reason::StrayReset)
    }
}

/// Pins the flow in [`PENDING`] to backend `id`. Gives back the backend that it goes to, 0 if it goes
/// nowhere, and from bit 16 on the number of the reason.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pin_pending(key: u64, buckets: u64, spread: u32, id: u32) -> u64 {
    let (Some(flow), Some(backend)) = (PENDING.get(0), BACKENDS.get(id & 0xffff)) else {
        return answer(0, Reason::Inconsistent);
    };
    let (id, full_nat) = (id as u16, backend.mode == Mode::FullNat as u8);
    let now = clock::now();
    let name = Name::of_parts(key, buckets, spread);
    let pin = if budget::pin(now) {
        let state = if flow.protocol == TCP {
            State::New
        } else {
            State::UdpNew
        };
        let value = Value::new(id, state as u8, name.tag(), now);
        pin(&name, value, flow, full_nat)
    } else {
        if flow.found != 0 {
            // What is over must not answer for a flow that goes elsewhere.
            translated::forget_flow(key, buckets, flow.found);
        }
        Pin::Capped
    };
    let reason = match pin {
        Pin::Done => {
            telemetry::count_new_flow(id, flow.aside);
            return answer(id, Reason::NewFlow);
        }
        Pin::Existing(value) => return answer(value.backend(), Reason::Pinned),
        Pin::Exhausted => return answer(0, Reason::NatExhausted),
        // Another CPU pins this very flow, it may be: a RST would end what that one begins.
        Pin::Contended if full_nat => return answer(0, Reason::NatUnfinished),
        _ if full_nat => return answer(0, Reason::NatUnpinned),
        Pin::Full => Reason::UnpinnedTableFull,
        Pin::Contended => Reason::UnpinnedContended,
        Pin::Capped => Reason::UnpinnedCapped,
    };
    telemetry::count_unpinned(id);
    answer(id, reason)
}

/// The backend of the flow in [`PENDING`], by the split that is current now, or 0 and the
/// reason why there is none.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn choose_backend() -> u64 {
    let Some(flow) = PENDING.get_ptr_mut(0) else {
        return answer(0, Reason::Inconsistent);
    };
    // SAFETY: the look-up succeeded, and the value is this CPU's own.
    let flow = unsafe { &mut *flow };
    let chosen = if flow.family == Family::V6 as u32 {
        choose::<true>(flow)
    } else {
        choose::<false>(flow)
    };
    match chosen {
        Ok(answer) => answer,
        Err(reason) => answer(0, reason),
    }
}

#[inline(always)]
const fn answer(id: u16, reason: Reason) -> u64 {
    id as u64 | ((reason as u64) << 16)
}

/// Pins a flow that has none, or one that is over.
#[inline(always)]
fn pin(name: &Name, value: Value, flow: &Pending, full_nat: bool) -> Pin {
    let found = flow.found;
    if found != 0 {
        if !full_nat && !is_translated(BACKENDS.get(Value(found).backend().into())) {
            if name.replace(Value(found), value) {
                return Pin::Done;
            }
            return name.find().map_or(Pin::Contended, Pin::Existing);
        }
        let (key, buckets, _) = name.parts();
        translated::forget_flow(key, buckets, found);
    }
    let pin = if full_nat {
        translated::pin(name, value)
    } else {
        name.pin(value, flow.family == Family::V6 as u32)
    };
    translated::release_victim();
    pin
}

#[inline(always)]
fn is_translated(backend: Option<&Backend>) -> bool {
    matches!(backend, Some(backend) if backend.mode == Mode::FullNat as u8)
}

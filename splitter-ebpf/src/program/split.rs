//! Choosing a backend for a new flow: selector, row, split table, track table.

use super::maps::{BACKENDS, CONTROL, LISTENERS, PENDING, REPLIES, ROWS, SERVICES, SPLITS, TRACKS};
use super::{family, flows, lookup, word};
use splitter_ebpf::abi::{
    Backend, Binding, Endpoint, MAGLEV, MAX_SERVICES, NoBackend, PAIRS, Pair, Pending, Selector,
    TABLES, track_table_index,
};
use splitter_ebpf::choice::Cause;
use splitter_ebpf::endpoint::FlowTuple;
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{Family, WirePort};

/// Entries of the track table that are tried when the client already reaches a backend through
/// another listener.
const CONFLICT_TRIES: u32 = 16;

/// A backend for a new flow, by the split that is current now. [`SHARED`] beside its id: the client may
/// reach its endpoint through another listener, and [`untaken`] is to be asked.
#[inline(always)]
pub fn choose<const V6: bool>(flow: &mut Pending) -> Result<u64, Reason> {
    let control = CONTROL.get_ptr(0).ok_or(Reason::Inconsistent)?;
    let record = LISTENERS
        .get_ptr(flow.listener.into())
        .ok_or(Reason::Inconsistent)?;
    // SAFETY: field addresses within values that look-ups returned.
    let (selector, binding) =
        unsafe { (&raw const (*control).selector, &raw const (*record).binding) };
    // The selector is read once; all else follows from it.
    let selector = Selector(word::load(selector));
    let service = Binding(word::load(binding)).service(selector);
    if service == 0 {
        return Err(Reason::InactiveListener);
    }
    let row = ROWS.get(selector.row()).ok_or(Reason::Inconsistent)?;
    let table = row.table[service as usize & (MAX_SERVICES - 1)] as u32 & (TABLES as u32 - 1);
    let split = SPLITS
        .get_value(service.into(), &table)
        .ok_or(Reason::Inconsistent)?;
    let tuple = FlowTuple {
        client: flow.client,
        vip: flow.vip,
        client_port: flow.client_port,
        vip_port: flow.vip_port,
        protocol: flow.protocol,
    };
    let choice = split.choose::<V6>(&tuple, flow.listener, word::opaque);
    flow.aside = (choice.cause as u8 != Cause::Weights as u8) as u32;
    let (mut index, mut id) = member::<V6>(service, choice.track, choice.entry);
    if id == 0 {
        (index, id) = member::<V6>(service, choice.fallback, choice.entry);
    }
    if id == 0 {
        return Err(nobody(service));
    }
    let backend = BACKENDS.get(id.into()).ok_or(Reason::Inconsistent)?;
    if backend.flags & Backend::SHARED == 0 {
        return Ok(id.into());
    }
    flow.track_table = index;
    flow.entry = choice.entry;
    Ok(id as u64 | SHARED)
}

/// The table of a track, which is given as its number and 1, and the backend in that entry of it; 0 if
/// there is none.
#[inline(always)]
fn member<const V6: bool>(service: u16, track: u8, entry: u32) -> (u32, u16) {
    if track == 0 {
        return (0, 0);
    }
    let index = track_table_index(service, track - 1, family::<V6>());
    match TRACKS.get_value(index, &0) {
        Some(table) => (index, table.backends[at(entry)]),
        None => (index, 0),
    }
}

/// Beside a backend's id: its endpoint answers for several listeners.
pub const SHARED: u64 = 1 << 32;

/// What a new flow gets that nobody can serve (`noBackend`).
#[inline(always)]
fn nobody(service: u16) -> Reason {
    match SERVICES.get(service.into()) {
        Some(word) if word.no_backend == NoBackend::Reset as u32 => Reason::NoBackendReset,
        Some(word) if word.no_backend == NoBackend::Unreachable as u32 => {
            Reason::NoBackendUnreachable
        }
        _ => Reason::NoBackend,
    }
}

/// The first backend from `entry` of the track table `index` on that the client of the flow in
/// [`PENDING`] does not reach through another listener with the same port; 0 if none is found.
///
/// A global function: the verifier checks it once, and it is rarely called.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn untaken(index: u32, entry: u32) -> u64 {
    let Some(table) = TRACKS.get_value(index, &0) else {
        return 0;
    };
    let mut tried = 0;
    while tried < CONFLICT_TRIES {
        let id = table.backends[at(entry.wrapping_add(tried))];
        tried += 1;
        if id != 0 && is_taken(id.into()) == 0 {
            return id.into();
        }
    }
    0
}

/// Whether the client of the flow in [`PENDING`] reaches the endpoint of backend `id` through another
/// listener: 0 if not.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_taken(id: u32) -> u64 {
    let (Some(flow), Some(backend)) = (PENDING.get(0), BACKENDS.get(id)) else {
        return 1;
    };
    let taken = if flow.family == Family::V6 as u32 {
        taken::<true>(flow, backend)
    } else {
        taken::<false>(flow, backend)
    };
    taken.into()
}

/// A place in the track table, in range for the verifier's eyes too. Those before Linux 6.3 do not see that a
/// bound of one register bounds its 32-bit copy, so the number that is compared is the one that is used.
#[inline(always)]
fn at(entry: u32) -> usize {
    let entry = word::opaque(entry.into()) as usize;
    if entry < MAGLEV { entry } else { 0 }
}

/// Whether the client's address and port reach this backend's endpoint through another listener:
/// the backend could not tell the two flows apart, nor could we tell their replies.
#[inline(always)]
fn taken<const V6: bool>(flow: &Pending, backend: &Backend) -> bool {
    let port = if backend.port == WirePort(0) {
        flow.vip_port
    } else {
        backend.port
    };
    let meta = Endpoint::meta_of(port, flow.protocol, family::<V6>());
    let Some(endpoint) = lookup::endpoint::<V6>(backend.address, meta) else {
        return false;
    };
    let Some(reply) = REPLIES.get(endpoint.id) else {
        return false;
    };
    let mut i = 0;
    while i < PAIRS {
        let pair = reply.pairs[i];
        i += 1;
        if pair == Pair(0) {
            return false;
        }
        let key = flow_key::<V6>(flow.client, flow.client_port, pair.listener());
        if pair.listener() != flow.listener
            && let Some(value) = flows::Name::new(key).find()
            && value.backend() == pair.backend()
        {
            return true;
        }
    }
    false
}

pub use key::flow_key;

mod key {
    use super::super::maps::FINGERPRINT_KEY;
    use splitter_ebpf::endpoint::{flow_key_v4, flow_key_v6};
    use splitter_ebpf::wire::{WireAddress, WirePort};

    /// The name of a client's flow at a listener.
    #[inline(always)]
    pub fn flow_key<const V6: bool>(client: WireAddress, port: WirePort, listener: u16) -> u64 {
        if V6 {
            flow_key_v6(FINGERPRINT_KEY.load(), client, port, listener)
        } else {
            flow_key_v4(client.0[0], port, listener)
        }
    }
}

//! Choosing a backend for a new flow: selector, row, split table, track table.

use super::maps::{ASKED, BACKENDS, CONTROL, LISTENERS, REPLIES, ROWS, SERVICES, SPLITS, TRACKS};
use super::{family, flows, lookup, word};
use splitter_ebpf::abi::{
    Asked, Backend, Binding, Endpoint, MAGLEV, MAX_SERVICES, NoBackend, PAIRS, Pair, SLOTS,
    Selector, TABLES, TRACKS as TRACK_LIMIT, track_table_index,
};
use splitter_ebpf::endpoint::FlowTuple;
use splitter_ebpf::headers::Segment;
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::WirePort;

/// Entries of the track table that are tried when the client already reaches a backend through
/// another listener.
const CONFLICT_TRIES: u32 = 16;

/// A backend for a new flow of `segment` at `listener`, by the split that is current now.
#[inline(always)]
pub fn choose<const V6: bool>(
    segment: &Segment,
    listener: u16,
) -> Result<(u16, &'static Backend), Reason> {
    let control = CONTROL.get_ptr(0).ok_or(Reason::Inconsistent)?;
    let record = LISTENERS
        .get_ptr(listener.into())
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
        client: segment.source,
        vip: segment.destination,
        client_port: segment.source_port,
        vip_port: segment.destination_port,
        protocol: segment.protocol,
    };
    let (slot, entry) = if V6 {
        tuple.place_v6(&split.header)
    } else {
        tuple.place_v4(&split.header)
    };
    let track = split.slots[slot as usize & (SLOTS - 1)] & (TRACK_LIMIT as u8 - 1);
    let table = TRACKS
        .get_value(track_table_index(service, track, family::<V6>()), &0)
        .ok_or_else(|| nobody(service))?;
    let id = table.backends[at(entry)];
    if id == 0 {
        return Err(nobody(service));
    }
    let backend = BACKENDS.get(id.into()).ok_or(Reason::Inconsistent)?;
    if backend.flags & Backend::SHARED == 0 {
        return Ok((id, backend));
    }
    let Some(asked) = ASKED.get_ptr_mut(0) else {
        return Err(Reason::Inconsistent);
    };
    // SAFETY: the look-up succeeded, and the value is this CPU's own.
    unsafe {
        *asked = Asked {
            client: segment.source,
            client_port: segment.source_port,
            vip_port: segment.destination_port,
            protocol: segment.protocol.into(),
        };
    }
    let index = track_table_index(service, track, family::<V6>());
    let id = untaken(index, entry, listener.into(), V6.into()) as u16;
    if id == 0 {
        return Err(Reason::TupleConflict);
    }
    let backend = BACKENDS.get(id.into()).ok_or(Reason::Inconsistent)?;
    Ok((id, backend))
}

/// Why a new flow of `service` goes nowhere: it says what the client gets.
#[inline(always)]
fn nobody(service: u16) -> Reason {
    let word = SERVICES
        .get(service.into())
        .map_or(0, |word| word.no_backend);
    if word == NoBackend::Reset as u32 {
        Reason::NoBackendReset
    } else if word == NoBackend::Unreachable as u32 {
        Reason::NoBackendUnreachable
    } else {
        Reason::NoBackend
    }
}

/// The first backend from `entry` of the track table `index` on that the client's address and port,
/// in [`ASKED`], do not reach through another listener than `listener`; 0 if none is found.
///
/// A global function: the verifier checks it once, and it is rarely called.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn untaken(index: u32, entry: u32, listener: u32, v6: u32) -> u64 {
    let Some(table) = TRACKS.get_value(index, &0) else {
        return 0;
    };
    let Some(asked) = ASKED.get(0) else {
        return 0;
    };
    let mut tried = 0;
    while tried < CONFLICT_TRIES {
        let id = table.backends[at(entry.wrapping_add(tried))];
        tried += 1;
        if id == 0 {
            continue;
        }
        let Some(backend) = BACKENDS.get(id.into()) else {
            return 0;
        };
        let free = if v6 == 0 {
            !taken::<false>(asked, listener, backend)
        } else {
            !taken::<true>(asked, listener, backend)
        };
        if free {
            return id.into();
        }
    }
    0
}

/// A place in the track table, in range for the verifier's eyes too.
#[inline(always)]
const fn at(entry: u32) -> usize {
    let entry = entry as usize;
    if entry < MAGLEV { entry } else { 0 }
}

/// Whether the client's address and port reach this backend's endpoint through another listener:
/// the backend could not tell the two flows apart, nor could we tell their replies.
#[inline(always)]
fn taken<const V6: bool>(asked: &Asked, listener: u32, backend: &Backend) -> bool {
    let port = if backend.port == WirePort(0) {
        asked.vip_port
    } else {
        backend.port
    };
    let meta = Endpoint::meta_of(port, asked.protocol as u8, family::<V6>());
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
        let key = flow_key::<V6>(asked.client, asked.client_port, pair.listener());
        if pair.listener() as u32 != listener
            && let Some(value) = flows::Name::new(key).find_out_of_line()
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

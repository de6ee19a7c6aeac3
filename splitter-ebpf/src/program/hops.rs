//! The way back to a client: a per-CPU cache of what the kernel's routes say, and where the kernel
//! knows no neighbour, the interface and MAC address that the client's own packet came from.

use super::lookup::same_address;
use super::maps::{CLIENT_HOPS, CONTROL, FLOW_SECRET, HOP_TICKS, LEARNED_HOPS};
use super::packet::Frame;
use super::word;
use aya_ebpf::bindings::{self, bpf_fib_lookup as FibLookup};
use aya_ebpf::helpers::bpf_fib_lookup;
use splitter_ebpf::abi::{self, ClientHop, Hop, LearnedHop};
use splitter_ebpf::flow::TICK_MASK;
use splitter_ebpf::hash::scatter;
use splitter_ebpf::rewrite::hop_back;
use splitter_ebpf::wire::WireAddress;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Whether a frame goes back by the interface it came in by as a redirected one, not by `XDP_TX`.
#[inline(always)]
pub fn redirects_back() -> bool {
    CONTROL.get_ptr(0).is_some_and(|control| {
        // SAFETY: a field's address within a value that a look-up returned.
        word::load(unsafe { &raw const (*control).redirect_back }) != 0
    })
}

#[inline(always)]
fn client_hash<const V6: bool>(client: WireAddress) -> u64 {
    let [a, b] = client.halves();
    scatter(
        FLOW_SECRET.load(),
        if V6 { a ^ b.rotate_left(31) ^ 6 } else { a },
    )
}

/// Remembers where a client's packet came from.
#[inline(always)]
pub fn learn<const V6: bool>(frame: &Frame, client: WireAddress) {
    let hash = client_hash::<V6>(client);
    let hop = hop_back(frame, frame.ingress());
    let first = hop.macs[0] as u64 | ((hop.macs[1] as u64) << 32);
    let second = hop.macs[2] as u64 | ((hop.ifindex as u64) << 32);
    if let Some(cell) = LEARNED_HOPS.get_ptr_mut(hash as u32 & (abi::LEARNED_HOPS as u32 - 1)) {
        // SAFETY: the look-up succeeded; `check` tells readers whether the words belong together.
        unsafe {
            *cell = LearnedHop {
                check: hash ^ first ^ second,
                first,
                second,
                vlan: 0,
            }
        }
    }
}

#[inline(always)]
fn learned(hash: u64) -> Option<Hop> {
    let cell = LEARNED_HOPS.get(hash as u32 & (abi::LEARNED_HOPS as u32 - 1))?;
    let (check, first, second) = (
        word::load(&raw const cell.check),
        word::load(&raw const cell.first),
        word::load(&raw const cell.second),
    );
    (check == hash ^ first ^ second && second >> 32 != 0).then_some(Hop {
        macs: [first as u32, (first >> 32) as u32, second as u32],
        ifindex: (second >> 32) as u32,
    })
}

/// The next hop towards `client` for a packet from `vip`.
#[inline(always)]
pub fn towards<const V6: bool>(
    frame: &Frame,
    vip: WireAddress,
    client: WireAddress,
    now: u32,
) -> Option<Hop> {
    let hash = client_hash::<V6>(client);
    let control = CONTROL.get_ptr(0)?;
    // SAFETY: a field's address within a value that a look-up returned.
    let epoch = word::load(unsafe { &raw const (*control).route_epoch });
    let family = if V6 { AF_INET6 } else { AF_INET };
    let cell = CLIENT_HOPS.get_ptr_mut((hash >> 32) as u32 & (abi::CLIENT_HOPS as u32 - 1))?;
    // SAFETY: the look-up succeeded, and the cell is this CPU's own.
    let cell = unsafe { &mut *cell };
    if cell.valid == family as u32
        && same_address::<V6>(&cell.address, &client)
        && cell.epoch == epoch
        && now.wrapping_sub(cell.tick) & TICK_MASK < HOP_TICKS.load()
    {
        return Some(cell.hop);
    }
    let hop = match routed::<V6>(frame, vip, client) {
        Some(hop) => hop,
        None => learned(hash)?,
    };
    *cell = ClientHop {
        address: client,
        epoch,
        tick: now,
        valid: family.into(),
        hop,
        path: abi::Path::default(),
        reserved: 0,
    };
    Some(hop)
}

/// Asks the kernel's routes and neighbours.
#[inline(always)]
fn routed<const V6: bool>(frame: &Frame, vip: WireAddress, client: WireAddress) -> Option<Hop> {
    // SAFETY: all-zero bytes are a valid value of this plain C structure.
    let mut query: FibLookup = unsafe { core::mem::zeroed() };
    query.ifindex = frame.ingress();
    if V6 {
        query.family = AF_INET6;
        query.__bindgen_anon_3.ipv6_src = vip.0;
        query.__bindgen_anon_4.ipv6_dst = client.0;
    } else {
        query.family = AF_INET;
        query.__bindgen_anon_3.ipv4_src = vip.0[0];
        query.__bindgen_anon_4.ipv4_dst = client.0[0];
    }
    let size = core::mem::size_of::<FibLookup>() as i32;
    // SAFETY: the context is the program's own and the structure is initialised whole.
    let answer = unsafe { bpf_fib_lookup(frame.context(), &raw mut query, size, 0) };
    (answer == bindings::BPF_FIB_LKUP_RET_SUCCESS as i64)
        .then(|| Hop::new(query.dmac, query.smac, query.ifindex))
}

//! The way back to a client: a per-CPU cache of what the kernel's routes say, and where the kernel
//! knows no neighbour, the interface and MAC address that the client's own packet came from.

use super::lookup::same_address;
use super::maps::{
    CLIENT_HOPS, CONTROL, FLOW_SECRET, HOP_TICKS, LEARNED_HOPS, VLAN_DEVICES, WANTED,
};
use super::packet::Frame;
use super::word;
use aya_ebpf::bindings::{self, bpf_fib_lookup as FibLookup, xdp_md};
use aya_ebpf::helpers::bpf_fib_lookup;
use core::mem::MaybeUninit;
use splitter_ebpf::abi::{self, ClientHop, Hop, LearnedHop, Path, Wanted};
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
    let vlan = frame.path_back().vlan as u64;
    if let Some(cell) = LEARNED_HOPS.get_ptr_mut(hash as u32 & (abi::LEARNED_HOPS as u32 - 1)) {
        // SAFETY: the look-up succeeded; `check` tells readers whether the words belong together.
        unsafe {
            *cell = LearnedHop {
                check: hash ^ first ^ second ^ vlan,
                first,
                second,
                vlan,
            }
        }
    }
}

#[inline(always)]
fn learned(hash: u64) -> Option<(Hop, Path)> {
    let cell = LEARNED_HOPS.get(hash as u32 & (abi::LEARNED_HOPS as u32 - 1))?;
    let (check, first, second, vlan) = (
        word::load(&raw const cell.check),
        word::load(&raw const cell.first),
        word::load(&raw const cell.second),
        word::load(&raw const cell.vlan),
    );
    (check == hash ^ first ^ second ^ vlan && second >> 32 != 0).then_some((
        Hop {
            macs: [first as u32, (first >> 32) as u32, second as u32],
            ifindex: (second >> 32) as u32,
        },
        Path {
            mtu: 0,
            vlan: vlan as u16,
        },
    ))
}

/// The next hop towards `client` for a packet from `vip`, and what it asks of packets.
#[inline(always)]
pub fn towards<const V6: bool>(
    context: *mut xdp_md,
    vip: WireAddress,
    client: WireAddress,
    now: u32,
) -> Option<(Hop, Path)> {
    way_in(cell_towards::<V6>(context, vip, client, now)?)
}

/// The cell that holds it.
#[inline(always)]
pub fn cell_towards<const V6: bool>(
    context: *mut xdp_md,
    vip: WireAddress,
    client: WireAddress,
    now: u32,
) -> Option<u32> {
    let hash = client_hash::<V6>(client);
    let control = CONTROL.get_ptr(0)?;
    // SAFETY: a field's address within a value that a look-up returned.
    let epoch = word::load(unsafe { &raw const (*control).route_epoch });
    let index = (hash >> 32) as u32 & (abi::CLIENT_HOPS as u32 - 1);
    let cell = CLIENT_HOPS.get(index)?;
    if cell.valid == family_number::<V6>()
        && same_address::<V6>(&cell.address, &client)
        && cell.epoch == epoch
        && now.wrapping_sub(cell.tick) & TICK_MASK < HOP_TICKS.load()
    {
        return Some(index);
    }
    let wanted = WANTED.get_ptr_mut(0)?;
    // SAFETY: the look-up succeeded, and the value is this CPU's own.
    unsafe {
        *wanted = Wanted {
            source: vip,
            client,
        }
    }
    if find_way(context, hash, epoch, family_number::<V6>(), now) == 0 {
        return None;
    }
    Some(index)
}

/// The way in a cell that [`cell_towards`] gave.
#[inline(always)]
pub fn way_in(cell: u32) -> Option<(Hop, Path)> {
    let cell = CLIENT_HOPS.get(cell)?;
    Some((cell.hop, cell.path))
}

#[inline(always)]
const fn family_number<const V6: bool>() -> u32 {
    if V6 { AF_INET6 as u32 } else { AF_INET as u32 }
}

/// Fills the cell of the client in [`WANTED`] from the kernel's routes and neighbours, or from what the
/// client's packets showed. Gives back 0 if neither knows a way.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_way(
    context: *mut xdp_md,
    hash: u64,
    epoch: u64,
    family: u32,
    now: u32,
) -> u64 {
    let index = (hash >> 32) as u32 & (abi::CLIENT_HOPS as u32 - 1);
    let (Some(wanted), Some(cell)) = (WANTED.get(0), CLIENT_HOPS.get_ptr_mut(index)) else {
        return 0;
    };
    let found = match routed(context, wanted, family) {
        Some(found) => Some(found),
        None => learned(hash),
    };
    let Some((hop, path)) = found else {
        return 0;
    };
    // SAFETY: the look-up succeeded, and the cell is this CPU's own.
    unsafe {
        *cell = ClientHop {
            address: word::address(&raw const wanted.client),
            epoch,
            tick: now,
            valid: family,
            hop,
            path,
            reserved: 0,
        }
    }
    1
}

/// Asks the kernel's routes and neighbours.
#[inline(always)]
fn routed(context: *mut xdp_md, wanted: &Wanted, family: u32) -> Option<(Hop, Path)> {
    let mut query = MaybeUninit::<FibLookup>::uninit();
    let words = query.as_mut_ptr().cast::<u32>();
    let mut i = 0;
    // By words, for the reason that `word::address` has.
    while i < size_of::<FibLookup>() / 4 {
        // SAFETY: within the structure, which is aligned to 4.
        unsafe { words.add(i).write_volatile(0) }
        i += 1;
    }
    // SAFETY: all-zero bytes are a valid value of this plain C structure.
    let query = unsafe { query.assume_init_mut() };
    // SAFETY: a program's context is valid for as long as it runs.
    query.ifindex = unsafe { (*context).ingress_ifindex };
    query.family = family as u8;
    if family == AF_INET6 as u32 {
        query.__bindgen_anon_3.ipv6_src = wanted.source.0;
        query.__bindgen_anon_4.ipv6_dst = wanted.client.0;
    } else {
        query.__bindgen_anon_3.ipv4_src = wanted.source.0[0];
        query.__bindgen_anon_4.ipv4_dst = wanted.client.0[0];
    }
    let size = size_of::<FibLookup>() as i32;
    // SAFETY: the context is the program's own and the structure is initialised whole.
    let answer = unsafe { bpf_fib_lookup(context.cast(), &raw mut *query, size, 0) };
    if answer != bindings::BPF_FIB_LKUP_RET_SUCCESS as i64 {
        return None;
    }
    // SAFETY: the kernel has written the route's limit in the place of the length (since 5.13).
    let mtu = unsafe { query.__bindgen_anon_1.mtu_result };
    let (mut ifindex, mut vlan) = (query.ifindex, 0);
    if let Some(device) = VLAN_DEVICES.get_ptr(ifindex) {
        // SAFETY: the look-up succeeded; elements of a hash map are not reused within a grace period.
        let device = unsafe { *device };
        (ifindex, vlan) = (device.parent, device.vlan as u16);
    }
    Some((
        Hop::new(query.dmac, query.smac, ifindex),
        Path { mtu, vlan },
    ))
}

//! Mode `ipip`: packets carried inside another IP packet to a backend on any network (RFC 2003, RFC 2473).

use super::forward::current_hop;
use super::maps::{BACKENDS, CONTROL};
use super::outcome::Outcome;
use super::packet::{Frame, grow_head};
use aya_ebpf::bindings::xdp_md;
use splitter_ebpf::abi::{Backend, Hop, Tunnel};
use splitter_ebpf::checksum::Difference;
use splitter_ebpf::headers::{ETHERNET, IPV4, IPV6, Packet as _, PacketMut as _};
use splitter_ebpf::rewrite::{macs, take_hop};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{Family, WireAddress};

/// Hops that a tunnel may take (RFC 1700).
const TTL: u8 = 64;
/// IP protocol number of IPv4 in IPv4 (RFC 2003).
const IPIP: u8 = 4;
/// Next-header value of IPv6 in IPv6 (RFC 2473).
const IPV6_IN: u8 = 41;

/// Bytes that mode `ipip` adds to a packet.
#[inline(always)]
pub const fn overhead(family: Family) -> usize {
    match family {
        Family::V4 => IPV4,
        Family::V6 => IPV6,
    }
}

/// Puts a packet into another one for its backend and addresses that to its next hop. `orders` holds the
/// backend's id, the family from bit 16 on and the verdict's reason from bit 24 on; bits of `spread`
/// choose the outer source address. The inner packet loses one hop of its TTL.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn encapsulate(context: *mut xdp_md, orders: u32, spread: u32) -> u64 {
    let (Some(backend), Some(control)) = (BACKENDS.get(orders & 0xffff), CONTROL.get(0)) else {
        return Outcome::of(Reason::Inconsistent).0;
    };
    let (hop, path) = current_hop(backend);
    let done = if (orders >> 16) as u8 == Family::V6 as u8 {
        wrap_v6(context, backend, &control.tunnel, spread, &hop)
    } else {
        wrap_v4(context, backend, &control.tunnel, spread, &hop)
    };
    if !done {
        return Outcome::of(Reason::Unwritable).0;
    }
    Outcome::sent((orders >> 24) as u8, &hop, path).0
}

#[inline(always)]
fn wrap_v4(
    context: *mut xdp_md,
    backend: &Backend,
    tunnel: &Tunnel,
    spread: u32,
    hop: &Hop,
) -> bool {
    let mut inner = Frame::new(context, 0);
    if !inner.has(ETHERNET + IPV4) {
        return false;
    }
    take_hop(&mut inner, Family::V4, ETHERNET);
    let [_, service, high, low] = inner.word(ETHERNET).to_ne_bytes();
    let total = u16::from_be_bytes([high, low]).wrapping_add(IPV4 as u16);
    if !grow_head(context, IPV4 as i32) {
        return false;
    }
    let mut frame = Frame::new(context, 0);
    if !frame.has(ETHERNET + IPV4) {
        return false;
    }
    let [high, low] = total.to_be_bytes();
    let first = u32::from_ne_bytes([0x45, service, high, low]);
    // Never fragmented on its way, so that its identification may be 0 (RFC 6864 section 4.1).
    let second = u32::from_ne_bytes([0, 0, 0x40, 0]);
    let third = u32::from_ne_bytes([TTL, IPIP, 0, 0]);
    let source = tunnel.prefix_v4 | (spread & !tunnel.mask_v4);
    let destination = backend.address.0[0];
    let sum = Difference::NONE
        .plus(first)
        .plus(second)
        .plus(third)
        .plus(source)
        .plus(destination)
        .checksum();
    let at = ETHERNET;
    frame.set_word(at, first);
    frame.set_word(at + 4, second);
    frame.set_word(
        at + 8,
        third | u32::from_ne_bytes([0, 0, sum.to_ne_bytes()[0], sum.to_ne_bytes()[1]]),
    );
    frame.set_word(at + 12, source);
    frame.set_word(at + 16, destination);
    frame.set_half(12, 0x0800_u16.to_be());
    macs(&mut frame, hop);
    true
}

#[inline(always)]
fn wrap_v6(
    context: *mut xdp_md,
    backend: &Backend,
    tunnel: &Tunnel,
    spread: u32,
    hop: &Hop,
) -> bool {
    let mut inner = Frame::new(context, 0);
    if !inner.has(ETHERNET + IPV6) {
        return false;
    }
    take_hop(&mut inner, Family::V6, ETHERNET);
    let class = u32::from_be(inner.word(ETHERNET)) & 0x0ff0_0000;
    let total = u16::from_be(inner.half(ETHERNET + 4)).wrapping_add(IPV6 as u16);
    if !grow_head(context, IPV6 as i32) {
        return false;
    }
    let mut frame = Frame::new(context, 0);
    if !frame.has(ETHERNET + IPV6) {
        return false;
    }
    // The flow's label lets routers spread tunnels (RFC 6438).
    let first = 0x6000_0000 | class | (spread & 0xf_ffff);
    let [high, low] = total.to_be_bytes();
    let prefix = tunnel.prefix_v6.0;
    let source = WireAddress([
        prefix[0],
        prefix[1],
        prefix[2],
        prefix[3] | (spread & !tunnel.mask_v6),
    ]);
    let ([a, b], [c, d]) = (source.halves(), backend.address.halves());
    let at = ETHERNET;
    frame.set_word(at, first.to_be());
    frame.set_word(at + 4, u32::from_ne_bytes([high, low, IPV6_IN, TTL]));
    frame.set_long(at + 8, a);
    frame.set_long(at + 16, b);
    frame.set_long(at + 24, c);
    frame.set_long(at + 32, d);
    frame.set_half(12, 0x86dd_u16.to_be());
    macs(&mut frame, hop);
    true
}

//! The decapsulator of a backend's host: an object of its own, without the splitter's tables.
//!
//! One exhaustive match from verdict to XDP action. What is recognised, and why, is in
//! `splitter_ebpf::decap`.
#![no_std]
#![no_main]

mod frame;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use frame::Frame;
use splitter_ebpf::decap::{Config, Counters, Inner, REASONS, Reason, Verdict, inspect, mark};
use splitter_ebpf::headers::{ETHERNET, IPV4, IPV6};

/// By [`Family::index`](splitter_ebpf::wire::Family::index). Written before the program is attached,
/// and never again.
#[btf_map]
static DECAP_CONFIG: Array<Config, 2> = Array::new();
/// Counters by reason.
#[btf_map]
static DECAP_COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

/// Takes packets for the VIPs out of the balancers' tunnels.
#[xdp(frags)]
#[inline(always)]
fn splitter_decap(ctx: XdpContext) -> u32 {
    let mut frame = Frame::new(&ctx);
    let verdict = inspect(&frame, |family| DECAP_CONFIG.get(family.index()));
    let reason = match verdict {
        Verdict::Leave(reason) => reason,
        Verdict::Decapsulate { inner, ecn } => match inner {
            Inner::V4 => take_out::<IPV4, { ETHERNET + IPV4 }>(&mut frame, inner, ecn),
            Inner::V6 => take_out::<IPV6, { ETHERNET + IPV6 }>(&mut frame, inner, ecn),
            Inner::V6BehindLimit => {
                take_out::<{ IPV6 + 8 }, { ETHERNET + IPV6 + 8 }>(&mut frame, inner, ecn)
            }
        },
    };
    count(reason);
    if reason.drops() { XDP_DROP } else { XDP_PASS }
}

/// Takes the `REMOVED` bytes in front of the inner packet, which starts at `AT`, off the frame.
#[inline(always)]
fn take_out<const REMOVED: usize, const AT: usize>(
    frame: &mut Frame,
    inner: Inner,
    ecn: Option<u8>,
) -> Reason {
    if let Some(ecn) = ecn {
        mark::<AT>(frame, inner, ecn);
    }
    if !frame.shorten(REMOVED) {
        return Reason::Unwritable;
    }
    match inner {
        Inner::V4 => Reason::DecapsulatedV4,
        Inner::V6 | Inner::V6BehindLimit => Reason::DecapsulatedV6,
    }
}

#[inline(always)]
fn count(reason: Reason) {
    let number = reason as u32;
    // SAFETY: a variable of this function. Volatile, because the compiler knows that no reason needs the
    // mask below and leaves it out, and kernels as old as 6.1 do not know it.
    let number = unsafe { (&raw const number).read_volatile() };
    if let Some(counters) = DECAP_COUNTERS.get_ptr_mut(0) {
        // SAFETY: the look-up succeeded, and no other reference to this CPU's value exists.
        let frames = unsafe { &mut (*counters).frames };
        frames[number as usize & (REASONS - 1)] += 1;
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the verifier refuses a program in which this could be reached.
    unsafe { core::hint::unreachable_unchecked() }
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

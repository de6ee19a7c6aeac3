//! The XDP program: one exhaustive match from verdict to XDP action.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(
    internal_features,
    reason = "compare-and-exchange is not in core::sync::atomic for BPF"
)]

#[cfg(feature = "bench")]
mod driver;
mod program;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use program::packet::Frame;
use splitter_ebpf::verdict::Action;

/// Splits the traffic of the host's listeners.
#[xdp]
#[inline(always)]
fn splitter(ctx: XdpContext) -> u32 {
    split(&mut Frame::new(&ctx))
}

#[inline(always)]
fn split(frame: &mut Frame) -> u32 {
    let (reason, hop) = program::classify(frame);
    program::telemetry::count(reason);
    match reason.action() {
        Action::Forward => frame.transmit(&hop),
        Action::Pass => XDP_PASS,
        Action::Drop | Action::Answer => XDP_DROP,
    }
}

/// Run by the agent alone (`BPF_PROG_TEST_RUN`): writes `bpf_jiffies64` and the monotonic clock in
/// nanoseconds into the first 16 bytes of the frame, both in host order.
#[xdp]
fn splitter_clock(ctx: XdpContext) -> u32 {
    program::clock::write(&mut Frame::new(&ctx))
}

/// Does nothing: the floor that the bench measures against.
#[xdp]
fn splitter_floor(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the verifier refuses a program in which this could be reached.
    unsafe { core::hint::unreachable_unchecked() }
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

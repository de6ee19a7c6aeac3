//! The XDP program: one exhaustive match from verdict to XDP action.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
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
use program::outcome::Outcome;
use program::packet::Frame;
use splitter_ebpf::verdict::Action;

/// Splits the traffic of the host's listeners. Takes frames in several buffers too (`xdp.frags`).
#[xdp(frags)]
#[inline(always)]
fn splitter(ctx: XdpContext) -> u32 {
    split(&mut Frame::new(ctx.ctx, 0))
}

/// Goes on with frames that are no plain TCP or UDP segments.
#[xdp(frags)]
fn splitter_unusual(ctx: XdpContext) -> u32 {
    let mut frame = program::stage::taken_over(&ctx);
    let outcome = program::unusual::unusual(&mut frame);
    act(&mut frame, outcome)
}

/// Tells the senders of dropped frames why.
#[xdp(frags)]
fn splitter_answer(ctx: XdpContext) -> u32 {
    let mut frame = program::stage::taken_over(&ctx);
    match program::answer::answer(&frame, program::stage::to_tell()) {
        Some(outcome) => frame.transmit(outcome),
        None => XDP_DROP,
    }
}

#[inline(always)]
fn split(frame: &mut Frame) -> u32 {
    let outcome = program::classify(frame);
    act(frame, outcome)
}

/// Counts a verdict and does what it says.
#[inline(always)]
fn act(frame: &mut Frame, outcome: Outcome) -> u32 {
    program::telemetry::count(outcome.reason());
    if outcome.is(Action::Forward) {
        return frame.transmit(outcome);
    }
    if outcome.is(Action::Pass) {
        let tag = frame.tag();
        if tag != 0 && program::vlan::put_tag(frame.context(), tag) != 0 {
            return XDP_DROP;
        }
        return XDP_PASS;
    }
    if outcome.is(Action::Answer) {
        program::stage::tell(frame, outcome);
    }
    XDP_DROP
}

/// Run by the agent alone (`BPF_PROG_TEST_RUN`): writes `bpf_jiffies64` and the monotonic clock in
/// nanoseconds into the first 16 bytes of the frame, both in host order.
#[xdp]
fn splitter_clock(ctx: XdpContext) -> u32 {
    program::clock::write(&mut Frame::new(ctx.ctx, 0))
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

//! From one program to the next, which has a stack and a verification of its own.

use super::maps::{PASSED_OUTCOME, PASSED_TAG, STAGES};
use super::outcome::Outcome;
use super::packet::Frame;
use aya_ebpf::programs::XdpContext;
use splitter_ebpf::abi::Stage;
use splitter_ebpf::verdict::Reason;

/// Leaves the frame to another program. Comes back only if there is none, which the agent sees to.
#[inline(always)]
pub fn go_on(frame: &Frame, stage: Stage) -> Outcome {
    if let Some(tag) = PASSED_TAG.get_ptr_mut(0) {
        // SAFETY: the look-up succeeded and the value is this CPU's own; nothing is left to be dropped.
        unsafe {
            *tag = frame.tag();
            STAGES.tail_call(&XdpContext::new(frame.context()), stage as u32);
        }
    }
    Outcome::of(Reason::Inconsistent)
}

/// Leaves the frame, and the verdict on it, to the program that tells its sender. Comes back only if
/// that is not there.
#[inline(always)]
pub fn tell(frame: &Frame, outcome: Outcome) {
    if let Some(passed) = PASSED_OUTCOME.get_ptr_mut(0) {
        // SAFETY: the look-up succeeded, and the value is this CPU's own.
        unsafe { *passed = outcome.0 }
        go_on(frame, Stage::Answer);
    }
}

/// The verdict on the frame that the program before left to be told.
#[inline(always)]
pub fn to_tell() -> Outcome {
    PASSED_OUTCOME
        .get(0)
        .map_or(Outcome::of(Reason::Inconsistent), |outcome| {
            Outcome(*outcome)
        })
}

/// The frame that the program before left.
#[inline(always)]
pub fn taken_over(ctx: &XdpContext) -> Frame {
    let tag = PASSED_TAG.get(0).map_or(0, |tag| *tag);
    Frame::new(ctx.ctx, tag)
}

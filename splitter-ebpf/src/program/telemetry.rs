//! Counters. Each CPU has its own, so plain additions are enough.

use super::maps::{COUNTERS, VERDICTS};
use splitter_ebpf::verdict::REASONS;

/// Counts a packet's verdict, by its reason's number.
#[inline(always)]
pub fn count(reason: u8) {
    if let Some(verdicts) = VERDICTS.get_ptr_mut(0) {
        // SAFETY: the look-up succeeded, and no other reference to this CPU's value exists.
        let packets = unsafe { &mut (*verdicts).packets };
        packets[reason as usize & (REASONS - 1)] += 1;
    }
}

/// Counts a flow that was pinned to `backend`; `aside` is 1 if it was not the weights that sent it there.
#[inline(always)]
pub fn count_new_flow(backend: u16, aside: u32) {
    if let Some(counters) = COUNTERS.get_ptr_mut(backend.into()) {
        // SAFETY: as above.
        unsafe {
            (*counters).new_flows += 1;
            (*counters).aside += aside as u64;
        }
    }
}

/// Counts a packet that went to `backend` without a pin.
#[inline(always)]
pub fn count_unpinned(backend: u16) {
    if let Some(counters) = COUNTERS.get_ptr_mut(backend.into()) {
        // SAFETY: as above.
        unsafe { (*counters).unpinned += 1 }
    }
}

//! What a CPU may do within one tick.

use super::maps::{BUDGETS, CONTROL};

/// Whether this CPU may pin another new flow in this tick (`limits.new_flows_per_second`), and counts it.
#[inline(always)]
pub fn pin(now: u32) -> bool {
    let Some(control) = CONTROL.get(0) else {
        return false;
    };
    let cap = control.new_flows_per_tick;
    cap == 0 || spend(0, now, cap)
}

/// Takes one of `cap` from a budget of this CPU; says whether there was one left.
#[inline(always)]
pub fn spend(budget: u32, now: u32, cap: u64) -> bool {
    let Some(cell) = BUDGETS.get_ptr_mut(budget) else {
        return false;
    };
    // SAFETY: the look-up succeeded, and the value is this CPU's own.
    let cell = unsafe { &mut *cell };
    if cell.tick != now {
        cell.tick = now;
        cell.used = 0;
    }
    if cell.used as u64 >= cap {
        return false;
    }
    cell.used += 1;
    true
}

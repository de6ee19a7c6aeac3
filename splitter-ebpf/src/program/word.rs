//! Shared memory: words that other CPUs and the agent read and write at the same time.

use core::intrinsics::{AtomicOrdering, atomic_cxchg};

/// Reads a word that others may be writing. One load.
#[inline(always)]
pub fn load(word: *const u64) -> u64 {
    // SAFETY: the pointer comes from a map look-up that succeeded; the verifier checks its bounds.
    unsafe { word.read_volatile() }
}

/// Stores a word. One store; on x86-64 it is seen after everything stored before it.
#[inline(always)]
pub fn store(word: *mut u64, value: u64) {
    // SAFETY: as for `load`.
    unsafe { word.write_volatile(value) }
}

/// Replaces `old` by `new`; otherwise gives back what stood there.
#[inline(always)]
pub fn compare_exchange(word: *mut u64, old: u64, new: u64) -> Result<(), u64> {
    // SAFETY: as for `load`. BPF_CMPXCHG on 64 bits is fully ordered (kernel commit 5ffa25502b5a).
    let (found, exchanged) = unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, new)
    };
    if exchanged { Ok(()) } else { Err(found) }
}

/// The two's complement, by an instruction that the compiler does not look into: it would make a branch of
/// `(x | -x) >> 63`.
#[inline(always)]
pub fn negate(mut x: u64) -> u64 {
    // SAFETY: one arithmetic instruction on one register.
    unsafe { core::arch::asm!("{0} = -{0}", inout(reg) x, options(pure, nomem, nostack)) };
    x
}

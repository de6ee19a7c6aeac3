//! Shared memory: words that other CPUs and the agent read and write at the same time.

use core::intrinsics::{AtomicOrdering, atomic_cxchg};
use splitter_ebpf::wire::WireAddress;

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

/// The same value, of which the compiler no longer knows where it comes from. Verifiers before Linux 6.3 know
/// the bound of the register that was compared, not of the word that it was taken out of or of a 32-bit copy.
#[inline(always)]
pub fn opaque(mut x: u64) -> u64 {
    // SAFETY: an instruction that changes nothing; an empty text would have no line of its own.
    unsafe { core::arch::asm!("{0} += 0", inout(reg) x, options(pure, nomem, nostack)) };
    x
}

/// An address out of a map, by words: the compiler would call a function that copies bytes, and that costs, as
/// well as one more frame of the stack.
#[inline(always)]
pub fn address(place: *const WireAddress) -> WireAddress {
    let words = place.cast::<u32>();
    // SAFETY: as for `load`; an address is four aligned words.
    unsafe {
        WireAddress([
            words.read_volatile(),
            words.add(1).read_volatile(),
            words.add(2).read_volatile(),
            words.add(3).read_volatile(),
        ])
    }
}

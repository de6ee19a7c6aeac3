//! Time in ticks: jiffies shifted right, about a quarter of a second, cheap to read in BPF.

use super::maps::TICK_SHIFT;
use super::packet::Frame;
use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS};
use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_ns};
use splitter_ebpf::flow::TICK_MASK;
use splitter_ebpf::headers::{Packet as _, PacketMut as _};

/// The current tick.
#[inline(always)]
pub fn now() -> u32 {
    // SAFETY: a helper without arguments, inlined by the kernel.
    let jiffies = unsafe { bpf_jiffies64() };
    (jiffies >> (TICK_SHIFT.load() & 31)) as u32 & TICK_MASK
}

/// Writes both clocks into a frame of at least 16 bytes.
#[inline(always)]
pub fn write(frame: &mut Frame) -> u32 {
    if !frame.has(16) {
        return XDP_ABORTED;
    }
    // SAFETY: helpers without arguments.
    let (jiffies, nanoseconds) = unsafe { (bpf_jiffies64(), bpf_ktime_get_ns()) };
    frame.set_word(0, jiffies as u32);
    frame.set_word(4, (jiffies >> 32) as u32);
    frame.set_word(8, nanoseconds as u32);
    frame.set_word(12, (nanoseconds >> 32) as u32);
    XDP_PASS
}

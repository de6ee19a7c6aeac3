//! The only place that touches packet memory.

use super::hops;
use aya_ebpf::bindings::xdp_action::XDP_TX;
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{
    bpf_redirect, bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
    bpf_xdp_load_bytes, bpf_xdp_store_bytes,
};
use aya_ebpf::programs::XdpContext;
use core::cell::Cell;
use core::ffi::c_void;
use splitter_ebpf::abi::Hop;
use splitter_ebpf::answer::{Resize, sum_of};
use splitter_ebpf::checksum::Sum;
use splitter_ebpf::headers::{Packet, PacketMut};
use splitter_ebpf::rewrite;

/// The frame under classification.
pub struct Frame {
    data: usize,
    end: usize,
    context: *mut c_void,
    ingress: u32,
}

impl Frame {
    /// The frame of `ctx`.
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        Self {
            data: ctx.data(),
            end: ctx.data_end(),
            context: ctx.ctx.cast(),
            ingress: ctx.ingress_ifindex() as u32,
        }
    }

    /// Index of the interface that the frame came in by.
    #[inline(always)]
    pub const fn ingress(&self) -> u32 {
        self.ingress
    }

    /// The context, as helpers want it.
    #[inline(always)]
    pub const fn context(&self) -> *mut c_void {
        self.context
    }

    /// Sends the frame, addressed already, out by the interface that it came in by.
    #[inline(always)]
    pub fn send_back(&self) -> u32 {
        if !hops::redirects_back() {
            return XDP_TX;
        }
        // SAFETY: as below.
        unsafe { bpf_redirect(self.ingress, 0) as u32 }
    }

    /// Addresses the frame to `hop` and sends it there.
    #[inline(always)]
    pub fn transmit(&mut self, hop: &Hop) -> u32 {
        rewrite::macs(self, hop);
        if hop.ifindex == self.ingress && !hops::redirects_back() {
            return XDP_TX;
        }
        // SAFETY: a plain helper call; it checks the index itself and returns an XDP action.
        unsafe { bpf_redirect(hop.ifindex, 0) as u32 }
    }
}

macro_rules! load {
    ($self:ident, $at:ident, $type:ty) => {
        // SAFETY: callers read below a length that `has` confirmed, and the verifier refuses the
        // program if any of them does not. x86 and arm64 load unaligned words; volatile keeps LLVM
        // from splitting them into bytes.
        unsafe { (($self.data + $at) as *const $type).read_volatile() }
    };
}

impl Packet for Frame {
    #[inline(always)]
    fn has(&self, length: usize) -> bool {
        self.data + length <= self.end
    }
    #[inline(always)]
    fn length(&self) -> usize {
        self.end - self.data
    }
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        load!(self, at, u8)
    }
    #[inline(always)]
    fn half(&self, at: usize) -> u16 {
        load!(self, at, u16)
    }
    #[inline(always)]
    fn word(&self, at: usize) -> u32 {
        load!(self, at, u32)
    }
    #[inline(always)]
    fn long(&self, at: usize) -> u64 {
        load!(self, at, u64)
    }
}

macro_rules! store {
    ($self:ident, $at:ident, $value:ident, $type:ty) => {
        // SAFETY: as for loads.
        unsafe { (($self.data + $at) as *mut $type).write_volatile($value) }
    };
}

impl PacketMut for Frame {
    #[inline(always)]
    fn set_byte(&mut self, at: usize, value: u8) {
        store!(self, at, value, u8);
    }
    #[inline(always)]
    fn set_half(&mut self, at: usize, value: u16) {
        store!(self, at, value, u16);
    }
    #[inline(always)]
    fn set_word(&mut self, at: usize, value: u32) {
        store!(self, at, value, u32);
    }
    #[inline(always)]
    fn set_long(&mut self, at: usize, value: u64) {
        store!(self, at, value, u64);
    }
}

/// Bytes of a frame, all its buffers together.
#[inline(always)]
fn whole_length(context: *mut xdp_md) -> usize {
    // SAFETY: a plain helper call on the program's own context.
    unsafe { bpf_xdp_get_buff_len(context) as usize }
}

/// A frame read and written through helpers: at any offset, in any of its buffers, for 5 to 10 ns a
/// word. For packets that are rare.
pub struct Copied {
    context: *mut xdp_md,
    length: usize,
    failed: Cell<u64>,
}

impl Copied {
    /// The frame of `context`.
    #[inline(always)]
    pub fn new(context: *mut xdp_md) -> Self {
        Self {
            context,
            length: whole_length(context),
            failed: Cell::new(0),
        }
    }

    /// Whether a read or a write was refused; what was read then is 0.
    #[inline(always)]
    pub fn failed(&self) -> bool {
        self.failed.get() != 0
    }
}

macro_rules! copy_out {
    ($self:ident, $at:ident, $type:ty) => {{
        let mut value: $type = 0;
        // SAFETY: the helper writes as many bytes as `value` has, or none and says so.
        let answer = unsafe {
            bpf_xdp_load_bytes(
                $self.context,
                $at as u32,
                (&raw mut value).cast(),
                core::mem::size_of::<$type>() as u32,
            )
        };
        // Without a branch: the verifier would walk both ways at every word.
        $self.failed.set($self.failed.get() | answer as u64);
        value
    }};
}

impl Packet for Copied {
    #[inline(always)]
    fn has(&self, length: usize) -> bool {
        self.length >= length
    }
    #[inline(always)]
    fn length(&self) -> usize {
        self.length
    }
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        copy_out!(self, at, u8)
    }
    #[inline(always)]
    fn half(&self, at: usize) -> u16 {
        copy_out!(self, at, u16)
    }
    #[inline(always)]
    fn word(&self, at: usize) -> u32 {
        copy_out!(self, at, u32)
    }
    #[inline(always)]
    fn long(&self, at: usize) -> u64 {
        copy_out!(self, at, u64)
    }
}

macro_rules! copy_in {
    ($self:ident, $at:ident, $value:ident, $type:ty) => {{
        let mut value: $type = $value;
        // SAFETY: the helper reads as many bytes as `value` has.
        let answer = unsafe {
            bpf_xdp_store_bytes(
                $self.context,
                $at as u32,
                (&raw mut value).cast(),
                core::mem::size_of::<$type>() as u32,
            )
        };
        // Without a branch: the verifier would walk both ways at every word.
        $self.failed.set($self.failed.get() | answer as u64);
    }};
}

impl PacketMut for Copied {
    #[inline(always)]
    fn set_byte(&mut self, at: usize, value: u8) {
        copy_in!(self, at, value, u8);
    }
    #[inline(always)]
    fn set_half(&mut self, at: usize, value: u16) {
        copy_in!(self, at, value, u16);
    }
    #[inline(always)]
    fn set_word(&mut self, at: usize, value: u32) {
        copy_in!(self, at, value, u32);
    }
    #[inline(always)]
    fn set_long(&mut self, at: usize, value: u64) {
        copy_in!(self, at, value, u64);
    }
}

impl Resize for Copied {
    #[inline(always)]
    fn grow(&mut self, bytes: usize) -> bool {
        // SAFETY: a plain helper call on the program's own context.
        let grown = unsafe { bpf_xdp_adjust_head(self.context, -(bytes as i32)) == 0 };
        if grown {
            self.length += bytes;
        }
        grown
    }
    #[inline(always)]
    fn trim(&mut self, length: usize) -> bool {
        let delta = length as i32 - self.length as i32;
        // SAFETY: as above.
        let trimmed = unsafe { bpf_xdp_adjust_tail(self.context, delta) == 0 };
        if trimmed {
            self.length = length;
        }
        trimmed
    }
    #[inline(always)]
    fn sum(&self, at: usize, length: usize) -> Sum {
        Sum(sum_bytes(self.context, at as u64, length as u64))
    }
}

/// The sum of `length` bytes of a frame from `at` on, as [`Resize::sum`] wants it. They are there.
///
/// A global function: the verifier walks its loop once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sum_bytes(context: *mut xdp_md, at: u64, length: u64) -> u64 {
    sum_of(&Copied::new(context), at as usize, length as usize).0
}

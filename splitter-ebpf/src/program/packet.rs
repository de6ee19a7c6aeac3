//! The only place that touches packet memory.

use super::hops;
use aya_ebpf::bindings::xdp_action::XDP_TX;
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::programs::XdpContext;
use core::ffi::c_void;
use splitter_ebpf::abi::Hop;
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

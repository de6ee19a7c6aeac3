//! The only place of the decapsulator that touches packet memory.

use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_get_buff_len};
use aya_ebpf::programs::XdpContext;
use splitter_ebpf::headers::{ETHERNET, Packet, PacketMut};

/// The frame's first buffer: its beginning, or all of it.
pub struct Frame<'c> {
    data: usize,
    end: usize,
    context: &'c XdpContext,
}

impl<'c> Frame<'c> {
    /// The frame of `context`.
    #[inline(always)]
    pub fn new(context: &'c XdpContext) -> Self {
        Self {
            data: context.data(),
            end: context.data_end(),
            context,
        }
    }

    /// Takes `bytes` off behind the Ethernet header, which moves. If the kernel refuses, the frame is
    /// as it was.
    #[inline(always)]
    pub fn shorten(&mut self, bytes: usize) -> bool {
        if !self.has(ETHERNET) {
            return false;
        }
        let macs = [self.word(0), self.word(4), self.word(8)];
        let ethertype = self.half(12);
        // SAFETY: a plain helper call; every pointer into the frame is made anew below.
        if unsafe { bpf_xdp_adjust_head(self.context.ctx, bytes as i32) } != 0 {
            return false;
        }
        self.data = self.context.data();
        self.end = self.context.data_end();
        if !self.has(ETHERNET) {
            return false;
        }
        self.set_word(0, macs[0]);
        self.set_word(4, macs[1]);
        self.set_word(8, macs[2]);
        self.set_half(12, ethertype);
        true
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

impl Packet for Frame<'_> {
    #[inline(always)]
    fn has(&self, length: usize) -> bool {
        self.data + length <= self.end
    }
    #[inline(always)]
    fn holds(&self, length: usize) -> bool {
        // A difference, not a sum: kernels as old as 6.12 know no bounds of a length that was swapped, and let
        // none be added to a packet's address. The helper is for frames whose first buffer ends before
        // their packet.
        // SAFETY: a plain helper call on this program's own context.
        self.end - self.data >= length
            || unsafe { bpf_xdp_get_buff_len(self.context.ctx) } >= length as u64
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

impl PacketMut for Frame<'_> {
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

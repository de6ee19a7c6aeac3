//! The only place that touches packet memory.

use super::outcome::Outcome;
use super::{hops, vlan};
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_TX};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{
    bpf_redirect, bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
    bpf_xdp_load_bytes, bpf_xdp_store_bytes,
};
use core::cell::Cell;
use splitter_ebpf::abi::Path;
use splitter_ebpf::answer::{Resize, sum_of};
use splitter_ebpf::checksum::Sum;
use splitter_ebpf::headers::{Packet, PacketMut};

/// The frame under classification, read and written in place at offsets that are known when the program
/// is compiled. Of a frame in several buffers, the first.
pub struct Frame {
    data: usize,
    end: usize,
    context: *mut xdp_md,
    /// The VLAN tag that it came with and that was taken off, as [`vlan::Untagged::Taken`] has it; 0: none.
    tag: u32,
}

impl Frame {
    /// The frame of `context`, which had `tag`.
    #[inline(always)]
    pub fn new(context: *mut xdp_md, tag: u32) -> Self {
        // SAFETY: a program's context is valid for as long as it runs.
        let (data, end) = unsafe { ((*context).data as usize, (*context).data_end as usize) };
        Self {
            data,
            end,
            context,
            tag,
        }
    }

    /// Index of the interface that the frame came in by.
    #[inline(always)]
    pub fn ingress(&self) -> u32 {
        // SAFETY: as in `new`.
        unsafe { (*self.context).ingress_ifindex }
    }

    /// The path by which its answers go back.
    #[inline(always)]
    pub const fn path_back(&self) -> Path {
        Path {
            mtu: 0,
            vlan: vlan::path_of(self.tag),
        }
    }

    /// The tag that it came with; 0: none.
    #[inline(always)]
    pub const fn tag(&self) -> u32 {
        self.tag
    }

    /// The context, as helpers and global functions want it.
    #[inline(always)]
    pub const fn context(&self) -> *mut xdp_md {
        self.context
    }

    /// Sends the frame, addressed already, where `outcome` says.
    #[inline(always)]
    pub fn transmit(&mut self, outcome: Outcome) -> u32 {
        let path = Path {
            mtu: 0,
            vlan: outcome.vlan(),
        };
        if path.vlan != 0 && vlan::put_tag(self.context, path.tag().into()) != 0 {
            return XDP_DROP;
        }
        let ifindex = outcome.detail();
        if ifindex == self.ingress() && !hops::redirects_back() {
            return XDP_TX;
        }
        // SAFETY: a plain helper call; it checks the index itself and returns an XDP action.
        unsafe { bpf_redirect(ifindex, 0) as u32 }
    }
}

/// Makes the frame longer at its head (or shorter, if `bytes` is negative). Every [`Frame`] of it is
/// stale afterwards.
#[inline(always)]
pub fn grow_head(context: *mut xdp_md, bytes: i32) -> bool {
    // SAFETY: a plain helper call on the program's own context.
    unsafe { bpf_xdp_adjust_head(context, -bytes) == 0 }
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
    fn holds(&self, length: usize) -> bool {
        self.end - self.data >= length || whole_length(self.context) >= length
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

    /// The context, as helpers and global functions want it.
    #[inline(always)]
    pub const fn context(&self) -> *mut xdp_md {
        self.context
    }

    /// Bytes of the frame, all its buffers together.
    #[inline(always)]
    pub const fn length(&self) -> usize {
        self.length
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
        let grown = grow_head(self.context, bytes as i32);
        if grown {
            self.length += bytes;
        }
        grown
    }
    #[inline(always)]
    fn trim(&mut self, length: usize) -> bool {
        let delta = length as i32 - self.length as i32;
        // SAFETY: a plain helper call on the program's own context.
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

use super::{MAX_SERVICES, ROWS, assert_layout};
use crate::verdict::REASONS;

/// The words that change what packets meet, in a memory-mapped page.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Control {
    /// The current [`Selector`]. One aligned store to it is the flip.
    pub selector: u64,
    /// Grows whenever routes, links or neighbours change; older cached next hops are not used.
    pub route_epoch: u64,
    /// Not 0: frames that leave by the interface they came in by are redirected there. A veth whose
    /// other end polls without an XDP program of its own takes what `XDP_TX` sends, and lets it lie
    /// until something else wakes it (`veth_xdp_flush` asks for a program, `veth_xdp_xmit` no longer
    /// does since kernel commit 0e672f306a28).
    pub redirect_back: u64,
}
assert_layout!(Control, 24, selector: 0, route_epoch: 8, redirect_back: 16);

/// The selector: the current row in the low three bits, the number of flips above.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Selector(pub u64);

impl Selector {
    /// The selector after `sequence` flips, pointing at `row`.
    #[must_use]
    pub const fn new(sequence: u64, row: u8) -> Self {
        Self((sequence << 3) | (row as u64 & (ROWS as u64 - 1)))
    }

    /// The current row.
    #[must_use]
    #[inline(always)]
    pub const fn row(self) -> u32 {
        (self.0 & (ROWS as u64 - 1)) as u32
    }

    /// Flips so far.
    #[must_use]
    #[inline(always)]
    pub const fn sequence(self) -> u64 {
        self.0 >> 3
    }

    /// The lower 32 bits of the number of flips, as bindings carry it.
    #[must_use]
    #[inline(always)]
    pub const fn short(self) -> u32 {
        (self.0 >> 3) as u32
    }
}

/// One byte for each service: which of its split tables is current.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// By service id.
    pub table: [u8; MAX_SERVICES],
}
assert_layout!(Row, 4096, table: 0);

/// What the pinned maps were made with; written once, before anything is attached.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// [`ABI_VERSION`](super::ABI_VERSION) of the maker.
    pub abi_version: u32,
    /// Flow table buckets, a power of two.
    pub flow_buckets: u32,
    /// Endpoint table buckets, a power of two.
    pub endpoint_buckets: u32,
    /// Right shift from jiffies to ticks.
    pub tick_shift: u32,
    /// Names the secret that hashes are keyed with, without giving it away.
    pub secret_digest: u64,
}
assert_layout!(Meta, 24, abi_version: 0, flow_buckets: 4, endpoint_buckets: 8, tick_shift: 12, secret_digest: 16);

/// A CPU's counters, by the number of a [`Reason`](crate::verdict::Reason).
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Verdicts {
    /// Packets.
    pub packets: [u64; REASONS],
}
assert_layout!(Verdicts, 512, packets: 0);

use super::{MAX_SERVICES, ROWS, assert_layout};
use crate::verdict::REASONS;
use crate::wire::WireAddress;

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
    /// New flows that a CPU pins within one tick; 0: as many as come.
    pub new_flows_per_tick: u64,
    /// Where outer source addresses are taken from.
    pub tunnel: Tunnel,
}
assert_layout!(Control, 80, selector: 0, route_epoch: 8, redirect_back: 16, new_flows_per_tick: 24, tunnel: 32);

/// Prefixes of outer source addresses, with [`Mode::Ipip`](super::Mode::Ipip): bits of the flow's hash
/// fill what the mask leaves.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tunnel {
    /// The IPv6 prefix.
    pub prefix_v6: WireAddress,
    /// Its mask's last word, in packet order: only bits of this word vary, so a prefix is of 96 bits or
    /// more, or its bits from there to the 96th stay 0.
    pub mask_v6: u32,
    /// The IPv4 prefix, in packet order.
    pub prefix_v4: u32,
    /// Its mask, in packet order.
    pub mask_v4: u32,
    /// Always 0.
    pub reserved: [u32; 5],
}
assert_layout!(Tunnel, 48, prefix_v6: 0, mask_v6: 16, prefix_v4: 20, mask_v4: 24, reserved: 28);

/// What a service does beside its splits: changed in place, read at once.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceWord {
    /// A [`NoBackend`] as its number.
    pub no_backend: u32,
    /// Always 0.
    pub reserved: u32,
}
assert_layout!(ServiceWord, 8, no_backend: 0, reserved: 4);

/// What a new flow gets when nobody can serve it.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NoBackend {
    /// Nothing.
    #[default]
    Drop = 0,
    /// TCP: a RST (RFC 9293 section 3.10.7.1). UDP: as [`NoBackend::Unreachable`].
    Reset = 1,
    /// An ICMP error: port unreachable (RFC 792, RFC 4443 section 3.1).
    Unreachable = 2,
}

/// Programs that the first one calls by their place, each with a stack and a verification of its own.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Packets that are no plain TCP or UDP segments.
    Unusual = 0,
    /// Packets whose senders are told why they are dropped.
    Answer = 1,
}

/// What a CPU may still do within one tick.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// The tick that `used` is about.
    pub tick: u32,
    /// How often it was done.
    pub used: u32,
}
assert_layout!(Budget, 8, tick: 0, used: 4);

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

use super::assert_layout;
use crate::wire::{WireAddress, WirePort};

/// A next hop: the first twelve bytes of the Ethernet header as it will leave, and where to.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hop {
    /// Destination MAC, then source MAC, as three words in packet order.
    pub macs: [u32; 3],
    /// Interface index; 0: the next hop is not known.
    pub ifindex: u32,
}
assert_layout!(Hop, 16, macs: 0, ifindex: 12);

impl Hop {
    /// A hop from its parts.
    #[must_use]
    pub fn new(destination: [u8; 6], source: [u8; 6], ifindex: u32) -> Self {
        let [a, b, c, d, e, f] = destination;
        let [g, h, i, j, k, l] = source;
        let word = u32::from_ne_bytes;
        Self {
            macs: [word([a, b, c, d]), word([e, f, g, h]), word([i, j, k, l])],
            ifindex,
        }
    }
}

/// A backend of one track of one service.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backend {
    /// Its address.
    pub address: WireAddress,
    /// Its port; 0: the listener's.
    pub port: WirePort,
    /// 1 if it answers for several listeners at one endpoint ([`Backend::SHARED`]), else 0.
    pub flags: u16,
    /// Which of the two hops is current, 0 or 1. Stored alone, after the other hop was written.
    pub current_hop: u32,
    /// Always 0.
    pub reserved: u64,
    /// Next hops towards it.
    pub hops: [Hop; 2],
}
assert_layout!(Backend, 64, address: 0, port: 16, flags: 18, current_hop: 20, reserved: 24, hops: 32);

impl Backend {
    /// Another listener may reach this backend's endpoint: a new flow checks for its client's tuple.
    pub const SHARED: u16 = 1;
}

/// A CPU's counters of one backend.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BackendCounters {
    /// Flows that were pinned to it.
    pub new_flows: u64,
    /// Packets that went to it without a pin.
    pub unpinned: u64,
}
assert_layout!(BackendCounters, 16, new_flows: 0, unpinned: 8);

/// A cell of a CPU's cache of next hops towards clients.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientHop {
    /// The client.
    pub address: WireAddress,
    /// Route epoch at which it was found.
    pub epoch: u64,
    /// Tick at which it was found.
    pub tick: u32,
    /// 1 when the cell holds a hop.
    pub valid: u32,
    /// The hop.
    pub hop: Hop,
}
assert_layout!(ClientHop, 48, address: 0, epoch: 16, tick: 24, valid: 28, hop: 32);

/// Where a client's packets came from, for replies while the kernel knows no neighbour. Any CPU
/// writes, so the first word checks the others: a cell that two CPUs wrote at once fits nobody.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LearnedHop {
    /// The client's hash xor both words of the hop.
    pub check: u64,
    /// The hop's first two words.
    pub first: u64,
    /// The hop's last two.
    pub second: u64,
    /// Always 0.
    pub reserved: u64,
}
assert_layout!(LearnedHop, 32, check: 0, first: 8, second: 16, reserved: 24);

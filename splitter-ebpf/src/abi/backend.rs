use super::{NAT_ADDRESSES, assert_layout};
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

/// What a path to a next hop asks of packets, beside the [`Hop`] itself.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Path {
    /// Bytes that an IP packet may have, header included; 0: as many as it likes. Links of more than
    /// 65,535 bytes count as 65,535.
    pub mtu: u16,
    /// The VLAN tag that frames leave with, as [`Path::tagged`] packs it; 0: none.
    pub vlan: u16,
}
assert_layout!(Path, 4, mtu: 0, vlan: 2);

impl Path {
    /// Marks a tag as present: VLAN 0 is a tag too (IEEE 802.1Q, priority tagging).
    const PRESENT: u16 = 0x1000;

    /// The word for VLAN `id` (0..=4094, IEEE 802.1Q).
    #[must_use]
    #[inline(always)]
    pub const fn tagged(id: u16) -> u16 {
        (id & 0xfff) | Self::PRESENT
    }

    /// The tag's control information, in host order: the VLAN id alone, priority 0.
    #[must_use]
    #[inline(always)]
    pub const fn tag(self) -> u16 {
        self.vlan & 0xfff
    }
}

/// How packets get to a backend, and their answers back to the client.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Mode {
    /// Destination translated; answers return through this host.
    #[default]
    Dnat = 0,
    /// Source translated too; answers return to an address of this host.
    FullNat = 1,
    /// Nothing but the MAC addresses: the backend has the VIP, and answers by itself.
    DsrL2 = 2,
    /// Carried inside another IP packet (RFC 2003, RFC 2473): the backend has the VIP, and answers by
    /// itself.
    Ipip = 3,
}

impl Mode {
    /// Whether answers do not come through this host.
    #[must_use]
    #[inline(always)]
    pub const fn one_way(bits: u8) -> bool {
        bits >= Self::DsrL2 as u8
    }
}

/// A backend of one track of one service, reached in one mode.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backend {
    /// Its address.
    pub address: WireAddress,
    /// Its port; 0: the listener's.
    pub port: WirePort,
    /// A [`Mode`] as its number.
    pub mode: u8,
    /// [`Backend::SHARED`], or 0.
    pub flags: u8,
    /// Which of the two hops is current, 0 or 1. Stored alone, after the other hop was written.
    pub current_hop: u16,
    /// Index of the [`NatPool`] that its clients' addresses are translated to, with [`Mode::FullNat`].
    pub pool: u16,
    /// What the two hops ask of packets.
    pub paths: [Path; 2],
    /// Next hops towards it.
    pub hops: [Hop; 2],
}
assert_layout!(Backend, 64, address: 0, port: 16, mode: 18, flags: 19, current_hop: 20, pool: 22, paths: 24, hops: 32);

impl Backend {
    /// Another listener may reach this backend's endpoint: a new flow checks for its client's tuple.
    pub const SHARED: u8 = 1;
}

/// Addresses and ports that clients' are translated to, with [`Mode::FullNat`]. Never changed while a
/// backend names it: flows hold places in it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NatPool {
    /// Addresses, all of one family; the first `count` are used.
    pub addresses: [WireAddress; NAT_ADDRESSES],
    /// Addresses in use, 1..=[`NAT_ADDRESSES`]; 0: no pool.
    pub count: u32,
    /// The first port, host order.
    pub first_port: u32,
    /// Ports from there on, 1..=65,535.
    pub ports: u32,
    /// 4 or 6.
    pub family: u32,
}
assert_layout!(NatPool, 256, addresses: 0, count: 240, first_port: 244, ports: 248, family: 252);

/// A CPU's counters of one backend.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BackendCounters {
    /// Flows that were pinned to it.
    pub new_flows: u64,
    /// Packets that went to it without a pin.
    pub unpinned: u64,
    /// Those of `new_flows` that the weights did not send there, but a route or the preview.
    pub aside: u64,
}
assert_layout!(BackendCounters, 24, new_flows: 0, unpinned: 8, aside: 16);

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
    /// What it asks of packets.
    pub path: Path,
    /// Always 0.
    pub reserved: u32,
}
assert_layout!(ClientHop, 56, address: 0, epoch: 16, tick: 24, valid: 28, hop: 32, path: 48, reserved: 52);

/// Two ends of a way that is looked for.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// From this address of the splitter's.
    pub source: WireAddress,
    /// To this client.
    pub client: WireAddress,
}
assert_layout!(Wanted, 32, source: 0, client: 16);

/// Where a client's packets came from, for replies while the kernel knows no neighbour. Any CPU
/// writes, so the first word checks the others: a cell that two CPUs wrote at once fits nobody.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LearnedHop {
    /// The client's hash xor all other words.
    pub check: u64,
    /// The hop's first two words.
    pub first: u64,
    /// The hop's last two.
    pub second: u64,
    /// Its tag, as [`Path::vlan`].
    pub vlan: u64,
}
assert_layout!(LearnedHop, 32, check: 0, first: 8, second: 16, vlan: 24);

/// What a device with an index of its own really is: a tag on another (IEEE 802.1Q).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VlanDevice {
    /// Index of the device that carries its frames.
    pub parent: u32,
    /// The tag, as [`Path::vlan`].
    pub vlan: u32,
}
assert_layout!(VlanDevice, 8, parent: 0, vlan: 4);

//! What the bench tells its driver: which flow's packet comes next.
//!
//! `BPF_PROG_TEST_RUN` repeats one packet and does not undo what the program did to it. The driver
//! (`src/driver.rs`) writes the addresses, ports and TTL of the next flow into the frame each time.

use crate::wire::WireAddress;

/// The driver's orders, and its count of packets.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drive {
    /// Packets so far; the driver counts.
    pub next: u64,
    /// Flows, a power of two, minus one.
    pub mask: u64,
    /// An odd number: packet `n` is of flow `n * stride & mask`, so that all flows have their turn.
    pub stride: u64,
    /// Bits of a flow's number that choose the client's port; those above choose its address.
    pub port_bits: u32,
    /// 1: packets go from clients to `server`; 0: from `server` to clients.
    pub forward: u32,
    /// A listener, or a backend.
    pub server: WireAddress,
    /// The first client.
    pub client: WireAddress,
    /// The server's port, in packet order.
    pub server_port: u32,
    /// Every so many packets (a power of two, 0: never) the next bucket of the flow table is emptied,
    /// so that new flows find room for as long as the bench likes.
    pub sweep: u32,
    /// Bytes that the program puts before a packet ([`Mode::Ipip`](crate::abi::Mode::Ipip)), which the
    /// driver takes off again; 0: none.
    pub overhead: u32,
    /// 1: the other end of a flow's packets is not its client, but in a list, by the flow's number, as
    /// [`Drive::listed_end`] packs it.
    pub listed: u32,
}
const _: () = assert!(core::mem::size_of::<Drive>() == 80);

impl Drive {
    /// The port of flow 0's client.
    pub const FIRST_PORT: u32 = 8192;

    /// Flows that the list has room for.
    pub const LISTED: usize = 1 << 20;

    /// An end of the list: the last word of its address, and its port, both in packet order.
    #[must_use]
    #[inline(always)]
    pub const fn listed_end(address: u32, port: u16) -> u64 {
        address as u64 | ((port as u64) << 32)
    }

    /// The bucket to be emptied after packet `number`, if one is, in a table of any size.
    #[must_use]
    #[inline(always)]
    pub const fn swept(&self, number: u64) -> Option<u32> {
        if self.sweep == 0 || number & (self.sweep as u64 - 1) != 0 {
            return None;
        }
        Some((number >> self.sweep.trailing_zeros()) as u32)
    }

    /// The flow of packet `number`.
    #[must_use]
    #[inline(always)]
    pub const fn flow(&self, number: u64) -> u32 {
        (number.wrapping_mul(self.stride) & self.mask) as u32
    }

    /// The client's port of a flow, in packet order.
    #[must_use]
    #[inline(always)]
    pub const fn port(&self, flow: u32) -> u16 {
        let port = (flow & ((1 << (self.port_bits & 15)) - 1)) + Self::FIRST_PORT;
        (port as u16).to_be()
    }

    /// The last word of the client's address, in packet order, given that of the first client's.
    #[must_use]
    #[inline(always)]
    pub const fn address(&self, flow: u32, first: u32) -> u32 {
        (u32::from_be(first).wrapping_add(flow >> (self.port_bits & 15))).to_be()
    }
}

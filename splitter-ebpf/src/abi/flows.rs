use super::{BUCKET_FLOWS, assert_layout};
use crate::flow::TICK_MASK;
use crate::hash::scatter;
use crate::wire::{WireAddress, WirePort};

/// Flows that share a place in the flow table: keys in one cache line, values in the next.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Keys ([`endpoint::flow_key_v4`](crate::endpoint::flow_key_v4) and its twin).
    pub keys: [u64; BUCKET_FLOWS],
    /// Values ([`flow::Value`](crate::flow::Value)); 0 means free, whatever the key says.
    pub values: [u64; BUCKET_FLOWS],
}
const _: () = assert!(core::mem::size_of::<Bucket>() == 16 * BUCKET_FLOWS);

/// What a flow's key was made from, and what its client is translated to. Kept for IPv6, where people
/// want to see it, and for every flow of [`Mode::FullNat`](super::Mode::FullNat).
///
/// Written before its slot's key is published: `rest` 0, then the address, then `rest`. A reader takes
/// it for its flow's only if address, port and listener are the flow's.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ColdKey {
    /// The client.
    pub address: WireAddress,
    /// All else in one word that is read and written at once: see [`ColdKey::rest_of`].
    pub rest: u64,
}
assert_layout!(ColdKey, 24, address: 0, rest: 16);

impl ColdKey {
    /// The client's port in the low 16 bits, then the listener's id, then the [`Translation`].
    #[must_use]
    #[inline(always)]
    pub const fn rest_of(port: WirePort, listener: u16, translation: Translation) -> u64 {
        port.0 as u64 | ((listener as u64) << 16) | ((translation.0 as u64) << 32)
    }

    /// The client's port.
    #[must_use]
    #[inline(always)]
    pub const fn port(&self) -> WirePort {
        WirePort((self.rest & 0xffff) as u16)
    }

    /// The listener's id.
    #[must_use]
    #[inline(always)]
    pub const fn listener(&self) -> u16 {
        ((self.rest >> 16) & 0xffff) as u16
    }

    /// What the client is translated to.
    #[must_use]
    #[inline(always)]
    pub const fn translation(&self) -> Translation {
        Translation((self.rest >> 32) as u32)
    }
}

/// What a client's address and port are translated to: a port (packet order) in the lower half, never
/// 0, and the place of an address in its backend's [`NatPool`](super::NatPool) in the upper. 0: nothing.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Translation(pub u32);

impl Translation {
    /// A translation.
    #[must_use]
    #[inline(always)]
    pub const fn new(address: u16, port: WirePort) -> Self {
        Self(((address as u32) << 16) | port.0 as u32)
    }

    /// The place of the address in the pool.
    #[must_use]
    #[inline(always)]
    pub const fn address(self) -> u32 {
        self.0 >> 16
    }

    /// The port.
    #[must_use]
    #[inline(always)]
    pub const fn port(self) -> WirePort {
        WirePort((self.0 & 0xffff) as u16)
    }
}

/// Names the fragments of one packet (RFC 791 section 3.2, RFC 8200 section 4.5).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FragmentKey {
    /// Source address.
    pub source: WireAddress,
    /// Destination address.
    pub destination: WireAddress,
    /// Identification, in packet order; IPv4 uses 16 bits.
    pub id: u32,
    /// IP protocol number in the low byte, the family (4 or 6) in the next.
    pub kind: u32,
}
assert_layout!(FragmentKey, 40, source: 0, destination: 16, id: 32, kind: 36);

impl FragmentKey {
    /// 64 bits that tell keys apart that are in the table at one time.
    #[must_use]
    #[inline(always)]
    pub fn digest(&self) -> u64 {
        let ([a, b], [c, d]) = (self.source.halves(), self.destination.halves());
        let rest = self.id as u64 | ((self.kind as u64) << 32);
        scatter([a ^ c.rotate_left(32), b ^ d.rotate_left(17)], rest)
    }
}

/// Where the first fragment of a packet went, and so do the others.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FragmentPath {
    /// The new source address, if `flags` says so.
    pub source: WireAddress,
    /// The new destination address, if `flags` says so.
    pub destination: WireAddress,
    /// The backend that it goes to, or comes from.
    pub backend: u16,
    /// [`FragmentPath::TO_CLIENT`] and others.
    pub flags: u16,
    /// Tick of the first fragment.
    pub tick: u32,
    /// The flow's bits of the outer source address, with [`Mode::Ipip`](super::Mode::Ipip).
    pub spread: u32,
    /// The listener's id.
    pub listener: u32,
    /// [`FragmentKey::digest`] of its key: the kernel gives an element to another key while it is read.
    pub key: u64,
}
assert_layout!(FragmentPath, 56, source: 0, destination: 16, backend: 32, flags: 34, tick: 36, spread: 40, listener: 44, key: 48);

impl FragmentPath {
    /// From a backend to a client, else the other way.
    pub const TO_CLIENT: u16 = 1;
    /// The source address is replaced.
    pub const SOURCE: u16 = 2;
    /// The destination address is replaced.
    pub const DESTINATION: u16 = 4;
    /// Handed to the host, and so are the others.
    pub const PASSED: u16 = 8;

    /// Whether fragments still follow this path at the tick `now`, for `most` ticks from the first one on.
    #[must_use]
    #[inline(always)]
    pub const fn is_followed(&self, now: u32, most: u32) -> bool {
        now.wrapping_sub(self.tick) & TICK_MASK <= most
    }
}

/// A flow that is being pinned, as its first packet shows it: a CPU's own, for the functions that choose
/// its backend and its place.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pending {
    /// The client.
    pub client: WireAddress,
    /// The listener's VIP.
    pub vip: WireAddress,
    /// The client's port.
    pub client_port: WirePort,
    /// The listener's port.
    pub vip_port: WirePort,
    /// IP protocol number.
    pub protocol: u8,
    /// TCP flags, 0 for UDP.
    pub flags: u8,
    /// The listener's id.
    pub listener: u16,
    /// 4 or 6.
    pub family: u32,
    /// What the client is translated to.
    pub translation: Translation,
    /// Who had to make room.
    pub victim: Victim,
    /// The track table that it goes by.
    pub track_table: u32,
    /// Its entry in that.
    pub entry: u32,
    /// The value of a flow of that name that is over, or 0.
    pub found: u64,
    /// 0 if the weights chose its track, else 1.
    pub aside: u32,
    /// Always 0.
    pub reserved: u32,
}
assert_layout!(Pending, 96, client: 0, vip: 16, client_port: 32, vip_port: 34, protocol: 36, flags: 37, listener: 38, family: 40, translation: 44, victim: 48, track_table: 72, entry: 76, found: 80, aside: 88, reserved: 92);

/// The flow that a backend's packet to an address of this host belongs to: a CPU's own, from the function
/// that finds it to those that send the packet on.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reverse {
    /// The client.
    pub client: WireAddress,
    /// The flow's key.
    pub key: u64,
    /// Its value.
    pub value: u64,
    /// Its [`ColdKey::rest`].
    pub rest: u64,
    /// Index of the cell of `CLIENT_HOPS` that holds the way to the client.
    pub cell: u64,
}
assert_layout!(Reverse, 48, client: 0, key: 16, value: 24, rest: 32, cell: 40);

/// A flow that was evicted: what is needed to free its second entry, if it has one.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Victim {
    /// Its value; 0: nobody was evicted.
    pub value: u64,
    /// Its [`ColdKey::rest`].
    pub rest: u64,
    /// Where it was.
    pub slot: u64,
}
assert_layout!(Victim, 24, value: 0, rest: 8, slot: 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_followed_for_its_time_across_the_wrap_of_ticks() {
        for first in [0, 7, TICK_MASK - 3] {
            let path = FragmentPath {
                tick: first,
                ..FragmentPath::default()
            };
            let after = |ticks: u32| first.wrapping_add(ticks) & TICK_MASK;
            assert!(path.is_followed(first, 117));
            assert!(path.is_followed(after(117), 117));
            assert!(!path.is_followed(after(118), 117));
            assert!(!path.is_followed(after(TICK_MASK / 2), 117));
        }
    }
}

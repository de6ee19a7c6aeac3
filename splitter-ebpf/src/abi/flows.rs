use super::{BUCKET_FLOWS, assert_layout};
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
}
assert_layout!(FragmentPath, 48, source: 0, destination: 16, backend: 32, flags: 34, tick: 36, spread: 40, listener: 44);

impl FragmentPath {
    /// From a backend to a client, else the other way.
    pub const TO_CLIENT: u16 = 1;
    /// The source address is replaced.
    pub const SOURCE: u16 = 2;
    /// The destination address is replaced.
    pub const DESTINATION: u16 = 4;
}

/// What a new flow's other possible backends are looked for with, where its first choice is shared by
/// listeners.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// The client.
    pub client: WireAddress,
    /// The client's port.
    pub client_port: WirePort,
    /// The listener's port.
    pub vip_port: WirePort,
    /// IP protocol number.
    pub protocol: u32,
}
assert_layout!(Asked, 24, client: 0, client_port: 16, vip_port: 18, protocol: 20);

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

/// What an IPv6 flow's fingerprint was made from, for people alone. Valid if its fingerprint is the
/// slot's key.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ColdKey {
    /// The client.
    pub address: WireAddress,
    /// The client's port.
    pub port: WirePort,
    /// The listener's id.
    pub listener: u16,
    /// Always 0.
    pub reserved: u32,
}
assert_layout!(ColdKey, 24, address: 0, port: 16, listener: 18, reserved: 20);

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

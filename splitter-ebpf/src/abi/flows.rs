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

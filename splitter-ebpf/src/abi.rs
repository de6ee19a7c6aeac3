//! Keys and values of the maps: `repr(C)`, no implicit padding, sizes and offsets asserted.
//!
//! Numbers are in host order unless a type of [`wire`](crate::wire) says otherwise. Ids start at 1;
//! 0 means "none" everywhere.

mod backend;
mod control;
mod endpoint;
mod flows;
mod routes;
mod split;

pub use backend::{
    Backend, BackendCounters, ClientHop, Hop, LearnedHop, Mode, NatPool, Path, VlanDevice, Wanted,
};
pub use control::{
    Budget, Control, Meta, NoBackend, Row, Selector, ServiceWord, Stage, Tunnel, Verdicts,
};
pub use endpoint::{Binding, Endpoint, EndpointKind, Listener, Pair, Reply};
pub use flows::{
    Bucket, ColdKey, FragmentKey, FragmentPath, Pending, Reverse, Translation, Victim,
};
pub use routes::{ROUTE_SOURCES, ROUTE_SPANS, Routes};
pub use split::{Affinity, SplitHeader, SplitTable, TrackTable, track_table_index};

/// Version of everything in this module. Pinned maps of another version are not adopted.
pub const ABI_VERSION: u32 = 3;

/// Cells of a service's split table.
pub const SLOTS: usize = 65_536;
/// Tracks a service can have.
pub const TRACKS: usize = 8;
/// Split tables of a service: current, spare, undo anchor, spare of a ramp.
pub const TABLES: usize = 4;
/// Rows that the selector chooses from.
pub const ROWS: usize = 8;
/// Services a host can have, and bytes of a row; ids are below this.
pub const MAX_SERVICES: usize = 4096;
/// Entries of a track table: a prime (Maglev, NSDI 2016, section 3.4).
pub const MAGLEV: usize = 65_537;
/// Flows in one bucket of the flow table.
pub const BUCKET_FLOWS: usize = 8;
/// Listeners that one backend endpoint can answer for.
pub const PAIRS: usize = 4;
/// Places for programs that others call: see [`Stage`].
pub const STAGES: usize = 4;
/// Addresses of one [`NatPool`].
pub const NAT_ADDRESSES: usize = 15;
/// Pools that clients' addresses are translated to.
pub const NAT_POOLS: usize = 256;
/// Packets whose fragments are followed at one time.
pub const FRAGMENTS: usize = if cfg!(feature = "abi-test") {
    4096
} else {
    8192
};
/// Devices that are tags on others.
pub const VLAN_DEVICES: usize = 4096;
/// Insert locks, a power of two.
pub const LOCKS: usize = 4096;
/// Cells of the learned next hops, a power of two.
pub const LEARNED_HOPS: usize = 16_384;
/// Cells of a CPU's cache of next hops towards clients, a power of two.
pub const CLIENT_HOPS: usize = 1024;

/// Asserts that a type has this size and no padding between its fields.
macro_rules! assert_layout {
    ($type:ty, $size:literal, $($field:ident : $offset:literal),+ $(,)?) => {
        const _: () = {
            assert!(core::mem::size_of::<$type>() == $size);
            $(assert!(core::mem::offset_of!($type, $field) == $offset);)+
        };
    };
}
use assert_layout;

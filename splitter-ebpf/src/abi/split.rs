use super::{MAGLEV, Routes, SLOTS, TRACKS, assert_layout};
use crate::hash::Key;
use crate::wire::{Family, WireAddress};

/// What the split hash covers.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Affinity {
    /// Client address and port, and the listener's.
    Flow = 0,
    /// The client's address, or its prefix.
    ClientIp = 1,
}

/// How a split table is entered. It lies before the slots, so that it flips with them.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitHeader {
    /// Key of the hash that chooses the slot; with [`Affinity::Flow`], the backend within a track too.
    pub split_key: Key,
    /// Key of the hash that chooses the backend within a track, with [`Affinity::ClientIp`].
    pub track_key: Key,
    /// Mask of the client's address, for [`Affinity::ClientIp`] (IPv4 in the first word).
    pub mask_v6: WireAddress,
    /// The same for IPv4.
    pub mask_v4: u32,
    /// An [`Affinity`] as its number.
    pub affinity: u32,
    /// The number and 1 of the track that takes new flows when theirs has nobody; 0: none.
    pub fallback: u8,
    /// The number and 1 of the track that the preview leads to; 0: to nobody.
    pub preview: u8,
    /// The listener that is the preview; 0: none is.
    pub preview_listener: u16,
    /// [`SplitHeader::ROUTES`] and others.
    pub flags: u32,
}
assert_layout!(SplitHeader, 64, split_key: 0, track_key: 16, mask_v6: 32, mask_v4: 48, affinity: 52, fallback: 56, preview: 57, preview_listener: 58, flags: 60);

impl SplitHeader {
    /// There are [`Routes`] to ask before the weights.
    pub const ROUTES: u32 = 1;
    /// The backend within the track goes by the client's masked address too, with [`Affinity::ClientIp`].
    pub const BACKEND_BY_CLIENT: u32 = 2;
}

/// One split table of a service.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SplitTable {
    /// How it is entered.
    pub header: SplitHeader,
    /// The track's number of each slot, below [`TRACKS`].
    pub slots: [u8; SLOTS],
    /// What goes before the slots, if the header says that there is any.
    pub routes: Routes,
}
assert_layout!(SplitTable, 71_232, header: 0, slots: 64, routes: 65_600);

/// A track's backends of one family: weighted Maglev over backend ids, 0 everywhere when no backend
/// may take new flows.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct TrackTable {
    /// Backend ids.
    pub backends: [u16; MAGLEV],
    /// Always 0.
    pub reserved: [u16; 3],
}
assert_layout!(TrackTable, 131_080, backends: 0, reserved: 131_074);

/// The place of a track's table of one family among all of them.
#[must_use]
#[inline(always)]
pub const fn track_table_index(service: u16, track: u8, family: Family) -> u32 {
    let track = track as u32 & (TRACKS as u32 - 1);
    (service as u32 * TRACKS as u32 + track) * 2 + family.index()
}

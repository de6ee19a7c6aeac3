//! Which track a new flow goes to, and why: what the program does, and what `explain` tells of it.

use crate::abi::{SLOTS, SplitHeader, SplitTable, TRACKS};
use crate::endpoint::FlowTuple;

/// What decided a flow's track.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Its slot's owner, so the weights.
    Weights = 0,
    /// A route for its client's address.
    Route = 1,
    /// It came to the preview.
    Preview = 2,
}

/// Where a split leads a new flow. Tracks are their number and 1; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The track.
    pub track: u8,
    /// The track that takes it if that one has nobody.
    pub fallback: u8,
    /// What decided.
    pub cause: Cause,
    /// Its slot of the split table, whether or not that decided.
    pub slot: u16,
    /// Its entry of a track table.
    pub entry: u32,
}

impl SplitTable {
    /// Where the flow of `tuple`, which came to the listener of that id, goes.
    ///
    /// The preview never falls back: a test that meets another track than it asked for tells nothing.
    /// `opaque` is for [`Routes::find_in`](crate::abi::Routes::find_in).
    #[must_use]
    #[inline(always)]
    pub fn choose<const V6: bool>(
        &self,
        tuple: &FlowTuple,
        listener: u16,
        opaque: impl Fn(u64) -> u64,
    ) -> Choice {
        let header = &self.header;
        let (slot, entry) = if V6 {
            tuple.place_v6(header)
        } else {
            tuple.place_v4(header)
        };
        if listener == header.preview_listener && listener != 0 {
            return Choice {
                track: header.preview,
                fallback: 0,
                cause: Cause::Preview,
                slot,
                entry,
            };
        }
        let routed = if header.flags & SplitHeader::ROUTES == 0 {
            0
        } else {
            self.routes.find_in::<V6>(tuple.client, opaque)
        };
        let (track, cause) = if routed == 0 {
            let owner = self.slots[slot as usize & (SLOTS - 1)] & (TRACKS as u8 - 1);
            (owner + 1, Cause::Weights)
        } else {
            (routed, Cause::Route)
        };
        Choice {
            track,
            fallback: header.fallback,
            cause,
            slot,
            entry,
        }
    }
}

//! The bytes of a split table.

use std::fmt;

use crate::model::MAX_TRACKS;

/// Slots of a split table.
pub const SLOTS: usize = 65_536;

/// A whole split table: the number of a track for each slot. Every number is below
/// [`MAX_TRACKS`].
#[derive(Clone, PartialEq, Eq)]
pub struct Slots(pub(super) Box<[u8; SLOTS]>);

/// Why bytes are not a split table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SlotsError {
    /// Too few or too many.
    #[error("{0} bytes: a split table has 65536")]
    Length(usize),
    /// A number that no track has.
    #[error("slot {slot} holds {track}: tracks are numbered 0 to 7")]
    Track {
        /// The slot.
        slot: usize,
        /// What it holds.
        track: u8,
    },
}

impl Slots {
    /// A table from its bytes, such as the journal keeps them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SlotsError> {
        let wrong = |track: &u8| usize::from(*track) >= MAX_TRACKS;
        if let Some(slot) = bytes.iter().position(wrong) {
            let track = bytes[slot];
            return Err(SlotsError::Track { slot, track });
        }
        let slots: Box<[u8]> = bytes.into();
        match slots.try_into() {
            Ok(slots) => Ok(Self(slots)),
            Err(slots) => Err(SlotsError::Length(slots.len())),
        }
    }

    /// Its bytes, as the data plane has them.
    pub fn as_bytes(&self) -> &[u8; SLOTS] {
        &self.0
    }

    /// The track that owns a slot.
    pub fn owner(&self, slot: u16) -> u8 {
        self.0[usize::from(slot)]
    }

    /// How many slots each track has, by number.
    pub fn counts(&self) -> [u32; MAX_TRACKS] {
        let mut counts = [0; MAX_TRACKS];
        for track in self.0.iter() {
            counts[usize::from(*track)] += 1;
        }
        counts
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slots").field(&self.counts()).finish()
    }
}

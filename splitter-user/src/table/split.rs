//! Which track owns which of the 65,536 slots of a service.
//!
//! The allocator keeps these promises, whatever the weights before and after:
//! - exact to one slot (largest remainder), and a track above 0 has at least one slot;
//! - the least possible number of slots moves: a track that grows keeps every slot it has, a track
//!   that shrinks only gives;
//! - canonical where it can be: a table made from nothing, and every table that was only ever
//!   shared by the same two tracks, is a function of the weights alone.
//!
//! How: all slots are put in one fixed scattered order. The canonical table gives each track, by
//! name, the next stretch of that order. A change first keeps what a track may keep, those slots
//! first that the canonical table gives it too; then hands out what is free, again first to the
//! track that the canonical table names. With two tracks one has the beginning of the order and
//! the other the end, only the border between them moves, and the table stays canonical. With more
//! the result depends on the table before, so the journal keeps the slots.
//!
//! Names, not numbers, decide: two services of one release with the same tracks and weights have
//! the same split, however their tracks are numbered.

mod rearrange;
mod runs;
mod slots;

use crate::model::{MAX_TRACKS, Weight};
use crate::share::apportion;
use rearrange::rearrange;

pub use runs::RunsError;
pub use slots::{SLOTS, Slots, SlotsError};

/// [`SLOTS`] as a count.
const ALL: u32 = 65_536;

/// A track's part of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share<'n> {
    /// The number that stands for the track in the table, below [`MAX_TRACKS`]. A number that the
    /// table before holds must mean the same track there.
    pub track: u8,
    /// The track's name.
    pub name: &'n str,
    /// Its part; the share is this over the sum of all parts.
    pub parts: u64,
}

/// Why there is no table for these shares.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// All parts are 0.
    #[error("no track has a share: give at least one track a weight above 0%")]
    Nothing,
    /// A number beyond the table's.
    #[error("track `{name}` has number {track}: numbers are 0 to 7")]
    Number {
        /// The track.
        name: String,
        /// Its number.
        track: u8,
    },
    /// Two shares with one number or one name.
    #[error("track `{name}` (number {track}) is given twice: each track has one share")]
    Twice {
        /// The track.
        name: String,
        /// Its number.
        track: u8,
    },
}

/// How many slots each share comes to, in the order given: [`SLOTS`] in all.
pub fn target_counts(shares: &[Share<'_>]) -> Result<Vec<u32>, SplitError> {
    check(shares)?;
    let mut by_name: Vec<usize> = (0..shares.len()).collect();
    by_name.sort_unstable_by_key(|index| shares[*index].name);
    let parts: Vec<u64> = by_name.iter().map(|index| shares[*index].parts).collect();
    let mut counts = vec![0; shares.len()];
    for (index, count) in by_name.into_iter().zip(apportion(ALL, 1, &parts)) {
        counts[index] = count;
    }
    Ok(counts)
}

/// The table for these shares that moves the fewest slots of the one before.
pub fn allocate(before: Option<&Slots>, shares: &[Share<'_>]) -> Result<Slots, SplitError> {
    let counts = target_counts(shares)?;
    let mut targets: Vec<(&str, u8, u32)> = shares
        .iter()
        .zip(counts)
        .map(|(share, count)| (share.name, share.track, count))
        .filter(|(_, _, count)| *count > 0)
        .collect();
    targets.sort_unstable();
    let canonical = Slots::canonical(&targets);
    Ok(match before {
        Some(before) => rearrange(before, canonical, &targets),
        None => canonical,
    })
}

/// The least weight of the second of two tracks at which a slot of the first moves to it, if all flows are
/// shared by these two and the table before is `slots`; `None` if it has it already.
pub fn moves_at(slots: &Slots, slot: u16, tracks: [(u8, &str); 2]) -> Option<Weight> {
    let [(from, from_name), (to, to_name)] = tracks;
    let owner_at = |millis: u32| {
        let share = |track, name, millis: u32| Share {
            track,
            name,
            parts: millis.into(),
        };
        let whole = Weight::FULL.millis();
        let shares = [
            share(from, from_name, whole - millis),
            share(to, to_name, millis),
        ];
        let table = allocate(Some(slots), &shares).ok()?;
        Some(table.owner(slot))
    };
    if slots.owner(slot) != from || owner_at(Weight::FULL.millis())? != to {
        return None;
    }
    // It has it at `most`, and does not at `least`: a track that grows keeps what it has.
    let (mut least, mut most) = (0, Weight::FULL.millis());
    while most - least > 1 {
        let middle = u32::midpoint(least, most);
        if owner_at(middle)? == to {
            most = middle;
        } else {
            least = middle;
        }
    }
    Weight::from_millis(most).ok()
}

/// How many slots have another owner.
pub fn moved(a: &Slots, b: &Slots) -> usize {
    let pairs = a.as_bytes().iter().zip(b.as_bytes());
    pairs.filter(|(a, b)| a != b).count()
}

fn check(shares: &[Share<'_>]) -> Result<(), SplitError> {
    for (index, share) in shares.iter().enumerate() {
        let name = || share.name.to_owned();
        let track = share.track;
        if usize::from(track) >= MAX_TRACKS {
            return Err(SplitError::Number {
                name: name(),
                track,
            });
        }
        let same = |other: &Share<'_>| other.track == track || other.name == share.name;
        if shares[..index].iter().any(same) {
            return Err(SplitError::Twice {
                name: name(),
                track,
            });
        }
    }
    if shares.iter().all(|share| share.parts == 0) {
        return Err(SplitError::Nothing);
    }
    Ok(())
}

#[cfg(test)]
mod tests;

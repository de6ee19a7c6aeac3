//! A split table as a few words of text: runs of one owner in the scattered order.
//!
//! Two tracks make two runs, whatever their weights; a table with a long history of many tracks some thousands.

use std::fmt::Write as _;

use super::rearrange::scattered;
use super::{SLOTS, Slots, SlotsError};

/// Why a text is no split table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunsError {
    /// A word that is no run.
    #[error("{0:?} is no run of slots: write TRACKxSLOTS, such as 0x62259")]
    Word(String),
    /// The runs do not come to a table.
    #[error(transparent)]
    Slots(#[from] SlotsError),
}

impl Slots {
    /// Runs, such as `0x62259 1x3277`: the number of the track, and how many slots in the scattered order it owns next.
    #[must_use]
    pub fn runs(&self) -> String {
        let mut text = String::new();
        let mut run: Option<(u8, u32)> = None;
        let mut end = |run: Option<(u8, u32)>| {
            if let Some((owner, count)) = run {
                let gap = if text.is_empty() { "" } else { " " };
                // A String takes whatever is written to it.
                let _written = write!(text, "{gap}{owner}x{count}");
            }
        };
        for slot in scattered() {
            let owner = self.owner(slot);
            run = match run {
                Some((of, count)) if of == owner => Some((of, count + 1)),
                ended => {
                    end(ended);
                    Some((owner, 1))
                }
            };
        }
        end(run);
        text
    }

    /// The table that [`runs`](Self::runs) made the text of.
    ///
    /// # Errors
    /// [`RunsError`], if they do not come to 65,536 slots of tracks 0 to 7.
    pub fn from_runs(text: &str) -> Result<Self, RunsError> {
        let mut owners = Vec::with_capacity(SLOTS);
        for word in text.split_whitespace() {
            let run = word.split_once('x').and_then(|(owner, count)| {
                Some((owner.parse::<u8>().ok()?, count.parse::<usize>().ok()?))
            });
            let (owner, count) = run.ok_or_else(|| RunsError::Word(word.to_owned()))?;
            let room = SLOTS - owners.len();
            if count > room {
                return Err(SlotsError::Length(owners.len().saturating_add(count)).into());
            }
            owners.extend(std::iter::repeat_n(owner, count));
        }
        if owners.len() != SLOTS {
            return Err(SlotsError::Length(owners.len()).into());
        }
        let mut bytes = [0; SLOTS];
        for (slot, owner) in scattered().zip(owners) {
            bytes[usize::from(slot)] = owner;
        }
        Ok(Self::from_bytes(&bytes)?)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;
    use crate::table::split::{Share, allocate};

    fn table(before: Option<&Slots>, parts: &[(u8, &str, u64)]) -> Slots {
        let shares: Vec<Share<'_>> = parts
            .iter()
            .map(|(track, name, parts)| Share {
                track: *track,
                name,
                parts: *parts,
            })
            .collect();
        allocate(before, &shares).unwrap()
    }

    #[test]
    fn two_tracks_are_two_runs_and_any_table_comes_back() {
        let two = table(None, &[(0, "blue", 95), (1, "green", 5)]);
        assert_eq!(two.runs(), "0x62259 1x3277");
        let mut slots = two;
        for (a, b, c) in [(1, 2, 3), (70, 5, 25), (2, 90, 8), (40, 30, 30)] {
            slots = table(
                Some(&slots),
                &[(0, "blue", a), (1, "green", b), (7, "red", c)],
            );
            assert_eq!(Slots::from_runs(&slots.runs()).unwrap(), slots);
        }
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for text in [
            "",
            "0x65535",
            "0x65537",
            "0x1 0x18446744073709551615",
            "8x65536",
        ] {
            assert!(
                matches!(Slots::from_runs(text), Err(RunsError::Slots(_))),
                "{text}"
            );
        }
        for text in ["0", "0x", "x5", "0x-1", "256x65536", "0 x 65536"] {
            assert!(
                matches!(Slots::from_runs(text), Err(RunsError::Word(_))),
                "{text}"
            );
        }
    }
}

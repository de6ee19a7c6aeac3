//! Why weights cannot be what was asked for.

use crate::diagnostic::{closest, list};
use crate::model::{Weight, WeightError};

/// Why weights cannot be what was asked for. The text says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Not `TRACK=P%`.
    #[error("`{text}` is not TRACK=P%: write it like green=25%")]
    NotAssignment {
        /// What was written.
        text: String,
    },
    /// Not a percentage.
    #[error("`{text}`: {error}")]
    NotWeight {
        /// What was written.
        text: String,
        /// Why.
        error: WeightError,
    },
    /// No weight was given.
    #[error("no weight given: write at least one TRACK=P%, such as green=25%")]
    Nothing,
    /// A track that the service does not have.
    #[error("there is no track `{track}` in the service: {}", known_tracks(.track, .known))]
    Unknown {
        /// What was written.
        track: String,
        /// The tracks that there are.
        known: Vec<String>,
    },
    /// A track that was given twice.
    #[error("track `{track}` is given twice: write it once")]
    Duplicate {
        /// The track.
        track: String,
    },
    /// Less than one slot of the split table.
    #[error(
        "{track}={weight}% is less than one slot of the split table (100/65536 %): write 0% or at \
         least {}%",
        Weight::LEAST
    )]
    UnderOneSlot {
        /// The track.
        track: String,
        /// What was given.
        weight: Weight,
    },
    /// The given weights are more than everything.
    #[error(
        "the given weights sum to {}%, which is more than 100%: take {}% away",
        percent_of(*.sum), percent_of(*.sum - Weight::FULL.millis())
    )]
    OverFull {
        /// Their sum in thousandths of a percent.
        sum: u32,
    },
    /// All tracks were given, and are not everything.
    #[error(
        "the given weights sum to {}% and no track is left out to take the rest: make them sum \
         to 100%", percent_of(*.sum)
    )]
    NotFull {
        /// Their sum in thousandths of a percent.
        sum: u32,
    },
    /// The rest would go to tracks of which none has a present weight.
    #[error(
        "{rest}% is left for {}, which are all at 0%: give each of them a weight", joined(.tracks)
    )]
    AllZero {
        /// What is left.
        rest: Weight,
        /// The tracks left out.
        tracks: Vec<String>,
    },
    /// The rest is less than one slot each for the tracks left out.
    #[error(
        "{rest}% is left for {}, less than one slot of the split table for each: give them at \
         least {}% each, or 0%", joined(.tracks), Weight::LEAST
    )]
    RestTooSmall {
        /// What is left.
        rest: Weight,
        /// The tracks left out.
        tracks: Vec<String>,
    },
    /// Nobody would take new flows.
    #[error("nothing would take new flows: {}", nobody(.drained, .open))]
    NobodyLeft {
        /// Tracks that are drained.
        drained: Vec<String>,
        /// Tracks that are not, and have no weight.
        open: Vec<String>,
    },
    /// No weights given, and none in force.
    #[error("no weights are given and none are in force yet: give every track one, 100% in all")]
    NoneInForce,
    /// No weights given, and a track that has some is gone.
    #[error(
        "no weights are given, but {} is in force for tracks that are gone: give every track a \
         weight, or shift theirs to another track first", joined(.gone)
    )]
    WeightGone {
        /// Tracks and weights.
        gone: Vec<String>,
    },
}

fn joined(names: &[String]) -> String {
    list(names.iter().map(String::as_str))
}

fn known_tracks(given: &str, known: &[String]) -> String {
    let there = format!("it has {}", joined(known));
    match closest(given, known.iter().map(String::as_str)) {
        Some(near) => format!("{there}; did you mean `{near}`?"),
        None => there,
    }
}

fn nobody(drained: &[String], open: &[String]) -> String {
    match (drained, open) {
        ([], _) => "all weights are 0: give one a weight".to_owned(),
        (_, []) => format!(
            "{} would all be out: make one ready first (splitterctl ready)",
            joined(drained)
        ),
        _ => format!(
            "{} out and {} at 0%: first shift weight to one of those (splitterctl \
             set-weight), or make one that is out ready (splitterctl ready)",
            joined(drained),
            joined(open)
        ),
    }
}

/// Thousandths of a percent that may be more than 100 %.
fn percent_of(millis: u32) -> String {
    let text = format!("{}.{:03}", millis / 1_000, millis % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

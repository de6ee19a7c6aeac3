//! The weights that are desired once a split is back.

use crate::model::Weight;
use crate::share::apportion;
use crate::state::{Anchor, ServiceState};

/// Weights for every track of today: the anchor's, 0 for those it did not know. What tracks had that are gone
/// falls to the others, in proportion; says so.
pub fn weights_back(
    service: &ServiceState,
    anchor: &Anchor,
) -> (Vec<(String, Weight)>, Option<String>) {
    let tracks: Vec<&str> = service
        .spec
        .tracks
        .iter()
        .map(|t| t.name.as_str())
        .collect();
    let gone: Vec<String> = anchor
        .weights
        .iter()
        .filter(|(name, weight)| !weight.is_zero() && !tracks.contains(&name.as_str()))
        .map(|(name, weight)| format!("{name}={weight}%"))
        .collect();
    let desired = tracks.iter().map(|track| {
        let known = anchor.weights.iter().find(|(name, _)| name == track);
        known.map_or(Weight::ZERO, |(_, weight)| *weight)
    });
    let desired: Vec<Weight> = desired.collect();
    if gone.is_empty() {
        return (named(&tracks, desired), None);
    }
    let mut parts: Vec<u64> = desired
        .iter()
        .map(|weight| weight.millis().into())
        .collect();
    if parts.iter().all(|part| *part == 0) {
        let counts = anchor.split.slots.counts();
        let owned = |track: &&str| {
            service
                .number_of(track)
                .map_or(0, |n| counts[usize::from(n)])
        };
        parts = tracks.iter().map(|track| owned(track).into()).collect();
    }
    let shared = apportion(Weight::FULL.millis(), Weight::LEAST.millis(), &parts);
    let shared = shared
        .into_iter()
        .map(|millis| Weight::from_millis(millis).unwrap_or_default());
    let said = format!(
        "the weights of the split that is back were {} too, of tracks that are gone: the others have them now, in proportion",
        gone.join(", ")
    );
    (named(&tracks, shared), Some(said))
}

fn named(tracks: &[&str], weights: impl IntoIterator<Item = Weight>) -> Vec<(String, Weight)> {
    let names = tracks.iter().map(|track| (*track).to_owned());
    names.zip(weights).collect()
}

//! Which tracks are out once a split is back, and until when.

use std::collections::BTreeMap;

use crate::state::{Anchor, Drain, ServiceState};

/// The tracks that are out: those that were when the split was left, and of those that are out today the ones
/// that it gives no new flows. What is out today stays so as it is; what comes back begins anew.
pub fn outs_back(before: &ServiceState, anchor: &Anchor, now: u64) -> BTreeMap<String, Drain> {
    let today = before.drained_tracks.iter();
    let stay = today.filter(|(track, _)| {
        anchor.drained.contains_key(*track) || !gives_flows(before, anchor, track)
    });
    let there = |track: &str| before.spec.track(track).is_some();
    let come = anchor
        .drained
        .iter()
        .filter(|(track, _)| there(track) && !before.drained_tracks.contains_key(*track));
    come.map(|(track, drain)| (track.clone(), drain.anew(now)))
        .chain(stay.map(|(track, drain)| (track.clone(), drain.clone())))
        .collect()
}

/// Whether the split leads new flows to a track.
fn gives_flows(service: &ServiceState, anchor: &Anchor, track: &str) -> bool {
    service.number_of(track).is_some_and(|number| {
        anchor.split.slots.counts()[usize::from(number)] > 0 || anchor.split.steering.uses(number)
    })
}

/// Names what has ended, and what holds again.
pub fn differences(before: &ServiceState, after: &ServiceState) -> Vec<String> {
    let name = &before.spec.name;
    let (was, is) = (&before.drained_tracks, &after.drained_tracks);
    let ended = was.iter().filter(|(track, _)| !is.contains_key(*track));
    let ended = ended.map(|(track, drain)| {
        let verb = drain.out.verb();
        format!(
            "this ends the {verb} of track {track}, for the split that is back gives it new flows: \
             `splitterctl {verb} {name} {track}` takes it out again"
        )
    });
    let again = is.iter().filter(|(track, _)| !was.contains_key(*track));
    let again = again.map(|(track, drain)| {
        format!(
            "track {track} is {} again, as it was in the split that is back: `splitterctl ready {name} {track}` ends it",
            drain.out.state()
        )
    });
    ended.chain(again).collect()
}

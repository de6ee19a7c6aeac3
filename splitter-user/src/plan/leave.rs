//! `--existing`: what becomes of the flows that are pinned to tracks that a change leaves.

use super::Draft;
use crate::api::types::{ApiError, Existing, Target};
use crate::state::{Closing, Ending, ServiceState};

/// For how long after its end a closing is kept, in milliseconds: flows may be closed more slowly than was
/// asked for, if there are very many.
const KEPT: u64 = 5 * 60 * 1_000;

/// Closes what is pinned to tracks that took new flows before the change and take none after it.
pub fn leave(
    draft: &mut Draft<'_>,
    target: &Target,
    existing: Existing,
    now: u64,
) -> Result<(), ApiError> {
    if existing == Existing::Keep {
        return Ok(());
    }
    for name in draft.targets(target)? {
        let Some(before) = draft.world.services.get(&name) else {
            continue;
        };
        let service = draft.service(&name)?;
        let left = left(before, service);
        let spread = u64::try_from(service.spec.drain.close_spread.as_millis());
        let closing = Closing {
            since: now,
            spread: spread.unwrap_or(u64::MAX),
            ending: Ending::Reset,
        };
        for track in &left {
            service.closings.insert((*track).to_owned(), closing);
        }
        if left.is_empty() {
            draft.warn(
                &name,
                "no track is left without new flows by this change: no flow is reset",
            );
        }
    }
    Ok(())
}

fn left<'s>(before: &'s ServiceState, after: &ServiceState) -> Vec<&'s str> {
    let tracks = before.numbers.keys().map(String::as_str);
    tracks
        .filter(|track| before.slots_of(track) > 0 && after.slots_of(track) == 0)
        .collect()
}

/// Ends closings that are over, and those of tracks that take new flows again: the operator wants them.
pub fn settle(draft: &mut Draft<'_>, now: u64) {
    for name in draft.concerned.clone() {
        let Some(service) = draft.next.services.get_mut(&name) else {
            continue;
        };
        let takes: Vec<String> = service
            .closings
            .iter()
            .filter(|(track, closing)| {
                service.slots_of(track) > 0 || now > closing.since + closing.spread + KEPT
            })
            .map(|(track, _)| track.clone())
            .collect();
        for track in takes {
            service.closings.remove(&track);
        }
    }
}

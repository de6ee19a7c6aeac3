//! `--existing`: what becomes of the flows that are pinned to tracks that a change leaves.

use super::Draft;
use crate::api::types::{ApiError, Existing, Target};
use crate::state::{Closing, Ending, ServiceState};

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
        let (led, left): (Vec<&str>, Vec<&str>) = left(before, service)
            .into_iter()
            .partition(|track| is_led_to(service, track));
        let led: Vec<String> = led.into_iter().map(str::to_owned).collect();
        let spread = u64::try_from(service.spec.drain.close_spread.as_millis());
        let closing = Closing {
            since: now,
            spread: spread.unwrap_or(u64::MAX),
            ending: Ending::Reset,
        };
        for track in &left {
            service.closings.insert((*track).to_owned(), closing);
        }
        let none = left.is_empty() && led.is_empty();
        for track in led {
            draft.warn(
                &name,
                format!(
                    "flows of track {track} are not reset: a route, the fallback or the preview leads new ones to it, which would \
                     be reset too; `splitterctl quarantine {name} {track}` ends both"
                ),
            );
        }
        if none {
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

fn is_led_to(service: &ServiceState, track: &str) -> bool {
    let number = service.number_of(track);
    number.is_some_and(|number| service.split.steering.leads_to(number))
}

/// Ends closings that are over, and those of tracks that new flows go to again, or will in the course of a ramp: whatever
/// is pinned there would be closed with the rest.
pub fn settle(draft: &mut Draft<'_>, now: u64) {
    for name in draft.concerned.clone() {
        let Some(service) = draft.next.services.get_mut(&name) else {
            continue;
        };
        let wanted = |track: &String| {
            let weight = service.spec.track(track).and_then(|track| track.weight);
            service.slots_of(track) > 0
                || is_led_to(service, track)
                || (!service.drained_tracks.contains_key(track)
                    && weight.is_some_and(|weight| !weight.is_zero()))
        };
        let over: Vec<String> = service
            .closings
            .iter()
            .filter(|(track, closing)| wanted(track) || closing.is_over(now))
            .map(|(track, _)| track.clone())
            .collect();
        for track in over {
            service.closings.remove(&track);
        }
    }
}

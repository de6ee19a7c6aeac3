//! set-weight, cutover.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Draft;
use super::service::resplit;
use crate::api::types::{ApiError, Target};
use crate::model::{Weight, show_time};
use crate::share::{self, ShareError, parse_assignment};
use crate::state::{Out, ServiceState};

/// How long a ramp may take.
const RAMPS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3_600);

/// Shifts weights, at once or over a time.
pub fn set_weight(
    draft: &mut Draft<'_>,
    target: &Target,
    given: &[(String, String)],
    ramp: Option<Duration>,
) -> Result<(), ApiError> {
    if let Some(ramp) = ramp.filter(|ramp| !RAMPS.contains(ramp)) {
        return Err(ApiError::refused(format!(
            "a ramp of {}: from 1s to 24h are possible; without --ramp the weights change at once",
            show_time(ramp)
        )));
    }
    let given = given
        .iter()
        .map(|(track, weight)| parse_assignment(&format!("{track}={weight}")))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| ApiError::refused(error.to_string()))?;
    for name in draft.targets(target)? {
        reweigh(draft, &name, ramp, |weights| {
            share::set_weight(weights, &given)
        })?;
    }
    Ok(())
}

/// Moves all new flows to one track.
pub fn cutover(draft: &mut Draft<'_>, target: &Target, to: &str) -> Result<(), ApiError> {
    for name in draft.targets(target)? {
        let service = draft.service(&name)?;
        if let Some(drain) = service.drained_tracks.get(to) {
            return Err(ApiError::refused(format!(
                "service {name}: track `{to}` is {} and takes no new flows; `splitterctl ready {name} {to}` first",
                drain.out.state()
            )));
        }
        reweigh(draft, &name, None, |weights| share::cutover(weights, to))?;
    }
    Ok(())
}

fn reweigh(
    draft: &mut Draft<'_>,
    name: &str,
    ramp: Option<Duration>,
    weigh: impl Fn(&[(String, Weight)]) -> Result<Vec<(String, Weight)>, ShareError>,
) -> Result<(), ApiError> {
    let service = draft.service(name)?;
    service.stop_ramp();
    let before = service.clone();
    let weights = weigh(&before.weights())
        .map_err(|error| ApiError::refused(format!("service {name}: {error}")))?;
    service.spec = service.spec.clone().with_weights(&weights);
    serves_all_families(service)?;
    resplit(&before, service)?;
    if let Some(duration) = ramp {
        service.begin_ramp(&before, duration);
    }
    let weighted = weights.iter().filter(|(_, weight)| !weight.is_zero());
    let out: Vec<(&String, Out)> = weighted
        .filter_map(|(track, _)| Some((track, service.drained_tracks.get(track)?.out)))
        .collect();
    for (track, out) in out {
        let state = out.state();
        draft.warn(name, format!("track {track} is {state}: it takes no new flows until `splitterctl ready {name} {track}`"));
    }
    Ok(())
}

/// A track with weight must be able to serve every listener.
pub fn serves_all_families(service: &ServiceState) -> Result<(), ApiError> {
    for track in &service.spec.tracks {
        if track.weight.is_none_or(Weight::is_zero) {
            continue;
        }
        if let Some(family) = service.spec.families_without_backend(track).first() {
            return Err(ApiError::refused(format!(
                "service {}: track `{}` has no {family} backend, but the service has an {family} listener; add one to \
                 the track, or keep its weight at 0%",
                service.spec.name, track.name
            )));
        }
    }
    Ok(())
}

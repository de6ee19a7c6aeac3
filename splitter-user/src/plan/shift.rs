//! set-weight, cutover, undo.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Draft;
use super::service::{anchor_of, resplit};
use crate::api::types::{ApiError, Target};
use crate::model::{Weight, family_of, show_time};
use crate::share::{self, ShareError, parse_assignment};
use crate::state::{Anchor, ServiceState, Steering};

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
        if service.drained_tracks.contains_key(to) {
            return Err(ApiError::refused(format!(
                "service {name}: track `{to}` is draining and takes no new flows; `splitterctl ready {name} {to}` first"
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
    let drained: Vec<String> = weights
        .iter()
        .filter(|(track, weight)| !weight.is_zero() && service.drained_tracks.contains_key(track))
        .map(|(track, _)| track.clone())
        .collect();
    for track in drained {
        draft.warn(name, format!("track {track} is draining: it takes no new flows until `splitterctl ready {name} {track}`"));
    }
    Ok(())
}

/// A track with weight must be able to serve every listener.
fn serves_all_families(service: &ServiceState) -> Result<(), ApiError> {
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

/// Goes back to the split before the last change of it.
pub fn undo(draft: &mut Draft<'_>, target: &Target) -> Result<(), ApiError> {
    for name in draft.targets(target)? {
        let service = draft.service(&name)?;
        let before = service.clone();
        let Some(anchor) = before.anchor.clone() else {
            return Err(ApiError::refused(format!(
                "service {name}: there is nothing to undo; its split has not changed since it was made"
            )));
        };
        for (track, number) in &before.numbers {
            let owns = anchor.split.slots.counts()[usize::from(*number)] > 0
                || anchor.split.steering.routes.lead_to(*number);
            if owns
                && before
                    .spec
                    .track(track)
                    .is_none_or(|track| track.backends.is_empty())
            {
                return Err(ApiError::refused(format!(
                    "service {name}: the split to go back to gives new flows to track `{track}`, which has been \
                     removed; apply it again, or move the weights with `splitterctl set-weight {name} ...`"
                )));
            }
        }
        service.spec = service
            .spec
            .clone()
            .with_weights(&weights_of(&before, &anchor.weights));
        service.spec.affinity = anchor.split.affinity.clone();
        if service.spec.salt() != anchor.split.salt {
            // It came from a name that is another one now.
            service.spec.affinity.salt = Some(anchor.split.salt.clone());
        }
        let left_out = ways_back(service, &anchor);
        serves_all_families(service)?;
        service.drained_tracks = anchor.drained.clone();
        service
            .drained_tracks
            .retain(|track, _| before.spec.track(track).is_some());
        // The preview, and what cannot come back, stay as they are today: then the table is another one.
        service.split = anchor.split.clone().steered(Steering::of(
            &service.spec,
            &service.numbers,
            &service.drained_tracks,
        ));
        service.ramp = None;
        service.anchor = Some(anchor_of(&before));
        let again: Vec<String> = service
            .drained_tracks
            .keys()
            .filter(|track| !before.drained_tracks.contains_key(*track))
            .cloned()
            .collect();
        for text in left_out {
            draft.warn(&name, text);
        }
        for track in again {
            draft.warn(
                &name,
                format!(
                    "track {track} was draining in the split that is back, and drains again: \
                     `splitterctl ready {name} {track}` ends it"
                ),
            );
        }
    }
    Ok(())
}

/// Brings back the routes and the fallback of a split, as far as today's tracks and listeners have room for
/// them. Says what is left out.
fn ways_back(service: &mut ServiceState, anchor: &Anchor) -> Vec<String> {
    let mut left_out = Vec::new();
    let families = service.spec.families_of_listeners();
    service.spec.routes = anchor.routes.clone();
    for route in &mut service.spec.routes {
        route.sources.retain(|source| {
            let stays = families.contains(&family_of(source));
            if !stays {
                left_out.push(format!(
                    "the route of {source} to {} does not come back: no listener of its family is left",
                    route.track
                ));
            }
            stays
        });
    }
    let spec = &service.spec;
    let known = |track: &str| spec.track(track).is_some();
    // A route to a track that was removed had nobody to lead to it, or undo would be refused.
    let (routes, fallback) = (
        spec.routes
            .iter()
            .filter(|route| !route.sources.is_empty() && known(&route.track)),
        anchor.fallback.as_deref().filter(|track| known(track)),
    );
    let (routes, fallback) = (routes.cloned().collect(), fallback.map(str::to_owned));
    if fallback != anchor.fallback {
        left_out.push(format!(
            "the fallback of the split that is back, track {}, has been removed: there is none now",
            anchor.fallback.as_deref().unwrap_or_default()
        ));
    }
    service.spec.routes = routes;
    service.spec.fallback = fallback;
    left_out
}

/// Weights for every track of today: the anchor's, 0 for those it did not know.
fn weights_of(service: &ServiceState, anchor: &[(String, Weight)]) -> Vec<(String, Weight)> {
    let weight = |name: &str| {
        anchor
            .iter()
            .find(|(other, _)| other == name)
            .map_or(Weight::ZERO, |(_, weight)| *weight)
    };
    service
        .spec
        .tracks
        .iter()
        .map(|track| (track.name.clone(), weight(&track.name)))
        .collect()
}

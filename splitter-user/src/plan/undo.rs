//! undo: back to a split of before, with the very slots it had.

use super::Draft;
use super::service::forget_numbers;
use super::shift::serves_all_families;
use crate::api::types::{ApiError, Target};
use crate::model::{Weight, family_of};
use crate::state::{Anchor, ServiceState, SplitFate, Steering};

/// Goes back to the split before the last change of it, or to that of a generation.
pub fn undo(
    draft: &mut Draft<'_>,
    target: &Target,
    to_generation: Option<u64>,
) -> Result<(), ApiError> {
    if let (Target::Release(release), Some(generation)) = (target, to_generation) {
        return Err(ApiError::refused(format!(
            "release/{release} with --to-generation {generation}: each service counts its own generations; undo the \
             services one by one, or leave --to-generation out"
        )));
    }
    for name in draft.targets(target)? {
        let before = draft.service(&name)?.clone();
        if let Some(anchor) = choose(&before, to_generation)? {
            go_back(draft, &before, anchor)?;
        }
    }
    Ok(())
}

/// The split to go back to; none if it is in force.
fn choose(service: &ServiceState, generation: Option<u64>) -> Result<Option<&Anchor>, ApiError> {
    let name = &service.spec.name;
    let Some(generation) = generation else {
        return service.anchor().map(Some).ok_or_else(|| {
            ApiError::refused(format!(
                "service {name}: there is nothing to undo; its split has not changed since it was made"
            ))
        });
    };
    let why = match service.fate_of(generation) {
        SplitFate::Current => return Ok(None),
        SplitFate::Anchor(anchor) => return Ok(Some(anchor)),
        SplitFate::Gone => "the split it made is gone",
        SplitFate::Unknown => "there has been no such generation",
    };
    Err(ApiError::refused(format!(
        "service {name} cannot go back to generation {generation}: {why}; it can go back to {}",
        choices(service)
    )))
}

/// `generation 7, 5-6 or 3`, or that there is none.
fn choices(service: &ServiceState) -> String {
    let ranges: Vec<String> = service
        .anchors
        .iter()
        .map(|anchor| match (anchor.since, anchor.generation) {
            (since, last) if since == last => last.to_string(),
            (since, last) => format!("{since}-{last}"),
        })
        .collect();
    match ranges.split_last() {
        None => "none: its split has not changed since it was made".to_owned(),
        Some((only, [])) => format!("generation {only}"),
        Some((last, others)) => format!("generation {} or {last}", others.join(", ")),
    }
}

fn go_back(draft: &mut Draft<'_>, before: &ServiceState, anchor: &Anchor) -> Result<(), ApiError> {
    let name = &before.spec.name;
    for (track, number) in &before.numbers {
        let owns = anchor.split.slots.counts()[usize::from(*number)] > 0
            || anchor.split.steering.routes.lead_to(*number);
        let here = before.spec.track(track);
        if owns && here.is_none_or(|track| track.backends.is_empty()) {
            return Err(ApiError::refused(format!(
                "service {name}: the split to go back to gives new flows to track `{track}`, which has been \
                 removed; apply it again, or move the weights with `splitterctl set-weight {name} ...`"
            )));
        }
    }
    let service = draft.service(name)?;
    service.spec = service
        .spec
        .clone()
        .with_weights(&weights_of(before, &anchor.weights));
    service.spec.affinity = anchor.split.affinity.clone();
    if service.spec.salt() != anchor.split.salt {
        // It came from a name that is another one now.
        service.spec.affinity.salt = Some(anchor.split.salt.clone());
    }
    let left_out = ways_back(service, anchor);
    serves_all_families(service)?;
    service.drained_tracks = anchor.drained.clone();
    service
        .drained_tracks
        .retain(|track, _| before.spec.track(track).is_some());
    service.ramp = None;
    // The preview, and what cannot come back, stay as they are today: then the table is another one.
    let steering = Steering::of(&service.spec, &service.numbers, &service.drained_tracks);
    // An older anchor may be what is in force again since another undo.
    if anchor.split.same_as(&before.split) {
        service.split = before.split.clone().steered(steering);
    } else {
        service.remember(before);
        service.split = anchor.split.clone().steered(steering);
    }
    forget_numbers(service);
    let again: Vec<String> = service
        .drained_tracks
        .keys()
        .filter(|track| !before.drained_tracks.contains_key(*track))
        .cloned()
        .collect();
    for text in left_out {
        draft.warn(name, text);
    }
    for track in again {
        draft.warn(
            name,
            format!(
                "track {track} was draining in the split that is back, and drains again: \
                 `splitterctl ready {name} {track}` ends it"
            ),
        );
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

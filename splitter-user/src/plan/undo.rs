//! undo: back to a split of before, with the very slots it had.

mod outs;
mod ways;
mod weights;

use super::Draft;
use super::service::forget_numbers;
use super::shift::serves_all_families;
use crate::api::types::{ApiError, Target};
use crate::state::{Anchor, ServiceState, SplitFate, Steering};

/// Goes back to the split before the last change of it, or to that of a generation.
pub fn undo(
    draft: &mut Draft<'_>,
    target: &Target,
    to_generation: Option<u64>,
    now: u64,
) -> Result<(), ApiError> {
    if let (Target::Release(release), Some(generation)) = (target, to_generation) {
        return Err(ApiError::refused(format!(
            "release/{release} with --to-generation {generation}: each service counts its own generations; undo the \
             services one by one, or leave --to-generation out"
        )));
    }
    let Target::Release(release) = target else {
        for name in draft.targets(target)? {
            let before = draft.service(&name)?.clone();
            if let Some(anchor) = choose(&before, to_generation)? {
                go_back(draft, &before, anchor, now)?;
            }
        }
        return Ok(());
    };
    let names = draft.targets(target)?;
    let mut went = false;
    for name in &names {
        let before = draft.service(name)?.clone();
        let Some(anchor) = before.anchor() else {
            draft.warn(
                name,
                "there is nothing to undo here: its split has not changed since it was made",
            );
            continue;
        };
        went = true;
        draft.warn(
            name,
            format!(
                "it goes back to generation {}, the split before its own last change",
                generations(anchor)
            ),
        );
        go_back(draft, &before, anchor, now)?;
    }
    if went {
        return Ok(());
    }
    Err(ApiError::refused(format!(
        "release/{release}: there is nothing to undo; the splits of {} have not changed since they were made",
        names.join(", ")
    )))
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

/// `7` or `5-6`.
fn generations(anchor: &Anchor) -> String {
    match (anchor.since, anchor.generation) {
        (since, last) if since == last => last.to_string(),
        (since, last) => format!("{since}-{last}"),
    }
}

/// `generation 7, 5-6 or 3`, or that there is none.
fn choices(service: &ServiceState) -> String {
    let ranges: Vec<String> = service.anchors.iter().map(generations).collect();
    match ranges.split_last() {
        None => "none: its split has not changed since it was made".to_owned(),
        Some((only, [])) => format!("generation {only}"),
        Some((last, others)) => format!("generation {} or {last}", others.join(", ")),
    }
}

fn go_back(
    draft: &mut Draft<'_>,
    before: &ServiceState,
    anchor: &Anchor,
    now: u64,
) -> Result<(), ApiError> {
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
    let (weights, reweighed) = weights::weights_back(before, anchor);
    service.spec = service.spec.clone().with_weights(&weights);
    service.spec.affinity = anchor.split.affinity.clone();
    if service.spec.salt() != anchor.split.salt {
        // It came from a name that is another one now.
        service.spec.affinity.salt = Some(anchor.split.salt.clone());
    }
    let left_out = ways::ways_back(service, anchor);
    serves_all_families(service)?;
    service.drained_tracks = outs::outs_back(before, anchor, now);
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
    let differences = outs::differences(before, service);
    for text in reweighed.into_iter().chain(left_out).chain(differences) {
        draft.warn(name, text);
    }
    Ok(())
}

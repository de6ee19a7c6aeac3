//! What several commands do to one service.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::types::ApiError;
use crate::model::{MAX_TRACKS, Service, Weight};
use crate::state::{Anchor, ServiceState, Split, Steering, UNPLACED};
use crate::table::split::allocate;

/// A service that is new.
pub fn create(spec: Service) -> Result<ServiceState, ApiError> {
    let numbers = number_tracks(&spec, &BTreeMap::new(), None)?;
    let placeholder = crate::table::split::Slots::from_bytes(&[0; crate::table::split::SLOTS])
        .map_err(|error| ApiError::internal(error.to_string()))?;
    let mut service = ServiceState {
        split: Split {
            slots: Arc::new(placeholder),
            affinity: spec.affinity.clone(),
            salt: spec.salt().to_owned(),
            steering: Steering::of(&spec, &numbers, &BTreeMap::new()),
            table: UNPLACED,
        },
        spec,
        generation: 0,
        numbers,
        drained_tracks: BTreeMap::new(),
        drained_backends: BTreeMap::new(),
        closings: BTreeMap::new(),
        warming: BTreeMap::new(),
        ramp: None,
        anchor: None,
    };
    let shares = service
        .shares()
        .map_err(|error| ApiError::refused(error.to_string()))?;
    let slots = allocate(None, &shares).map_err(|error| ApiError::refused(error.to_string()))?;
    service.split.slots = Arc::new(slots);
    Ok(service)
}

/// Numbers for the tracks of `spec`: those they have, and for new ones numbers that neither a track
/// of the split in force nor one of the anchor has.
pub fn number_tracks(
    spec: &Service,
    taken: &BTreeMap<String, u8>,
    anchor: Option<&Anchor>,
) -> Result<BTreeMap<String, u8>, ApiError> {
    let mut numbers = taken.clone();
    for track in &spec.tracks {
        if numbers.contains_key(&track.name) {
            continue;
        }
        let limit = u8::try_from(MAX_TRACKS).unwrap_or(u8::MAX);
        let free = (0..limit).find(|number| !numbers.values().any(|used| used == number));
        let free = free.ok_or_else(|| {
            ApiError::refused(format!(
                "service {}: no number is left for track `{}`: {MAX_TRACKS} are in use by tracks in force{}; remove \
                 tracks in one change and add new ones in the next",
                spec.name,
                track.name,
                if anchor.is_some() { " and by those that undo goes back to" } else { "" },
            ))
        })?;
        numbers.insert(track.name.clone(), free);
    }
    Ok(numbers)
}

/// Recomputes the split of a service whose weights, drains or affinity changed. What was in force
/// before becomes what undo goes back to, if the split is another one.
pub fn resplit(before: &ServiceState, after: &mut ServiceState) -> Result<(), ApiError> {
    // A ramp goes on if its next step leads to the same goal.
    let goes_on = after.ramp.is_some() && desires_alike(before, after);
    if !goes_on {
        after.ramp = None;
    }
    let shares = after
        .shares()
        .map_err(|error| ApiError::refused(format!("service {}: {error}", after.spec.name)))?;
    let slots = if goes_on {
        before.split.slots.as_ref().clone()
    } else {
        allocate(Some(&before.split.slots), &shares)
            .map_err(|error| ApiError::refused(error.to_string()))?
    };
    let split = Split {
        slots: Arc::new(slots),
        affinity: after.spec.affinity.clone(),
        salt: after.spec.salt().to_owned(),
        steering: Steering::of(&after.spec, &after.numbers, &after.drained_tracks),
        table: UNPLACED,
    };
    if split.same_as(&before.split) {
        after.split = before.split.clone().steered(split.steering);
        forget_numbers(after);
        return Ok(());
    }
    after.anchor = Some(anchor_of(before));
    after.split = split;
    forget_numbers(after);
    Ok(())
}

/// Whether both desire the same parts for the same tracks.
fn desires_alike(one: &ServiceState, other: &ServiceState) -> bool {
    let weighted = |service: &ServiceState| -> BTreeMap<String, Weight> {
        let weights = service.weights().into_iter();
        weights.filter(|(_, weight)| !weight.is_zero()).collect()
    };
    weighted(one) == weighted(other) && one.drained() == other.drained()
}

/// What undo will find. Of a ramp that is on its way, what it has come to.
pub fn anchor_of(service: &ServiceState) -> Anchor {
    let weights = match &service.ramp {
        Some(_) => service.weights_of_slots(),
        None => service.weights(),
    };
    Anchor {
        generation: service.generation,
        split: service.split.clone(),
        weights,
        routes: service.spec.routes.clone(),
        fallback: service.spec.fallback.clone(),
        drained: service.drained_tracks.clone(),
    }
}

/// Drops the numbers of tracks that neither the spec nor any slot needs.
pub fn forget_numbers(service: &mut ServiceState) {
    let current = service.split.slots.counts();
    let before = service
        .anchor
        .as_ref()
        .map(|anchor| anchor.split.slots.counts());
    let steering = service.anchor.as_ref().map(|anchor| &anchor.split.steering);
    let spec = &service.spec;
    service.numbers.retain(|name, number| {
        let owns = |counts: &[u32; MAX_TRACKS]| counts[usize::from(*number)] > 0;
        spec.track(name).is_some()
            || owns(&current)
            || before.as_ref().is_some_and(owns)
            || steering.is_some_and(|steering| steering.uses(*number))
    });
}

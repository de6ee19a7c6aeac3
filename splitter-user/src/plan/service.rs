//! What several commands do to one service.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::types::ApiError;
use crate::model::{MAX_TRACKS, Service, Weight};
use crate::state::{ServiceState, Split, Steering, UNPLACED};
use crate::table::split::allocate;

/// A service that is new.
pub fn create(spec: Service) -> Result<ServiceState, ApiError> {
    let numbers = number_tracks(&spec, &BTreeMap::new(), Anchored::Nothing)?;
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
        split_since: 1,
        numbers,
        drained_tracks: BTreeMap::new(),
        drained_backends: BTreeMap::new(),
        closings: BTreeMap::new(),
        warming: BTreeMap::new(),
        ramp: None,
        anchors: Vec::new(),
    };
    let shares = service
        .shares()
        .map_err(|error| ApiError::refused(error.to_string()))?;
    let slots = allocate(None, &shares).map_err(|error| ApiError::refused(error.to_string()))?;
    service.split.slots = Arc::new(slots);
    Ok(service)
}

/// Whether tracks that are gone keep numbers for undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchored {
    /// There is nothing to go back to.
    Nothing,
    /// There is.
    Something,
}

/// Numbers for the tracks of `spec`: those they have, and for new ones numbers that neither a track
/// of the split in force nor one of an anchor has.
pub fn number_tracks(
    spec: &Service,
    taken: &BTreeMap<String, u8>,
    anchored: Anchored,
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
                match anchored {
                    Anchored::Something => " and by those that undo goes back to",
                    Anchored::Nothing => "",
                },
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
    // Where nobody took new flows before, for all tracks with weight are out, nobody has to now: the slots
    // follow the weights, and their tracks' tables stay empty.
    let weighed = match after.shares() {
        Err(_) if before.shares().is_err() => ServiceState {
            drained_tracks: BTreeMap::new(),
            ..after.clone()
        },
        _ => after.clone(),
    };
    let shares = weighed
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
    after.remember(before);
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

/// Numbers for the tracks of `spec`. If none is left, the oldest anchors are forgotten until one is;
/// the newest stays, so that undo never loses what it goes back to. Gives the generations that were
/// forgotten.
pub fn renumber(after: &mut ServiceState, spec: &Service) -> Result<Vec<u64>, ApiError> {
    let mut forgotten = Vec::new();
    loop {
        let anchored = match after.anchor() {
            Some(_) => Anchored::Something,
            None => Anchored::Nothing,
        };
        match number_tracks(spec, &after.numbers, anchored) {
            Ok(numbers) => {
                after.numbers = numbers;
                return Ok(forgotten);
            }
            Err(error) if after.anchors.len() <= 1 => return Err(error),
            Err(_) => {
                forgotten.extend(after.anchors.pop().map(|anchor| anchor.generation));
                forget_numbers(after);
            }
        }
    }
}

/// Drops the numbers of tracks that neither the spec nor any slot needs.
pub fn forget_numbers(service: &mut ServiceState) {
    let splits = std::iter::once(&service.split);
    let splits = splits.chain(service.anchors.iter().map(|anchor| &anchor.split));
    let used: Vec<_> = splits
        .map(|split| (split.slots.counts(), split.steering.clone()))
        .collect();
    let spec = &service.spec;
    service.numbers.retain(|name, number| {
        let needs = |(counts, steering): &([u32; MAX_TRACKS], Steering)| {
            counts[usize::from(*number)] > 0 || steering.uses(*number)
        };
        spec.track(name).is_some() || used.iter().any(needs)
    });
}

//! Ramps: an operator's change whose slots move over a time, and its steps.

use std::sync::Arc;
use std::time::Duration;

use super::Plan;
use super::service::{forget_numbers, weighed};
use crate::api::types::ApiError;
use crate::model::Weight;
use crate::share::apportion;
use crate::state::{Ramp, ServiceState, UNPLACED, World};
use crate::table::ramp;
use crate::table::split::{Share, allocate, target_counts};

impl ServiceState {
    /// The weights that the slots in force come to, to the nearest that can be written.
    #[must_use]
    pub fn weights_of_slots(&self) -> Vec<(String, Weight)> {
        let names: Vec<&String> = self.spec.tracks.iter().map(|track| &track.name).collect();
        let slots: Vec<u64> = names
            .iter()
            .map(|name| self.slots_of(name).into())
            .collect();
        let millis = apportion(Weight::FULL.millis(), Weight::LEAST.millis(), &slots);
        let weights = millis
            .into_iter()
            .map(|millis| Weight::from_millis(millis).unwrap_or_default());
        names.into_iter().cloned().zip(weights).collect()
    }

    /// The weights that are desired if its ramp ends where it stands: tracks that are out keep theirs, the
    /// others share the rest as they share the slots. Where those that have slots would be left without
    /// any weight, all have what their slots come to.
    #[must_use]
    pub fn standing_weights(&self) -> Vec<(String, Weight)> {
        let desired = self.weights();
        let is_out = |name: &str| self.drained_tracks.contains_key(name);
        let kept = desired.iter().filter(|(name, _)| is_out(name));
        let kept: u32 = kept.map(|(_, weight)| weight.millis()).sum();
        let open = desired.iter().map(|(name, _)| match is_out(name) {
            true => 0,
            false => u64::from(self.slots_of(name)),
        });
        let slots: Vec<u64> = open.collect();
        let owners = slots.iter().filter(|slots| **slots > 0).count();
        if owners == 0 {
            return desired;
        }
        let rest = Weight::FULL.millis().saturating_sub(kept);
        let least = Weight::LEAST.millis();
        if usize::try_from(rest / least).is_ok_and(|room| room < owners) {
            return self.weights_of_slots();
        }
        let shared = apportion(rest, least, &slots);
        let standing = desired.into_iter().zip(shared);
        standing
            .map(|((name, weight), millis)| match is_out(&name) {
                true => (name, weight),
                false => (name, Weight::from_millis(millis).unwrap_or_default()),
            })
            .collect()
    }

    /// Ends a ramp where it stands: what is in force is what is desired.
    pub fn stop_ramp(&mut self) {
        if self.ramp.is_some() {
            let weights = self.standing_weights();
            self.ramp = None;
            self.spec = self.spec.clone().with_weights(&weights);
        }
    }

    /// Lets slots that a change has just moved move over a time instead, from where `before` has them.
    pub fn begin_ramp(&mut self, before: &Self, duration: Duration) {
        if self.split.slots == before.split.slots {
            return;
        }
        self.ramp = Some(Ramp {
            start: before.split.slots.counts(),
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            done_ms: 0,
        });
        let steering = self.split.steering.clone();
        self.split = before.split.clone().steered(steering);
    }

    /// The slots that a ramp moves in all, and those that it has moved.
    ///
    /// # Errors
    /// If nobody is left to have slots.
    pub fn ramp_slots(&self) -> Result<Option<(u32, u32)>, ApiError> {
        let Some(ramp) = &self.ramp else {
            return Ok(None);
        };
        let distance = ramp::distance(&ramp.start, &self.goal()?);
        let moved = ramp::distance(&ramp.start, &self.split.slots.counts());
        Ok(Some((distance, moved.min(distance))))
    }

    /// The slots by track that a ramp leads to.
    fn goal(&self) -> Result<ramp::Counts, ApiError> {
        let refused = |error: &dyn std::fmt::Display| {
            ApiError::internal(format!("service {}: {error}", self.spec.name))
        };
        let weighed = weighed(self);
        let shares = weighed.shares().map_err(|error| refused(&error))?;
        let counts = target_counts(&shares).map_err(|error| refused(&error))?;
        let mut goal = [0; crate::model::MAX_TRACKS];
        for (share, count) in shares.iter().zip(counts) {
            if let Some(place) = goal.get_mut(usize::from(share.track)) {
                *place = count;
            }
        }
        Ok(goal)
    }

    /// This service with its ramp so much further; nothing if no slot moves yet.
    fn stepped(&self, passed: Duration) -> Result<Option<Self>, ApiError> {
        let Some(ramp) = &self.ramp else {
            return Ok(None);
        };
        let passed = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        let done_ms = ramp.done_ms.saturating_add(passed).min(ramp.duration_ms);
        let goal = self.goal()?;
        let moved = ramp::moved(
            ramp::distance(&ramp.start, &goal),
            done_ms,
            ramp.duration_ms,
        );
        let counts = ramp::counts(&ramp.start, &goal, moved);
        let shares: Vec<Share<'_>> = self
            .numbers
            .iter()
            .map(|(name, number)| Share {
                track: *number,
                name,
                parts: counts
                    .get(usize::from(*number))
                    .copied()
                    .unwrap_or(0)
                    .into(),
            })
            .collect();
        let slots = allocate(Some(&self.split.slots), &shares)
            .map_err(|error| ApiError::internal(format!("service {}: {error}", self.spec.name)))?;
        let mut after = self.clone();
        after.ramp = (done_ms < ramp.duration_ms).then(|| Ramp {
            done_ms,
            ..ramp.clone()
        });
        if slots != *self.split.slots {
            after.split.slots = Arc::new(slots);
            after.split.table = UNPLACED;
        }
        forget_numbers(&mut after);
        Ok(Some(after))
    }
}

/// Says that a change ends a ramp that was under way, and what is desired from now on.
pub fn ended(before: Option<&ServiceState>, after: Option<&ServiceState>) -> Option<String> {
    let (before, after) = (before?, after?);
    before.ramp.as_ref()?;
    if before.ramp == after.ramp {
        return None;
    }
    Some(format!(
        "this ends the ramp, which had come to {}; desired from now on: {}",
        listed(&before.weights_of_slots()),
        listed(&after.weights())
    ))
}

/// `blue 95%, green 5%`.
fn listed(weights: &[(String, Weight)]) -> String {
    let one = |(track, weight): &(String, Weight)| format!("{track} {weight}%");
    weights.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What the ramps of all services come to once `passed` more of their time has passed. No generation is
/// counted, and what undo goes back to stays.
///
/// # Errors
/// A fault of the agent's.
pub fn step_of(world: &World, passed: Duration) -> Result<Plan, ApiError> {
    let mut plan = Plan {
        next: world.clone(),
        touched: Vec::new(),
        deleted: Vec::new(),
        numbers: false,
        layout: false,
        changes: Vec::new(),
        secret: None,
    };
    for (name, service) in &world.services {
        if let Some(after) = service.stepped(passed)? {
            plan.next.services.insert(name.clone(), after);
            plan.touched.push(name.clone());
        }
    }
    Ok(plan)
}

//! Ramps: an operator's change whose slots move over a time, and its steps.

use std::sync::Arc;
use std::time::Duration;

use super::Plan;
use super::service::forget_numbers;
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

    /// Ends a ramp where it stands: what is in force is what is desired.
    pub fn stop_ramp(&mut self) {
        if self.ramp.take().is_some() {
            let weights = self.weights_of_slots();
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
        let shares = self.shares().map_err(|error| refused(&error))?;
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

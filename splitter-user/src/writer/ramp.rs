//! Ramps: slots that move a few at a time to where an operator's change wants them. The operator's change
//! has its generation; the steps have none.

use std::time::{Duration, Instant};

use super::execute::step_audit;
use super::{Writer, now_ms};
use crate::api::types::ApiError;
use crate::dataplane::DataPlane;
use crate::plan::{Plan, step_of};

/// From one step to the next, at most.
const STEP: Duration = Duration::from_secs(1);
/// And at least.
const SHORTEST: Duration = Duration::from_millis(100);

/// What the writer knows of ramps beside what is journaled.
#[derive(Debug, Default)]
pub(super) struct Ramps {
    /// Up to when the time of ramps is accounted for; `None`: there is none.
    accounted: Option<Instant>,
    /// When the next step is due.
    due: Option<Instant>,
}

impl<D: DataPlane + 'static> Writer<D> {
    /// How long the writer may wait until a step is due.
    pub(super) fn next_step(&self, now: Instant) -> Option<Duration> {
        let ramping = self
            .world
            .services
            .values()
            .any(|service| service.ramp.is_some());
        ramping.then(|| {
            self.ramps
                .due
                .map_or(Duration::ZERO, |due| due.saturating_duration_since(now))
        })
    }

    /// Takes the steps that are due. Time counts while the agent runs: after a restart a ramp goes on from
    /// where it stood, so that no outage makes a leap of it.
    pub(super) fn step_ramps(&mut self, now: Instant) {
        let left = |service: &crate::state::ServiceState| Some(service.ramp.as_ref()?.left());
        let Some(shortest) = self.world.services.values().filter_map(left).min() else {
            self.ramps = Ramps::default();
            return;
        };
        let Some(accounted) = self.ramps.accounted else {
            self.ramps.accounted = Some(now);
            self.ramps.due = Some(now + until_next(shortest));
            return;
        };
        if self.ramps.due.is_some_and(|due| now < due) {
            return;
        }
        let passed = now.saturating_duration_since(accounted);
        if let Err(error) = self.step(passed) {
            tracing::error!(
                error = error.message,
                "a step of a ramp failed; it is tried again"
            );
            self.ramps.due = Some(now + STEP);
            return;
        }
        self.ramps.accounted = Some(now);
        let shortest = self.world.services.values().filter_map(left).min();
        self.ramps.due = shortest.map(|left| now + until_next(left));
    }

    /// Lets `passed` more of every ramp have passed: all in one flip.
    fn step(&mut self, passed: Duration) -> Result<(), ApiError> {
        self.discard_leftover()?;
        let mut plan: Plan = step_of(&self.world, passed)?;
        if plan.is_empty() {
            return Ok(());
        }
        let audit = step_audit(&plan.touched, now_ms());
        self.place(&mut plan)?;
        if self.needs_flip(&plan) {
            let flip = self.next_flip()?;
            self.flip_to(&plan, &flip, audit)?;
        } else {
            self.without_flip(&plan, audit)?;
        }
        tracing::debug!(services = ?plan.touched, "a step of a ramp");
        self.world = plan.next;
        self.after_change();
        Ok(())
    }
}

/// From now to the next step of a ramp that has so much time left.
fn until_next(left: Duration) -> Duration {
    (left / 10).clamp(SHORTEST, STEP).min(left)
}

//! What may not be done now, and the record of what was refused.

use std::sync::{Arc, Mutex, PoisonError};

use super::Writer;
use super::clock::wall_ms;
use crate::api::types::{
    Actor, ApiError, Change, ChangeRequest, ConditionKind, ErrorCode, FreezeRequest, FreezeView,
    Who,
};
use crate::dataplane::DataPlane;
use crate::state::Freeze;
use crate::store::{Audit, Refused};

/// Under this name the journal keeps a freeze.
const FREEZE: &str = "freeze";
/// Refusals that wait to be written down, by the writer and before it each; what comes on top within a second is only
/// counted.
const WAITING: usize = 100;
/// Longest account of why something was refused, in characters.
const LONGEST: usize = 1_000;

/// Something that was asked for and not done.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The verb.
    pub verb: String,
    /// What it was to act on.
    pub target: String,
    /// The whole request, as the command line spells it.
    pub command: Option<String>,
    /// Why it was asked for.
    pub reason: Option<String>,
    /// Who asked.
    pub actor: Actor,
    /// Why it was not done.
    pub error: ApiError,
}

impl Refusal {
    /// A change that was refused.
    #[must_use]
    pub fn of(request: &ChangeRequest, actor: Actor, error: &ApiError) -> Self {
        Self {
            verb: request.command.verb().to_owned(),
            target: request.command.target(),
            command: Some(request.line()),
            reason: request.reason.clone(),
            actor,
            error: error.clone(),
        }
    }

    fn audit(self) -> Audit {
        Audit {
            refused: Some(Refused {
                code: self.error.code,
                message: self.error.message.chars().take(LONGEST).collect(),
            }),
            command: self.command,
            ..act(&self.verb, self.target, self.reason, self.actor)
        }
    }
}

/// A line of the audit log about something that moves no weights.
pub(super) fn act(verb: &str, target: String, reason: Option<String>, actor: Actor) -> Audit {
    Audit {
        unix_ms: wall_ms(),
        uid: actor.uid,
        gid: actor.gid,
        pid: pid(actor).unwrap_or(0),
        verb: verb.to_owned(),
        service: target,
        reason,
        from_json: None,
        to_json: None,
        command: None,
        refused: None,
    }
}

fn pid(actor: Actor) -> Option<u32> {
    actor.pid.and_then(|pid| u32::try_from(pid).ok())
}

/// Refusals on their way into the journal.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Those of the writer.
    here: Waiting,
    /// Those of callers that it was not asked for: kept apart, so that they push out none of the others, and written down
    /// without a place in the writer's queue.
    before: Denials,
}

impl Refusals {
    /// Where refusals go that do not reach the writer.
    pub(super) fn denials(&self) -> Denials {
        self.before.clone()
    }
}

/// Refusals that wait.
#[derive(Debug, Default)]
struct Waiting {
    rows: Vec<Audit>,
    dropped: u64,
}

impl Waiting {
    /// Logs and keeps one, or counts it: what many refusals cost must not grow with their number.
    fn add(&mut self, refusal: Refusal) {
        if self.rows.len() >= WAITING {
            self.dropped += 1;
            return;
        }
        tracing::warn!(
            actor = %refusal.actor, verb = refusal.verb, target = refusal.target,
            error = refusal.error.message, "refused"
        );
        self.rows.push(refusal.audit());
    }
}

/// Takes note of what was refused before the writer was asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Denials(Arc<Mutex<Waiting>>);

impl Denials {
    pub(super) fn add(&self, refusal: Refusal) {
        self.lock().add(refusal);
    }

    fn take(&self) -> Waiting {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: DataPlane + 'static> Writer<D> {
    /// Reads from the journal whether the agent is frozen.
    pub(super) fn recall_freeze(&mut self) -> Result<(), crate::store::StoreError> {
        let kept = self.store.meta(FREEZE)?.unwrap_or_default();
        if !kept.is_empty() {
            // A freeze that cannot be read is a freeze: somebody wanted nothing to change.
            let unreadable = || Freeze {
                uid: 0,
                gid: 0,
                pid: None,
                since: wall_ms(),
                reason: Some("the journal's record of the freeze cannot be read".to_owned()),
            };
            self.frozen = Some(serde_json::from_str(&kept).unwrap_or_else(|_| unreadable()));
        }
        self.judge_freeze();
        Ok(())
    }

    /// Refuses what a freeze keeps from happening.
    pub(super) fn check_freeze(&self, verb: &str) -> Result<(), ApiError> {
        match &self.frozen {
            Some(freeze) if !Freeze::allows(verb) => Err(ApiError::new(
                ErrorCode::Policy,
                format!(
                    "{verb}: {}; `splitterctl unfreeze` ends that, and {} go on",
                    describe(freeze),
                    Freeze::ALLOWED.join(", ")
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Says in the answer to a dry run that the change itself would be refused.
    pub(super) fn note_freeze(&self, verb: &str, changes: &mut [Change]) {
        if let Err(error) = self.check_freeze(verb) {
            for change in changes {
                change
                    .warnings
                    .push(format!("it would be refused now: {}", error.message));
            }
        }
    }

    /// Freezes the agent or lets it go, and writes that down.
    pub(super) fn freeze(
        &mut self,
        request: &FreezeRequest,
        actor: Actor,
    ) -> Result<FreezeView, ApiError> {
        let frozen = request.frozen.then(|| Freeze {
            uid: actor.uid,
            gid: actor.gid,
            pid: pid(actor),
            since: wall_ms(),
            reason: request.reason.clone(),
        });
        if request.dry_run {
            return Ok(FreezeView {
                dry_run: true,
                ..view(frozen.as_ref())
            });
        }
        let kept = match &frozen {
            Some(freeze) => serde_json::to_string(freeze)
                .map_err(|error| ApiError::internal(error.to_string()))?,
            None => String::new(),
        };
        let verb = if request.frozen { "freeze" } else { "unfreeze" };
        let audit = act(verb, String::new(), request.reason.clone(), actor);
        self.store
            .set_meta_and_note(FREEZE, &kept, &audit)
            .map_err(|error| ApiError::internal(format!("nothing was changed: {error}")))?;
        tracing::info!(%actor, verb, reason = request.reason.as_deref().unwrap_or(""), "policy");
        self.frozen = frozen;
        self.judge_freeze();
        Ok(view(self.frozen.as_ref()))
    }

    /// Refuses a detach under a freeze; notes one that goes on.
    pub(super) fn begin_detach(&mut self, actor: Actor) -> Result<(), ApiError> {
        let audit = act("detach", String::new(), None, actor);
        if let Err(error) = self.check_freeze("detach") {
            self.refused(Refusal {
                verb: audit.verb,
                target: audit.service,
                command: None,
                reason: None,
                actor,
                error: error.clone(),
            });
            return Err(error);
        }
        if let Err(error) = self.store.note(&[audit]) {
            // A full disk must not keep the operator from taking the program off the interfaces.
            tracing::error!(%error, "the detach is not in the audit log");
        }
        Ok(())
    }

    fn judge_freeze(&mut self) {
        match self.frozen.as_ref().map(describe) {
            Some(message) => self.raise(ConditionKind::Frozen, message),
            None => self.lower(ConditionKind::Frozen),
        }
    }

    /// Notes what was refused; written down within a second, so that refusals cost the journal
    /// one write a second however many there are.
    pub(super) fn refused(&mut self, refusal: Refusal) {
        self.refusals.here.add(refusal);
    }

    /// Writes down what was refused.
    pub(super) fn write_refusals(&mut self) {
        let Waiting {
            rows: mut refused,
            mut dropped,
        } = self.refusals.before.take();
        let here = std::mem::take(&mut self.refusals.here);
        refused.extend(here.rows);
        dropped += here.dropped;
        if dropped > 0 {
            tracing::warn!(
                dropped,
                "refusals are not in the audit log: too many at once"
            );
        }
        if !refused.is_empty()
            && let Err(error) = self.store.note(&refused)
        {
            tracing::error!(%error, "refusals are not in the audit log");
        }
    }
}

fn view(freeze: Option<&Freeze>) -> FreezeView {
    FreezeView {
        frozen: freeze.is_some(),
        by: freeze.map(|freeze| Who {
            uid: freeze.uid,
            gid: freeze.gid,
            pid: freeze.pid,
            user: None,
        }),
        since: freeze.map(|freeze| super::moment(freeze.since)),
        reason: freeze.and_then(|freeze| freeze.reason.clone()),
        dry_run: false,
    }
}

/// `uid 0 froze this agent at 2026-01-31T12:00:00Z: Black Friday`
fn describe(freeze: &Freeze) -> String {
    let since = humantime::format_rfc3339_seconds(super::moment(freeze.since));
    let why = freeze.reason.as_deref().unwrap_or("no reason was given");
    format!("uid {} froze this agent at {since}: {why}", freeze.uid)
}

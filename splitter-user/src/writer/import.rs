//! The secret that splits are keyed with, where it came from another host; and what is given to others.

use super::Writer;
use super::policy::act;
use crate::api::types::{Actor, ApiError};
use crate::dataplane::DataPlane;
use crate::plan::{Plan, unknown_service};
use crate::state::{HostState, hex, secret_from_hex};
use crate::store::StoreError;

/// Under this name the journal keeps a secret that was imported. The host's own, in its file, goes on keying what is this host's
/// alone: endpoints and fingerprints of flows.
const SECRET: &str = "split-secret";

impl<D: DataPlane + 'static> Writer<D> {
    /// Takes an imported secret from the journal, if there is one.
    pub(super) fn recall_secret(&mut self) -> Result<(), StoreError> {
        if let Some(kept) = self.store.meta(SECRET)?
            && let Some(secret) = secret_from_hex(&kept)
        {
            self.secret = secret;
        }
        Ok(())
    }

    /// Refuses another secret while anything is keyed with the one in force.
    pub(super) fn check_secret(&self, plan: &Plan) -> Result<(), ApiError> {
        let Some(secret) = plan.secret else {
            return Ok(());
        };
        let services = self.world.services.len();
        let backends = self.world.backend_ids.iter().count();
        if secret == self.secret || (services == 0 && backends == 0) {
            return Ok(());
        }
        Err(ApiError::refused(format!(
            "the import has another secret than this agent, and clients would meet other tracks: there are {services} services \
             here, and {backends} backends that flows may be pinned to; import on an agent without any, or delete them with \
             --now and wait until `splitterctl get services` is empty"
        )))
    }

    /// Keys splits with the secret of a plan from now on. Gives the one of before, for [`put_back`](Self::put_back).
    pub(super) fn take_secret(&mut self, plan: &Plan) -> Result<[u8; 32], ApiError> {
        let before = self.secret;
        if let Some(secret) = plan.secret.filter(|secret| *secret != before) {
            self.store
                .set_meta(SECRET, &hex(&secret))
                .map_err(|error| {
                    ApiError::internal(format!(
                        "the secret could not be kept, nothing was changed: {error}"
                    ))
                })?;
            self.secret = secret;
        }
        Ok(before)
    }

    /// Goes back to the secret of before: what was keyed with the new one was taken back.
    pub(super) fn put_back(&mut self, before: [u8; 32]) {
        if self.secret == before {
            return;
        }
        self.secret = before;
        if let Err(error) = self.store.set_meta(SECRET, &hex(&before)) {
            tracing::error!(%error, "the journal keeps the secret of an import that was taken back");
        }
    }

    /// Everything that another host needs for the same clients to meet the same tracks.
    pub(super) fn export_state(
        &mut self,
        service: Option<&str>,
        actor: Actor,
    ) -> Result<String, ApiError> {
        if let Some(name) = service.filter(|name| !self.world.services.contains_key(*name)) {
            let known: Vec<&String> = self.world.services.keys().collect();
            return Err(unknown_service(name, &known));
        }
        let chosen = self
            .world
            .services
            .values()
            .filter(|one| service.is_none_or(|name| one.spec.name == name));
        let text = HostState::of(chosen, &self.secret)
            .and_then(|state| state.to_yaml())
            .map_err(|error| {
                ApiError::internal(format!("cannot write the state as YAML: {error}"))
            })?;
        // The secret leaves the host: not without a trace.
        let audit = act(
            "export --with-secret",
            service.unwrap_or_default().to_owned(),
            None,
            actor,
        );
        self.store
            .note(&[audit])
            .map_err(|error| ApiError::internal(format!("nothing was exported: {error}")))?;
        Ok(text)
    }
}

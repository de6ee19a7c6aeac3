//! The secret that splits are keyed with, where it came from another host; and what is given to others.

use super::policy::act;
use super::{Writer, WriterError};
use crate::api::types::{Actor, ApiError};
use crate::dataplane::DataPlane;
use crate::plan::{Plan, unknown_service};
use crate::state::{HostState, hex, secret_from_hex};

/// Under this name the journal keeps a secret that was imported. The host's own, in its file, goes on keying what is this host's
/// alone: endpoints and fingerprints of flows.
const SECRET: &str = "split-secret";

impl<D: DataPlane + 'static> Writer<D> {
    /// Takes an imported secret from the journal, if there is one.
    pub(super) fn recall_secret(&mut self) -> Result<(), WriterError> {
        if let Some(kept) = self.store.meta(SECRET)? {
            self.secret = secret_from_hex(&kept).ok_or(WriterError::ImportedSecret {
                length: kept.chars().count(),
            })?;
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

    /// What the journal keeps with a plan: the secret that it brings, from its commit on.
    pub(super) fn secret_kept(plan: &Plan) -> Vec<(String, String)> {
        let secret = plan.secret.iter();
        secret
            .map(|secret| (SECRET.to_owned(), hex(secret)))
            .collect()
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

//! apply and delete.

use super::service::{create, number_tracks, resplit};
use super::{Draft, ways};
use crate::api::types::ApiError;
use crate::diagnostic::Diagnostics;
use crate::resource;
use crate::state::ServiceState;

/// What the operator wrote is wrong.
pub fn refused(found: Diagnostics) -> ApiError {
    let details: Vec<String> = found.iter().map(ToString::to_string).collect();
    let count = details.len();
    let message = if count == 1 {
        "the resources were refused, nothing was changed".to_owned()
    } else {
        format!("the resources were refused for {count} reasons, nothing was changed")
    };
    ApiError::refused(message).with_details(details)
}

/// Puts every service of a text in force.
pub fn apply(draft: &mut Draft<'_>, yaml: &str, origin: &str) -> Result<(), ApiError> {
    let file = resource::read(yaml, origin).map_err(refused)?;
    let specs = file.resolve(&draft.world.specs()).map_err(refused)?;
    for spec in specs {
        let name = spec.name.clone();
        draft.concerned.push(name.clone());
        for text in ways::warnings(&spec) {
            draft.warn(&name, text);
        }
        let next = match draft.world.services.get(&name) {
            None => create(spec)?,
            Some(before) if before.spec == spec => continue,
            Some(before) => update(before, spec)?,
        };
        draft.next.services.insert(name, next);
    }
    Ok(())
}

pub(super) fn update(
    before: &ServiceState,
    spec: crate::model::Service,
) -> Result<ServiceState, ApiError> {
    let mut after = before.clone();
    after.numbers = number_tracks(&spec, &before.numbers, before.anchor.as_ref())?;
    after
        .drained_tracks
        .retain(|track, _| spec.track(track).is_some());
    let written: Vec<_> = spec
        .tracks
        .iter()
        .flat_map(|track| &track.backends)
        .map(|backend| (backend.address, backend.port.unwrap_or(0)))
        .collect();
    after
        .drained_backends
        .retain(|backend, _| written.contains(backend));
    after.spec = spec;
    resplit(before, &mut after)?;
    Ok(after)
}

/// Removes a service; with `now` also one that was deleted and still has flows.
pub fn delete(draft: &mut Draft<'_>, name: &str, now: bool) -> Result<(), ApiError> {
    if now && !draft.world.services.contains_key(name) && draft.world.is_former(name) {
        // Deleted before; its flows are cut now.
        draft.concerned.push(name.to_owned());
        return Ok(());
    }
    draft.service(name)?;
    draft.next.services.remove(name);
    Ok(())
}

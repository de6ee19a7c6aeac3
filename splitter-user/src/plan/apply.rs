//! apply and delete.

use super::endpoints::still_out;
use super::service::{create, keeps_an_anchor, renumber, resplit};
use super::{Draft, ways};
use crate::api::types::ApiError;
use crate::diagnostic::Diagnostics;
use crate::model::Service;
use crate::resource;
use crate::state::{Applied, ServiceState, World};

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

/// Reads a text.
pub fn read(yaml: &str, origin: &str) -> Result<resource::File, ApiError> {
    resource::read(yaml, origin).map_err(refused)
}

/// The services of a text as they would be, given what is in force.
pub fn resolve(world: &World, file: &resource::File) -> Result<Vec<Service>, ApiError> {
    file.resolve(&world.specs()).map_err(refused)
}

/// Puts every service of a text in force, and removes what earlier applies of the same origin made and this text lacks.
pub fn apply_and_prune(draft: &mut Draft<'_>, yaml: &str, origin: &str) -> Result<(), ApiError> {
    if origin == "-" {
        return Err(ApiError::refused(
            "pruning goes by the file that services were applied from, and stdin is none: apply a file with -f FILE",
        ));
    }
    let kept = resource::names(yaml);
    let gone: Vec<String> = draft
        .world
        .applied
        .iter()
        .filter(|(name, applied)| applied.origin == origin && !kept.contains(name))
        .map(|(name, _)| name.clone())
        .filter(|name| draft.world.services.contains_key(name))
        .collect();
    for name in gone {
        delete(draft, &name, Reach::NewFlows)?;
    }
    apply(draft, yaml, origin)
}

/// Puts every service of a text in force.
pub fn apply(draft: &mut Draft<'_>, yaml: &str, origin: &str) -> Result<(), ApiError> {
    let file = read(yaml, origin)?;
    // Against what is left: a pruned service may have had the listeners of one that comes.
    let specs = resolve(draft.next, &file)?;
    for spec in specs {
        let name = spec.name.clone();
        draft.concerned.push(name.clone());
        let applied = Applied {
            origin: origin.to_owned(),
            spec: spec.clone(),
        };
        draft.next.applied.insert(name.clone(), applied);
        for text in ways::warnings(&spec) {
            draft.warn(&name, text);
        }
        let next = match draft.world.services.get(&name) {
            None => create(spec)?,
            Some(before) if before.spec == spec => continue,
            Some(before) => {
                let (next, forgotten) = update(before, spec)?;
                if !forgotten.is_empty() {
                    draft.warn(&name, forgot(&forgotten));
                }
                next
            }
        };
        draft.next.services.insert(name, next);
    }
    Ok(())
}

fn forgot(generations: &[u64]) -> String {
    let list: Vec<String> = generations.iter().map(u64::to_string).collect();
    format!(
        "a new track needs a number of the table, so the oldest splits to go back to are gone (generation {}); those after \
         them stay",
        list.join(", ")
    )
}

/// The service as `spec` wants it, and the generations that undo can no longer go back to.
pub(super) fn update(
    before: &ServiceState,
    spec: Service,
) -> Result<(ServiceState, Vec<u64>), ApiError> {
    let mut after = before.clone();
    let forgotten = renumber(&mut after, &spec)?;
    after
        .drained_tracks
        .retain(|track, _| spec.track(track).is_some());
    after.drained_backends = still_out(before, &spec);
    after.spec = spec;
    resplit(before, &mut after)?;
    keeps_an_anchor(before, &after, &forgotten)?;
    Ok((after, forgotten))
}

/// How much of a service a delete ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It takes no new flows; pinned ones go on.
    NewFlows,
    /// Pinned flows are cut too.
    AllFlows,
}

/// Removes a service; with all flows also one that was deleted and still has some.
pub fn delete(draft: &mut Draft<'_>, name: &str, reach: Reach) -> Result<(), ApiError> {
    if reach == Reach::AllFlows
        && !draft.world.services.contains_key(name)
        && draft.world.is_former(name)
    {
        // Deleted before; its flows are cut now.
        draft.concerned.push(name.to_owned());
        return Ok(());
    }
    draft.service(name)?;
    draft.next.services.remove(name);
    draft.next.applied.remove(name);
    Ok(())
}

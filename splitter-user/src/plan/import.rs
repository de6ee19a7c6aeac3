//! import: services as another host had them, slot for slot.

use super::apply::refused;
use super::{Draft, known};
use crate::api::types::ApiError;
use crate::resource;
use crate::state::HostState;

/// Puts the services of another host in force, and gives the secret that their splits are keyed with.
pub fn import(draft: &mut Draft<'_>, text: &str) -> Result<[u8; 32], ApiError> {
    let wrong = |error: crate::state::PortableError| ApiError::refused(error.to_string());
    let state = HostState::from_yaml(text).map_err(wrong)?;
    let secret = state.secret().map_err(wrong)?;
    let file = resource::read(&state.resources(), "import").map_err(refused)?;
    let there: Vec<&str> = file
        .services
        .iter()
        .map(|service| service.name.as_str())
        .filter(|name| draft.world.services.contains_key(*name))
        .collect();
    if !there.is_empty() {
        return Err(ApiError::refused(format!(
            "import replaces no service; {}: delete them first, or import on another host",
            known("there already", &there)
        )));
    }
    let specs = file.resolve(&draft.world.specs()).map_err(refused)?;
    for service in state.services(specs).map_err(wrong)? {
        let name = service.spec.name.clone();
        draft.concerned.push(name.clone());
        draft.next.services.insert(name, service);
    }
    Ok(secret)
}

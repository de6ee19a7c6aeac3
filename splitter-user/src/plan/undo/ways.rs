//! Routes and fallback of a split that comes back.

use crate::model::family_of;
use crate::state::{Anchor, ServiceState};

/// Brings back the routes and the fallback of a split, as far as today's tracks and listeners have room for
/// them. Says what is left out.
pub fn ways_back(service: &mut ServiceState, anchor: &Anchor) -> Vec<String> {
    let mut left_out = Vec::new();
    let families = service.spec.families_of_listeners();
    service.spec.routes = anchor.routes.clone();
    for route in &mut service.spec.routes {
        route.sources.retain(|source| {
            let stays = families.contains(&family_of(source));
            if !stays {
                left_out.push(format!(
                    "the route of {source} to {} does not come back: no listener of its family is left",
                    route.track
                ));
            }
            stays
        });
    }
    let spec = &service.spec;
    let known = |track: &str| spec.track(track).is_some();
    // A route to a track that was removed had nobody to lead to it, or undo would be refused.
    let (routes, fallback) = (
        spec.routes
            .iter()
            .filter(|route| !route.sources.is_empty() && known(&route.track)),
        anchor.fallback.as_deref().filter(|track| known(track)),
    );
    let (routes, fallback) = (routes.cloned().collect(), fallback.map(str::to_owned));
    if fallback != anchor.fallback {
        left_out.push(format!(
            "the fallback of the split that is back, track {}, has been removed: there is none now",
            anchor.fallback.as_deref().unwrap_or_default()
        ));
    }
    service.spec.routes = routes;
    service.spec.fallback = fallback;
    left_out
}

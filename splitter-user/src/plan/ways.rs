//! What an operator should know of routes, fallback and preview, though nothing is wrong with them.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::model::{Family, Service, Track};
use crate::state::ServiceState;
use crate::table::route::shadows;

/// Networks of routes that nobody can match, for earlier routes take all their clients.
pub fn warnings(spec: &Service) -> Vec<String> {
    let rules: Vec<&[IpNet]> = spec.routes.iter().map(|r| r.sources.as_slice()).collect();
    let shadowed = shadows(&rules).into_iter().map(|shadow| {
        let by: Vec<String> = shadow.by.iter().map(|route| name(spec, *route)).collect();
        let earlier = if by.len() == 1 { "matches" } else { "match" };
        format!(
            "{} never matches {}: {} {earlier} all of it before",
            name(spec, shadow.route),
            shadow.source,
            by.join(" and ")
        )
    });
    shadowed.collect()
}

/// `route 2 (to green, staff)`, counted from 1.
fn name(spec: &Service, index: usize) -> String {
    let route = &spec.routes[index];
    let reason = route.reason.iter().map(|reason| format!(", {reason}"));
    format!(
        "route {} (to {}{})",
        index + 1,
        route.track,
        reason.collect::<String>()
    )
}

/// Who takes new flows of these families that a track has nobody for: the fallback, if it is another track, is
/// not out and has backends that take them; else `noBackend`.
pub fn instead_of(service: &ServiceState, track: &str, families: &BTreeSet<Family>) -> String {
    let spec = &service.spec;
    let takes = |fallback: &&Track| {
        let mut families = families.iter();
        families.all(|family| {
            let mut backends = fallback.backends.iter();
            backends.any(|backend| {
                backend.family() == *family
                    && service.takes_new_flows(backend.address, backend.port)
            })
        })
    };
    let fallback = spec
        .fallback
        .as_deref()
        .filter(|fallback| *fallback != track);
    let fallback = fallback.filter(|fallback| !service.drained_tracks.contains_key(*fallback));
    match fallback
        .and_then(|fallback| spec.track(fallback))
        .filter(takes)
    {
        Some(fallback) => format!("the fallback, track {}, takes them", fallback.name),
        None => format!("they get `noBackend: {}`", spec.no_backend.name()),
    }
}

/// What changes for flows that are led to a track otherwise than by its weight, when it drains.
pub fn drain_warnings(spec: &Service, track: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    if spec.routes.iter().any(|route| route.track == track) {
        warnings.push(format!(
            "routes lead to track {track}: until it is ready again, their clients go by the next route that matches, or \
             by the weights"
        ));
    }
    if spec.fallback.as_deref() == Some(track) {
        warnings.push(format!(
            "track {track} is the fallback: until it is ready again, there is none"
        ));
    }
    if spec
        .preview
        .as_ref()
        .is_some_and(|preview| preview.track == track)
    {
        warnings.push(format!(
            "the preview leads to track {track}: until it is ready again, nobody serves the preview"
        ));
    }
    warnings
}

//! drain and ready, of tracks and of backends.

use std::time::Duration;

use super::service::resplit;
use super::{Draft, known};
use crate::api::types::{ApiError, DrainTarget};
use crate::model::Backend;
use crate::state::{Drain, ServiceState};

/// No new flows for a track or a backend.
pub fn drain(
    draft: &mut Draft<'_>,
    name: &str,
    what: &DrainTarget,
    timeout: Option<Duration>,
    now: u64,
) -> Result<(), ApiError> {
    let service = draft.service(name)?;
    let before = service.clone();
    let timeout = timeout.unwrap_or(service.spec.drain.timeout);
    let record = Drain {
        since: now,
        deadline: now.saturating_add(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        unpinned_before: 0,
    };
    match what {
        DrainTarget::Track(track) => {
            check_track(service, track)?;
            service.drained_tracks.insert(track.clone(), record);
            resplit(&before, service)
        }
        DrainTarget::Backend { address, port } => {
            let backend = find_backend(service, *address, *port)?;
            let left = others_left(service, &backend);
            service
                .drained_backends
                .insert((backend.address, backend.port.unwrap_or(0)), record);
            if let Some(track) = left {
                draft.warn(
                    name,
                    format!("track {track} has no other backend of this family: its new flows there find nobody; pinned flows go on"),
                );
            }
            Ok(())
        }
    }
}

/// Ends a drain.
pub fn ready(draft: &mut Draft<'_>, name: &str, what: &DrainTarget) -> Result<(), ApiError> {
    let service = draft.service(name)?;
    let before = service.clone();
    match what {
        DrainTarget::Track(track) => {
            check_track(service, track)?;
            service.drained_tracks.remove(track);
            resplit(&before, service)
        }
        DrainTarget::Backend { address, port } => {
            let backend = find_backend(service, *address, *port)?;
            service
                .drained_backends
                .remove(&(backend.address, backend.port.unwrap_or(0)));
            Ok(())
        }
    }
}

fn check_track(service: &ServiceState, track: &str) -> Result<(), ApiError> {
    if service.spec.track(track).is_some() {
        return Ok(());
    }
    let names: Vec<&str> = service
        .spec
        .tracks
        .iter()
        .map(|track| track.name.as_str())
        .collect();
    Err(ApiError::not_found(format!(
        "service {} has no track `{track}`; {}",
        service.spec.name,
        known("its tracks", &names)
    )))
}

/// The backend that answers at this address and port, with the port as it is written.
pub fn find_backend(
    service: &ServiceState,
    address: std::net::IpAddr,
    port: u16,
) -> Result<Backend, ApiError> {
    let listens = |port: u16| {
        service
            .spec
            .listeners
            .iter()
            .any(|listener| listener.port == port)
    };
    let mut backends = service.spec.tracks.iter().flat_map(|track| &track.backends);
    backends
        .find(|backend| {
            backend.address == address
                && backend
                    .port
                    .map_or_else(|| listens(port), |own| own == port)
        })
        .cloned()
        .ok_or_else(|| {
            let names: Vec<String> = service
                .spec
                .tracks
                .iter()
                .flat_map(|track| &track.backends)
                .flat_map(|backend| {
                    let ports: Vec<u16> = match backend.port {
                        Some(port) => vec![port],
                        None => service
                            .spec
                            .listeners
                            .iter()
                            .map(|listener| listener.port)
                            .collect(),
                    };
                    ports
                        .into_iter()
                        .map(|port| std::net::SocketAddr::new(backend.address, port).to_string())
                })
                .collect();
            ApiError::not_found(format!(
                "service {} has no backend {}; {}",
                service.spec.name,
                std::net::SocketAddr::new(address, port),
                known("its backends", &names)
            ))
        })
}

/// The name of the backend's track if it is the last there, of its family, that takes new flows.
fn others_left(service: &ServiceState, last: &Backend) -> Option<String> {
    let track = service
        .spec
        .tracks
        .iter()
        .find(|track| track.backends.contains(last))?;
    let others = track.backends.iter().any(|backend| {
        backend != last
            && backend.family() == last.family()
            && service.takes_new_flows(backend.address, backend.port)
    });
    (!others).then(|| track.name.clone())
}

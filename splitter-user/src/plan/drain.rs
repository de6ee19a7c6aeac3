//! drain, maint, quarantine and ready, of tracks and of backends.

use std::time::Duration;

use super::service::resplit;
use super::{Draft, known, ways};
use crate::api::types::{ApiError, DrainTarget};
use crate::model::{Backend, OnTimeout};
use crate::state::{Drain, Out, ServiceState, Steering};

/// What a drain asks for beside what the service says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    /// Its deadline.
    pub timeout: Option<Duration>,
    /// What becomes of flows that outlive it.
    pub on_timeout: Option<OnTimeout>,
    /// The time over which they are closed.
    pub spread: Option<Duration>,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// No new flows for a track or a backend, as `out` says.
pub fn take_out(
    draft: &mut Draft<'_>,
    name: &str,
    what: &DrainTarget,
    out: Out,
    wish: Wish,
    now: u64,
) -> Result<(), ApiError> {
    let service = draft.service(name)?;
    let policy = &service.spec.drain;
    let timeout = wish.timeout.unwrap_or(policy.timeout);
    let record = Drain {
        since: now,
        deadline: match out {
            Out::Draining => now.saturating_add(millis(timeout)),
            Out::Maint | Out::Quarantined => u64::MAX,
        },
        out,
        on_timeout: match out {
            Out::Draining => wish.on_timeout.unwrap_or(policy.on_timeout),
            Out::Maint | Out::Quarantined => OnTimeout::Keep,
        },
        spread: millis(wish.spread.unwrap_or(policy.close_spread)),
        unpinned_before: 0,
    };
    match what {
        DrainTarget::Track(track) => {
            check_track(service, track)?;
            service.stop_ramp();
            let before = service.clone();
            service.drained_tracks.insert(track.clone(), record);
            let open = service.shares().is_ok();
            if open {
                resplit(&before, service)?;
            } else {
                steer_anew(&before, service);
            }
            let families = service.spec.families_of_listeners();
            let instead = ways::instead_of(service, track, &families);
            for text in ways::drain_warnings(&before.spec, track) {
                draft.warn(name, text);
            }
            if open {
                return Ok(());
            }
            // Nobody is left to take its slots: it keeps them, and its new flows find no backend.
            draft.warn(
                name,
                format!(
                    "no track with weight is left that takes new flows: {instead} until one is ready; pinned flows go on"
                ),
            );
            Ok(())
        }
        DrainTarget::Backend { address, port } => {
            let backend = find_backend(service, *address, *port)?;
            let left = others_left(service, &backend);
            service
                .drained_backends
                .insert((backend.address, backend.port.unwrap_or(0)), record);
            if let Some(track) = left {
                let instead = ways::instead_of(service, &track, &[backend.family()].into());
                draft.warn(
                    name,
                    format!("track {track} has no other backend of this family for new flows: {instead}; pinned flows go on"),
                );
            }
            Ok(())
        }
    }
}

/// Ends a drain, `maint` or `quarantine`.
pub fn ready(draft: &mut Draft<'_>, name: &str, what: &DrainTarget) -> Result<(), ApiError> {
    let service = draft.service(name)?;
    match what {
        DrainTarget::Track(track) => {
            check_track(service, track)?;
            service.stop_ramp();
            let before = service.clone();
            service.drained_tracks.remove(track);
            if service.shares().is_err() && !service.drained_tracks.is_empty() {
                // Its weight is 0, and those that have any are out still.
                steer_anew(&before, service);
                return Ok(());
            }
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

/// The slots stay, while routes, fallback and preview follow what is out now.
fn steer_anew(before: &ServiceState, after: &mut ServiceState) {
    let steering = Steering::of(&after.spec, &after.numbers, &after.drained_tracks);
    let split = before.split.clone().steered(steering);
    if !split.same_as(&before.split) {
        after.remember(before);
    }
    after.split = split;
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

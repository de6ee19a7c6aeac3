//! What verbs take out and make ready: a track or a backend of a service.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::known;
use crate::api::types::{ApiError, DrainTarget};
use crate::model::Backend;
use crate::state::{Drain, ServiceState};

/// A track or a backend that a service has.
#[derive(Debug)]
pub enum Place<'w> {
    /// A track.
    Track(&'w str),
    /// A backend.
    Backend(Backend),
}

impl<'w> Place<'w> {
    /// The one that a verb names.
    pub fn of(service: &ServiceState, what: &'w DrainTarget) -> Result<Self, ApiError> {
        match what {
            DrainTarget::Track(track) => {
                check_track(service, track)?;
                Ok(Self::Track(track))
            }
            DrainTarget::Backend { address, port } => {
                find_backend(service, *address, *port).map(Self::Backend)
            }
        }
    }

    /// What took it out, if anything did.
    pub fn record<'s>(&self, service: &'s ServiceState) -> Option<&'s Drain> {
        match self {
            Self::Track(track) => service.drained_tracks.get(*track),
            Self::Backend(backend) => service.drained_backends.get(&backend_key(backend)),
        }
    }

    /// Takes it out, as a record says.
    pub fn put(&self, service: &mut ServiceState, record: Drain) {
        match self {
            Self::Track(track) => service.drained_tracks.insert((*track).to_owned(), record),
            Self::Backend(backend) => service
                .drained_backends
                .insert(backend_key(backend), record),
        };
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Track(track) => write!(f, "track {track}"),
            Self::Backend(backend) => match backend.port {
                Some(port) => write!(f, "backend {}", SocketAddr::new(backend.address, port)),
                None => write!(f, "backend {}", backend.address),
            },
        }
    }
}

/// A backend as records name it: with the port that is written, 0 if none is.
pub fn backend_key(backend: &Backend) -> (IpAddr, u16) {
    (backend.address, backend.port.unwrap_or(0))
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
    address: IpAddr,
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
                        .map(|port| SocketAddr::new(backend.address, port).to_string())
                })
                .collect();
            ApiError::not_found(format!(
                "service {} has no backend {}; {}",
                service.spec.name,
                SocketAddr::new(address, port),
                known("its backends", &names)
            ))
        })
}

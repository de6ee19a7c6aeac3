//! Backends by the endpoints that they are: a port may be written, or be each listener's own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::place::backend_key;
use crate::model::{Backend, Service};
use crate::state::{Drain, ServiceState};

/// The backends of `spec` that are out since before, with the port that is written (0: none is): those that are
/// written as they were, and those whose every endpoint was out, however that was written.
pub fn still_out(before: &ServiceState, spec: &Service) -> BTreeMap<(IpAddr, u16), Drain> {
    let mut endpoints = BTreeMap::new();
    for ((address, port), drain) in &before.drained_backends {
        let port = Some(*port).filter(|port| *port > 0);
        for port in ports(&before.spec, port) {
            endpoints.insert((*address, port), drain);
        }
    }
    let as_written = |backend: &Backend| before.drained_backends.get(&backend_key(backend));
    let by_endpoints = |backend: &Backend| {
        let drains = ports(spec, backend.port).into_iter();
        let drains = drains.map(|port| endpoints.get(&(backend.address, port)).copied());
        let drains: Option<Vec<&Drain>> = drains.collect();
        drains?.first().copied()
    };
    let backends = spec.tracks.iter().flat_map(|track| &track.backends);
    backends
        .filter_map(|backend| {
            let drain = as_written(backend).or_else(|| by_endpoints(backend))?;
            Some((backend_key(backend), drain.clone()))
        })
        .collect()
}

/// The ports that a backend answers at.
fn ports(spec: &Service, written: Option<u16>) -> Vec<u16> {
    match written {
        Some(port) => vec![port],
        None => spec
            .listeners
            .iter()
            .map(|listener| listener.port)
            .collect(),
    }
}

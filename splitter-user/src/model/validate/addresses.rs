//! Listeners and backends of one service: addresses and ports that can work at all.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Problems;
use crate::diagnostic::list;
use crate::model::{MAX_BACKEND_WEIGHT, Mode, Place, Service};

pub(super) fn check(service: &Service, problems: &mut Problems<'_>) {
    if service.listeners.is_empty() {
        problems.add(
            Place::Listeners,
            "a service needs at least one listener",
            "add one, such as `- {vip: 198.18.1.100, port: 80, protocol: tcp}`",
        );
    }
    for (index, listener) in service.listeners.iter().enumerate() {
        address(Place::Vip(index), "VIP", listener.vip, problems);
        port(Place::Port(index), listener.port, problems);
    }
    for (t, track) in service.tracks.iter().enumerate() {
        for (b, backend) in track.backends.iter().enumerate() {
            address(Place::Address(t, b), "address", backend.address, problems);
            if let Some(number) = backend.port {
                port(Place::BackendPort(t, b), number, problems);
            }
            unchanged_port(service, t, b, problems);
            if !(1..=MAX_BACKEND_WEIGHT).contains(&backend.weight) {
                problems.add(
                    Place::BackendWeight(t, b),
                    format!(
                        "a backend's weight of {}: from 1 to {MAX_BACKEND_WEIGHT} are possible",
                        backend.weight
                    ),
                    "to keep new flows away from a backend, drain it: \
                     splitterctl drain SERVICE BACKEND",
                );
            }
        }
    }
}

pub(super) fn address(place: Place, what: &str, address: IpAddr, problems: &mut Problems<'_>) {
    let Some(kind) = unusable(address) else {
        return;
    };
    problems.add(
        place,
        format!("{what} {address} is {kind}: only a unicast address can be used"),
        match address {
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "write it as an IPv4 address",
            _ => "write the address that the network routes",
        },
    );
}

/// What kind of address this is, if it cannot be a VIP or a backend's.
pub(crate) fn unusable(address: IpAddr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("the unspecified address");
    }
    if address.is_loopback() {
        return Some("a loopback address");
    }
    if address.is_multicast() {
        return Some("a multicast address");
    }
    match address {
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("an IPv4-mapped address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        _ => None,
    }
}

/// A backend that gets packets as the client sent them is dialled at the listener's port.
fn unchanged_port(service: &Service, t: usize, b: usize, problems: &mut Problems<'_>) {
    let backend = &service.tracks[t].backends[b];
    let (true, Some(port)) = (service.mode.is_one_way(), backend.port) else {
        return;
    };
    let preview = service
        .preview
        .iter()
        .filter(|preview| preview.track == service.tracks[t].name)
        .map(|preview| &preview.listener);
    let dialled: BTreeSet<u16> = service
        .listeners
        .iter()
        .chain(preview)
        .filter(|listener| listener.family() == backend.family())
        .map(|listener| listener.port)
        .collect();
    if dialled.iter().all(|dialled| *dialled == port) {
        return;
    }
    let ports: Vec<String> = dialled.iter().map(u16::to_string).collect();
    let mode = service.mode;
    problems.add(
        Place::BackendPort(t, b),
        format!(
            "backend {backend} has port {port}, and the service is dialled at {}: in mode {mode} packets keep their \
             port, so a backend's port is the listener's",
            list(ports.iter().map(String::as_str))
        ),
        format!("leave the port out, or use mode `{}` or `{}`", Mode::Dnat, Mode::FullNat),
    );
}

pub(super) fn port(place: Place, port: u16, problems: &mut Problems<'_>) {
    if port == 0 {
        problems.add(
            place,
            "port 0: from 1 to 65535 are possible",
            "write the port that is dialled",
        );
    }
}

//! Fallback, routes and preview: ways of new flows beside the weights.

use std::collections::BTreeSet;

use ipnet::IpNet;
use splitter_ebpf::abi::ROUTE_SOURCES;

use super::{Problems, addresses};
use crate::diagnostic::list;
use crate::model::{Family, Place, Service, family_of};

pub(super) fn check(service: &Service, problems: &mut Problems<'_>) {
    if let Some(fallback) = &service.fallback {
        known(service, Place::Fallback, fallback, problems);
    }
    routes(service, problems);
    preview(service, problems);
}

fn known(service: &Service, place: Place, track: &str, problems: &mut Problems<'_>) {
    if service.track(track).is_none() {
        let names = service.tracks.iter().map(|track| track.name.as_str());
        problems.add(
            place,
            format!(
                "there is no track `{track}`; tracks of the service: {}",
                list(names)
            ),
            "name one of them, or add the track",
        );
    }
}

fn routes(service: &Service, problems: &mut Problems<'_>) {
    let dialled = service.families_of_listeners();
    for (index, route) in service.routes.iter().enumerate() {
        known(service, Place::RouteTrack(index), &route.track, problems);
        if let Some(reason) = &route.reason {
            problems.text(Place::Route(index), "the reason", reason, 253);
        }
        if route.sources.is_empty() {
            problems.add(
                Place::Route(index),
                "a route that matches nobody: it has no source",
                "name networks, such as `match: {source: [198.18.9.0/24]}`, or take the route out",
            );
        }
        let mut seen = BTreeSet::new();
        for (s, source) in route.sources.iter().enumerate() {
            let place = Place::RouteSource(index, s);
            if source.trunc() != *source {
                problems.add(
                    place,
                    format!(
                        "{source} has bits set behind its first {}",
                        source.prefix_len()
                    ),
                    format!(
                        "write {} for the network, or {}/{} for the one address",
                        source.trunc(),
                        source.addr(),
                        source.max_prefix_len()
                    ),
                );
            } else if !seen.insert(source) {
                problems.add(
                    place,
                    format!("{source} is twice in one route"),
                    "take one out",
                );
            }
            if !dialled.is_empty() && !dialled.contains(&family_of(source)) {
                let family = family_of(source);
                problems.add(
                    place,
                    format!("{source} is {family}, but no listener of the service is"),
                    format!("add an {family} listener, or take the network out"),
                );
            }
        }
    }
    crowded(service, problems);
}

/// The tables have room for so many networks of a family.
fn crowded(service: &Service, problems: &mut Problems<'_>) {
    for family in [Family::V4, Family::V6] {
        let networks: BTreeSet<&IpNet> = service
            .routes
            .iter()
            .flat_map(|route| &route.sources)
            .filter(|source| family_of(source) == family)
            .collect();
        if networks.len() > ROUTE_SOURCES {
            problems.add(
                Place::Routes,
                format!(
                    "the routes name {} {family} networks: a service has room for {ROUTE_SOURCES}",
                    networks.len()
                ),
                "write neighbouring networks as one larger one, or take some out",
            );
        }
    }
}

fn preview(service: &Service, problems: &mut Problems<'_>) {
    let Some(preview) = &service.preview else {
        return;
    };
    let listener = preview.listener;
    addresses::address(Place::PreviewVip, "VIP", listener.vip, problems);
    addresses::port(Place::Preview, listener.port, problems);
    known(service, Place::PreviewTrack, &preview.track, problems);
    if let Some(track) = service.track(&preview.track)
        && !track.backends.is_empty()
        && !track.families().contains(&listener.family())
    {
        let family = listener.family();
        problems.add(
            Place::PreviewTrack,
            format!(
                "track `{}` has no {family} backend for the preview's {family} listener",
                track.name
            ),
            format!("add a backend with an {family} address, or give the preview another VIP"),
        );
    }
}

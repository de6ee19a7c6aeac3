//! What must hold between all services of a host.

use std::collections::{BTreeMap, BTreeSet};

use super::{LESS, crowd, pairs, validate_service};
use crate::diagnostic::list;
use crate::model::{
    At, Endpoint, Listener, MAX_LISTENERS_PER_ENDPOINT, MAX_PAIRS, Mode, Place, Problem, Service,
};

/// What is wrong with the services of a host, each by itself and all of them together.
pub fn validate_set(services: &BTreeMap<String, Service>) -> Vec<Problem> {
    let all: usize = services.values().map(pairs).sum();
    if let (true, Some(most)) = (all > MAX_PAIRS, services.values().max_by_key(|s| pairs(s))) {
        return vec![Problem {
            at: vec![at(most, Place::Listeners)],
            message: crowd(all),
            fix: LESS.to_owned(),
        }];
    }
    let mut problems: Vec<Problem> = services.values().flat_map(validate_service).collect();
    let listeners = listeners(services);
    overlaps(&listeners, &mut problems);
    loops(services, &listeners, &mut problems);
    crowds(services, &mut problems);
    problems
}

/// Whether the services fit into the host's limits: how many services, and how many backends.
pub fn validate_limits(
    services: &BTreeMap<String, Service>,
    most_services: u32,
    most_backends: u32,
) -> Vec<Problem> {
    let backends: usize = services
        .values()
        .flat_map(|service| &service.tracks)
        .map(|track| track.backends.len())
        .sum();
    let mut problems = Vec::new();
    for (what, count, most) in [
        ("services", services.len(), most_services),
        ("backends", backends, most_backends),
    ] {
        let fits = u32::try_from(count).is_ok_and(|count| count <= most);
        if let (false, Some(name)) = (fits, services.keys().next_back()) {
            problems.push(Problem {
                at: vec![At {
                    service: name.clone(),
                    place: Place::Service,
                }],
                message: format!("{count} {what} in all: this host has room for {most}"),
                fix: format!("raise `limits.{what}` in the agent's configuration"),
            });
        }
    }
    problems
}

fn at(service: &Service, place: Place) -> At {
    At {
        service: service.name.clone(),
        place,
    }
}

fn listeners(services: &BTreeMap<String, Service>) -> BTreeMap<Listener, Vec<At>> {
    let mut found: BTreeMap<Listener, Vec<At>> = BTreeMap::new();
    for service in services.values() {
        for (index, listener) in service.listeners.iter().enumerate() {
            let place = at(service, Place::Listener(index));
            found.entry(*listener).or_default().push(place);
        }
        if let Some(preview) = &service.preview {
            let place = at(service, Place::Preview);
            found.entry(preview.listener).or_default().push(place);
        }
    }
    found
}

fn overlaps(listeners: &BTreeMap<Listener, Vec<At>>, problems: &mut Vec<Problem>) {
    for (listener, places) in listeners.iter().filter(|(_, places)| places.len() > 1) {
        let owners: BTreeSet<&str> = places.iter().map(|at| at.service.as_str()).collect();
        problems.push(Problem {
            at: places.clone(),
            message: if owners.len() == 1 {
                format!("listener {listener} is twice in service `{}`", list(owners))
            } else {
                format!(
                    "listener {listener} overlaps: it is in the services {}",
                    list(owners)
                )
            },
            fix: "a listener belongs to one service: take it out of the others, or use another \
                  VIP or port"
                .to_owned(),
        });
    }
}

/// A backend that is a listener would send packets around for ever.
fn loops(
    services: &BTreeMap<String, Service>,
    listeners: &BTreeMap<Listener, Vec<At>>,
    problems: &mut Vec<Problem>,
) {
    for (service, place, endpoints) in backends(services) {
        for endpoint in endpoints.keys() {
            let dialled = Listener {
                vip: endpoint.address,
                port: endpoint.port,
                protocol: endpoint.protocol,
            };
            let Some(owner) = listeners.get(&dialled).and_then(|places| places.first()) else {
                continue;
            };
            problems.push(Problem {
                at: vec![owner.clone(), at(service, place)],
                message: format!(
                    "backend {endpoint} of service `{}` is itself a listener of service `{}`",
                    service.name, owner.service
                ),
                fix: "name the real server as the backend, not a VIP".to_owned(),
            });
        }
    }
}

/// In mode `dnat` a reply is matched with the listeners its backend may answer for; the data plane
/// probes only so many. In the others the reply itself says whose it is, or does not come by.
fn crowds(services: &BTreeMap<String, Service>, problems: &mut Vec<Problem>) {
    let mut served: BTreeMap<Endpoint, (BTreeSet<Listener>, Vec<At>)> = BTreeMap::new();
    let dnat = backends(services).filter(|(service, _, _)| service.mode == Mode::Dnat);
    for (service, place, endpoints) in dnat {
        for (endpoint, listeners) in endpoints {
            let (all, places) = served.entry(endpoint).or_default();
            all.extend(listeners);
            places.push(at(service, place));
        }
    }
    for (endpoint, (listeners, places)) in served {
        if listeners.len() > MAX_LISTENERS_PER_ENDPOINT {
            let names: Vec<String> = listeners.iter().map(Listener::to_string).collect();
            problems.push(Problem {
                at: places,
                message: format!(
                    "backend {endpoint} would answer for {} listeners ({}): at most \
                     {MAX_LISTENERS_PER_ENDPOINT} are possible",
                    listeners.len(),
                    list(names.iter().map(String::as_str))
                ),
                fix:
                    "give the backend another port for some of the listeners, or use mode `fullnat`"
                        .to_owned(),
            });
        }
    }
}

type Served = BTreeMap<Endpoint, BTreeSet<Listener>>;

/// Every backend with the endpoints it answers on, and for which of its service's listeners.
fn backends(
    services: &BTreeMap<String, Service>,
) -> impl Iterator<Item = (&Service, Place, Served)> {
    services.values().flat_map(|service| {
        service
            .tracks
            .iter()
            .enumerate()
            .flat_map(move |(t, track)| {
                track.backends.iter().enumerate().map(move |(b, backend)| {
                    let mut served = Served::new();
                    for listener in service.dialled() {
                        if let Some(endpoint) = backend.endpoint_for(listener) {
                            served.entry(endpoint).or_default().insert(*listener);
                        }
                    }
                    (service, Place::Backend(t, b), served)
                })
            })
    })
}

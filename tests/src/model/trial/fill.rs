//! What the rig puts into the program's tables, and the model knows of it.

use anyhow::Result;
use splitter_ebpf::abi::{Mode, ServiceWord};
use splitter_ebpf::hash::derive;
use splitter_ebpf::wire::Family;
use splitter_user::table::maglev::{Member, build};

use super::super::split::{Backend, Listener};
use super::super::steering::{Keys, Preview, Split};
use super::super::world::{Place, Spec, SplitSpec, slots};
use super::{Hop, Services, Splits};
use crate::rig::{BALANCER_MAC, Rig, SECRET, Service, mac_of};

/// Puts a service and all of its split tables into the program's tables.
pub(super) fn serve(rig: &mut Rig, spec: &Spec) -> Result<Service> {
    let service = rig.serve(&spec.plan(&spec.tables[0]))?;
    for (number, table) in (0..).zip(&spec.tables).skip(1) {
        rig.write_plan(&service, number, &spec.plan(table))?;
    }
    let word = ServiceWord {
        no_backend: spec.no_backend as u32,
        reserved: 0,
    };
    rig.tables().set_service_word(service.id, word);
    Ok(service)
}

/// The same for the model, but for its backends.
pub(super) fn add_service(services: &mut Services, service: &Service, spec: &Spec) {
    let tables = spec.tables.iter();
    let splits = Splits {
        tables: tables.map(|table| split(table, service)).collect(),
        current: 0,
        no_backend: spec.no_backend,
    };
    services.services.insert(service.id, splits);
    for ((at, protocol), id) in spec.listeners.iter().zip(&service.listeners) {
        let listener = Listener {
            at: *at,
            protocol: *protocol,
            service: service.id,
        };
        services.listeners.insert(*id, listener);
    }
}

fn split(table: &SplitSpec, service: &Service) -> Split {
    let preview = |(listener, track): (usize, _)| Preview {
        listener: service.listeners[listener],
        track,
    };
    Split {
        keys: Keys {
            slot: derive(&SECRET, "split", &table.salt),
            backend: derive(&SECRET, "track", &table.salt),
        },
        slots: slots(&table.parts),
        by_client: table.by_client,
        routes: table.routes.clone(),
        preview: table.preview.map(preview),
        fallback: table.fallback,
    }
}

pub(super) const fn member(place: &Place, id: u16) -> Member {
    Member {
        id,
        address: place.at.ip(),
        port: place.at.port(),
        weight: 1,
    }
}

pub(super) fn of_family(members: &[Member], family: Family) -> Vec<Member> {
    let of_family = |member: &&Member| Family::of(&member.address) == family;
    members.iter().filter(of_family).copied().collect()
}

/// The backends of a service as the rig has put them into the tables.
pub(super) fn add_backends(services: &mut Services, service: &Service, spec: &Spec) {
    for ((number, places), ids) in (0..).zip(&spec.tracks).zip(&service.backends) {
        let members: Vec<_> = places
            .iter()
            .zip(ids)
            .map(|(at, id)| member(at, *id))
            .collect();
        for family in Family::ALL {
            let table = build(&of_family(&members, family));
            services
                .tracks
                .insert((service.id, number, family == Family::V6), table);
        }
        for (place, id) in places.iter().zip(ids) {
            let ip = place.at.ip();
            let hop = Hop::new(mac_of(ip), BALANCER_MAC, place.ifindex);
            let (addresses, ports) = &spec.pool;
            let of_family = addresses.iter().filter(|one| one.is_ipv6() == ip.is_ipv6());
            let backend = Backend {
                address: ip,
                port: place.at.port(),
                hop: (place.ifindex != 0).then_some(hop.by(place.mtu, place.tag)),
                shared: false,
                mode: spec.mode,
                pool: (of_family.copied().collect(), ports.clone()),
            };
            services.backends.insert(*id, backend);
        }
    }
    for id in &service.listeners {
        let listener = services.listeners[id];
        for backend_id in service.backends.iter().flatten() {
            let backend = &services.backends[backend_id];
            if backend.address.is_ipv6() != listener.at.is_ipv6() || backend.one_way() {
                continue;
            }
            let endpoint = (backend.at(listener.at.port()), listener.protocol);
            let pairs = services.answers.entry(endpoint).or_default();
            if spec.mode == Mode::FullNat {
                services.translated.insert(endpoint);
            } else {
                pairs.push((*id, *backend_id));
            }
        }
    }
}

/// Marks the backends whose endpoint answers for more than one listener.
pub(super) fn share_backends(services: &mut Services) {
    for pairs in services.answers.values() {
        if pairs.iter().any(|(listener, _)| *listener != pairs[0].0) {
            for (_, id) in pairs {
                services.backends.get_mut(id).expect("a backend").shared = true;
            }
        }
    }
}

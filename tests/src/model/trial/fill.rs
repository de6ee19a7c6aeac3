//! What the rig has put into the program's tables, as the model knows it.

use splitter_ebpf::abi::Mode;
use splitter_ebpf::wire::Family;
use splitter_user::table::maglev::{Member, build};

use super::super::split::Backend;
use super::super::world::{Place, Spec};
use super::{Hop, Services};
use crate::rig::{BALANCER_MAC, Service, mac_of};

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

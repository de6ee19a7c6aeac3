//! A way, put together from route, link and neighbour; or the reason why there is none. Pure.

use std::net::IpAddr;

use super::NextHop;
use super::mirror::{Mirror, Neighbour, Place};

/// What the kernel says about the way to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Out by an interface.
    Out {
        ifindex: u32,
        /// The gateway, or the address itself.
        via: IpAddr,
        source: Option<IpAddr>,
        /// The route's own limit, if it has one.
        mtu: Option<u32>,
    },
    /// It is an address of this host.
    Local,
    /// It is a broadcast, multicast or anycast address.
    NoHost,
    /// There is none, in the kernel's words.
    None(String),
}

/// A way, or why there is none and whom to ask.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    Known(NextHop, Place),
    Unasked(String, Place),
    Impossible(String),
}

/// Whether `address` can be a backend's at all, before the kernel is asked.
pub(super) fn refuse(address: IpAddr) -> Option<Route> {
    if address.is_loopback() || address.is_unspecified() {
        return Some(Route::Local);
    }
    address.is_multicast().then_some(Route::NoHost)
}

/// The way to `address`, whose route is `route`.
pub(super) fn way(address: IpAddr, route: &Route, mirror: &Mirror) -> Way {
    let (ifindex, via, source, limit) = match route {
        Route::Out {
            ifindex,
            via,
            source,
            mtu,
        } => (*ifindex, *via, *source, *mtu),
        Route::Local => {
            return impossible("it is an address of this host; a backend has to be another host");
        }
        Route::NoHost => {
            return impossible(
                "it is a broadcast, multicast or anycast address; a backend is one host",
            );
        }
        Route::None(why) => return Way::Impossible(format!("no route to it ({why}); add one")),
    };
    let Some(link) = mirror.links.get(&ifindex) else {
        return Way::Impossible(format!("its interface (number {ifindex}) is gone"));
    };
    let name = &link.name;
    if link.loopback {
        return impossible("it is an address of this host; a backend has to be another host");
    }
    if !link.up {
        return Way::Impossible(format!(
            "interface {name} is down; ip link set dev {name} up"
        ));
    }
    if !link.carrier {
        return Way::Impossible(format!("interface {name} has no carrier"));
    }
    let Some(source_mac) = link.mac else {
        return Way::Impossible(format!("interface {name} carries no Ethernet frames"));
    };
    let (carrier, vlan) = match mirror.carrier(ifindex, link) {
        Ok(carrier) => carrier,
        Err(why) => return Way::Impossible(why),
    };
    let Some(source) = source else {
        return Way::Impossible(format!(
            "interface {name} has no address to reach it from; add one"
        ));
    };
    let place = (ifindex, via);
    match mirror.neighbours.get(&place) {
        Some(Neighbour::Fresh(mac) | Neighbour::Stale(mac)) => {
            let mtu = limit.map_or(link.mtu, |limit| limit.min(link.mtu));
            Way::Known(
                NextHop {
                    ifindex: carrier,
                    source_mac,
                    destination_mac: *mac,
                    mtu,
                    vlan,
                    gateway: (via != address).then_some(via),
                    source,
                },
                place,
            )
        }
        Some(Neighbour::Silent) => {
            Way::Unasked(format!("{via} does not answer on interface {name}"), place)
        }
        Some(Neighbour::Asked) | None => Way::Unasked(
            format!("{via} has not answered yet on interface {name}"),
            place,
        ),
    }
}

fn impossible(why: &str) -> Way {
    Way::Impossible(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Route, Way, refuse, way};
    use crate::nexthop::Tagged;
    use crate::nexthop::mirror::{Link, Mirror, Neighbour};
    use crate::nexthop::tag::{Layer, Tag};

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const PEER: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn ip(text: &str) -> std::net::IpAddr {
        text.parse().expect("an address")
    }

    fn out(mtu: Option<u32>) -> Route {
        Route::Out {
            ifindex: 2,
            via: ip("198.18.2.1"),
            source: Some(ip("198.18.2.9")),
            mtu,
        }
    }

    fn mirror(change: impl FnOnce(&mut Link), neighbour: Option<Neighbour>) -> Mirror {
        let mut link = Link {
            name: "near".to_owned(),
            mac: Some(OWN),
            mtu: 1_500,
            up: true,
            carrier: true,
            loopback: false,
            tag: None,
        };
        change(&mut link);
        let neighbours = neighbour.map(|neighbour| ((2, ip("198.18.2.1")), neighbour));
        Mirror {
            links: [(2, link)].into(),
            neighbours: neighbours.into_iter().collect(),
        }
    }

    #[test]
    fn a_way_is_known_while_the_neighbour_s_address_is() {
        for neighbour in [Neighbour::Fresh(PEER), Neighbour::Stale(PEER)] {
            for (limit, mtu) in [(None, 1_500), (Some(1_400), 1_400), (Some(9_000), 1_500)] {
                let Way::Known(hop, place) = way(
                    ip("198.18.2.1"),
                    &out(limit),
                    &mirror(|_| {}, Some(neighbour)),
                ) else {
                    panic!("{neighbour:?}");
                };
                assert_eq!(
                    (hop.ifindex, hop.source_mac, hop.destination_mac),
                    (2, OWN, PEER)
                );
                assert_eq!(
                    (hop.mtu, hop.source, place),
                    (mtu, ip("198.18.2.9"), (2, ip("198.18.2.1")))
                );
            }
        }
    }

    #[test]
    fn a_neighbour_that_is_not_known_is_to_be_asked() {
        for (neighbour, words) in [
            (None, "has not answered yet"),
            (Some(Neighbour::Asked), "has not answered yet"),
            (Some(Neighbour::Silent), "does not answer"),
        ] {
            let Way::Unasked(why, place) =
                way(ip("198.18.2.1"), &out(None), &mirror(|_| {}, neighbour))
            else {
                panic!("{neighbour:?}")
            };
            assert!(
                why.contains(words) && why.contains("198.18.2.1") && why.contains("near"),
                "{why}"
            );
            assert_eq!(place, (2, ip("198.18.2.1")));
        }
    }

    #[test]
    fn what_stands_in_the_way_is_named() {
        let peer = Some(Neighbour::Fresh(PEER));
        let sourceless = Route::Out {
            ifindex: 2,
            via: ip("198.18.2.1"),
            source: None,
            mtu: None,
        };
        let cases = [
            (out(None), mirror(|link| link.up = false, peer), "is down"),
            (
                out(None),
                mirror(|link| link.carrier = false, peer),
                "no carrier",
            ),
            (
                out(None),
                mirror(|link| link.mac = None, peer),
                "no Ethernet",
            ),
            (
                out(None),
                mirror(|link| link.loopback = true, peer),
                "address of this host",
            ),
            (out(None), Mirror::default(), "is gone"),
            (sourceless, mirror(|_| {}, peer), "no address"),
            (Route::Local, mirror(|_| {}, peer), "address of this host"),
            (Route::NoHost, mirror(|_| {}, peer), "multicast"),
            (
                Route::None("why".to_owned()),
                mirror(|_| {}, peer),
                "no route to it (why)",
            ),
        ];
        for (route, mirror, words) in cases {
            let Way::Impossible(why) = way(ip("198.18.2.1"), &route, &mirror) else {
                panic!("{route:?}")
            };
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn a_way_over_a_tag_leaves_by_what_carries_it() {
        let tag = |parent, layer| {
            Some(Tag {
                parent,
                id: 10,
                layer,
            })
        };
        let peer = Some(Neighbour::Fresh(PEER));
        let with = |tag: Option<Tag>, below: Option<Tag>| {
            let mut mirror = mirror(|link| link.tag = tag, peer);
            let mut parent = mirror.links[&2].clone();
            (parent.name, parent.tag, parent.mtu) = ("below".to_owned(), below, 9_000);
            mirror.links.insert(7, parent);
            mirror
        };
        let known = with(tag(Some(7), Layer::Customer), None);
        let Way::Known(hop, place) = way(ip("198.18.2.1"), &out(None), &known) else {
            panic!("no way");
        };
        assert_eq!((hop.ifindex, hop.vlan, hop.mtu), (7, Some(10), 1_500));
        assert_eq!(
            place,
            (2, ip("198.18.2.1")),
            "the neighbour is the tag's own"
        );
        let vlans = known.vlan_devices();
        assert_eq!(vlans, [(2, Some(Tagged { parent: 7, id: 10 }))].into());
        for (tag, below, words) in [
            (tag(Some(7), Layer::Service), None, "802.1ad"),
            (
                tag(Some(7), Layer::Customer),
                tag(Some(9), Layer::Customer),
                "QinQ",
            ),
            (
                tag(None, Layer::Customer),
                None,
                "another network namespace",
            ),
            (
                tag(Some(99), Layer::Customer),
                None,
                "another network namespace",
            ),
        ] {
            let mirror = with(tag, below);
            let Way::Impossible(why) = way(ip("198.18.2.1"), &out(None), &mirror) else {
                panic!("{words}");
            };
            assert!(why.contains(words) && why.contains("near"), "{why}");
            assert_eq!(mirror.vlan_devices()[&2], None, "{words}");
        }
    }

    #[test]
    fn addresses_that_no_host_has_are_refused_without_asking() {
        for address in ["127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "::"] {
            assert_eq!(refuse(ip(address)), Some(Route::Local), "{address}");
        }
        for address in ["224.0.0.1", "ff02::1"] {
            assert_eq!(refuse(ip(address)), Some(Route::NoHost), "{address}");
        }
        assert_eq!(refuse(ip("198.18.2.1")), None);
    }
}

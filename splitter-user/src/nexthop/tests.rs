//! The resolver on real links, in namespaces of the tests' own: `near` is this host's interface, `far` the backend's.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::mirror::Event;
use super::monitor::Monitor;
use super::resolver::Pace;
use super::{NextHop, NextHops, Outputs, Resolver};
use crate::interface::Interface;
use crate::sandbox::{self, Peer, ip, sysctl};

const FAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0f];

#[test]
fn a_backend_on_the_link_is_reached_by_its_own_address() {
    on_a_cable(async |_peer, mut resolver| {
        resolver.ask_for(["198.18.2.11", "2001:db8:2::11"]);
        let hops = resolver.until(|told| told.hops.len() == 2).await;
        let near = Interface::find("near").unwrap();
        for (backend, source) in [
            ("198.18.2.11", "198.18.2.1"),
            ("2001:db8:2::11", "2001:db8:2::1"),
        ] {
            let expected = NextHop {
                ifindex: near.index,
                source_mac: near.mac.unwrap(),
                destination_mac: FAR_MAC,
                mtu: 1_500,
                vlan: None,
                gateway: None,
                source: address(source),
            };
            assert_eq!(hops.hops[&address(backend)], expected);
        }
        assert!(hops.missing.is_empty());
    });
}

#[test]
fn a_backend_behind_a_gateway_is_reached_by_the_gateway_s_address() {
    on_a_cable(async |_peer, mut resolver| {
        ip("route add 198.19.0.0/16 via 198.18.2.11 mtu 1400");
        ip("route add 2001:db8:3::/48 via 2001:db8:2::11 dev near");
        ip("route add 198.18.77.0/24 via inet6 2001:db8:2::11 dev near");
        resolver.ask_for(["198.19.0.5", "2001:db8:3::5", "198.18.77.1"]);
        let hops = resolver.until(|told| told.hops.len() == 3).await.hops;
        assert!(hops.values().all(|hop| hop.destination_mac == FAR_MAC));
        assert_eq!(hops[&address("198.19.0.5")].mtu, 1_400);
        assert_eq!(hops[&address("2001:db8:3::5")].mtu, 1_500);
        let gateway = |backend| hops[&address(backend)].gateway;
        assert_eq!(gateway("198.19.0.5"), Some(address("198.18.2.11")));
        assert_eq!(gateway("198.18.77.1"), Some(address("2001:db8:2::11")));
    });
}

#[test]
fn a_neighbour_that_does_not_answer_is_missing_until_it_does() {
    on_a_cable(async |peer, mut resolver| {
        sysctl("ipv4/neigh/near/retrans_time_ms", "100");
        sysctl("ipv6/neigh/near/retrans_time_ms", "100");
        resolver.ask_for(["198.18.2.12", "2001:db8:2::12", "198.18.2.11"]);
        let silent = |told: &NextHops, backend| {
            told.missing
                .get(&address(backend))
                .is_some_and(|why| why.contains("does not answer on interface near"))
        };
        let told = resolver
            .until(|told| silent(told, "198.18.2.12") && silent(told, "2001:db8:2::12"))
            .await;
        assert!(told.missing[&address("198.18.2.12")].contains("198.18.2.12"));
        assert_eq!(
            told.hops.keys().collect::<Vec<_>>(),
            [&address("198.18.2.11")]
        );

        peer.ip("addr add 198.18.2.12/24 dev far");
        peer.ip("addr add 2001:db8:2::12/64 dev far nodad");
        let told = resolver.until(|told| told.hops.len() == 3).await;
        assert!(told.missing.is_empty());
    });
}

#[test]
fn another_mac_of_a_neighbour_is_a_new_next_hop_and_a_new_epoch() {
    on_a_cable(async |_peer, mut resolver| {
        resolver.ask_for(["198.18.2.11"]);
        resolver.until(|told| told.hops.len() == 1).await;
        let epoch = resolver.settled_epoch().await;
        ip("neigh replace 198.18.2.11 lladdr 02:00:00:00:00:aa dev near nud reachable");
        let moved = [2, 0, 0, 0, 0, 0xaa];
        resolver
            .until(|told| told.hops.values().all(|hop| hop.destination_mac == moved))
            .await;
        resolver.epoch_after(epoch).await;
    });
}

#[test]
fn a_neighbour_that_moves_silently_is_found_by_asking_again() {
    on_a_cable(async |peer, mut resolver| {
        for family in ["ipv4", "ipv6"] {
            let set =
                |name: &str, value: &str| sysctl(&format!("{family}/neigh/near/{name}"), value);
            set("base_reachable_time_ms", "200");
            set("delay_first_probe_time", "0");
            set("retrans_time_ms", "50");
            // A change within this time of the last is not believed.
            set("locktime", "0");
        }
        resolver.ask_for(["198.18.2.11", "2001:db8:2::11"]);
        resolver.until(|told| told.hops.len() == 2).await;
        let epoch = resolver.settled_epoch().await;
        peer.ip("link set dev far address 02:00:00:00:00:bb");
        let moved = [2, 0, 0, 0, 0, 0xbb];
        resolver
            .until(|told| {
                told.hops.len() == 2 && told.hops.values().all(|hop| hop.destination_mac == moved)
            })
            .await;
        resolver.epoch_after(epoch).await;
    });
}

#[test]
fn a_neighbour_of_a_client_that_moves_is_a_new_epoch_too() {
    on_a_cable(async |_peer, mut resolver| {
        ip("neigh replace 198.18.2.99 lladdr 02:00:00:00:00:01 dev near nud reachable");
        resolver.ask_for(["198.18.2.11"]);
        resolver.until(|told| told.hops.len() == 1).await;
        let epoch = resolver.settled_epoch().await;
        ip("neigh replace 198.18.2.99 lladdr 02:00:00:00:00:02 dev near nud reachable");
        resolver.epoch_after(epoch).await;
    });
}

#[test]
fn a_route_that_changes_moves_the_next_hop() {
    on_a_cable(async |_peer, mut resolver| {
        let other = Peer::new();
        other.cable("near2", "far2");
        ip("addr add 198.18.4.1/24 dev near2");
        other.ip("addr add 198.18.4.11/24 dev far2");
        ip("route add 198.19.0.0/16 via 198.18.2.11");
        resolver.ask_for(["198.19.0.5"]);
        let near = Interface::find("near").unwrap().index;
        resolver
            .until(|told| told.hops.values().any(|hop| hop.ifindex == near))
            .await;
        let epoch = resolver.settled_epoch().await;

        ip("route replace 198.19.0.0/16 via 198.18.4.11");
        let near2 = Interface::find("near2").unwrap();
        let told = resolver
            .until(|told| told.hops.values().any(|hop| hop.ifindex == near2.index))
            .await;
        let hop = told.hops[&address("198.19.0.5")];
        assert_eq!(
            (hop.source_mac, hop.source),
            (near2.mac.unwrap(), address("198.18.4.1"))
        );
        resolver.epoch_after(epoch).await;

        ip("route del 198.19.0.0/16");
        let told = resolver.until(|told| !told.missing.is_empty()).await;
        assert!(
            told.missing[&address("198.19.0.5")].contains("no route"),
            "{:?}",
            told.missing
        );
    });
}

#[test]
fn an_interface_that_goes_down_takes_its_next_hops_along_and_gives_them_back() {
    on_a_cable(async |peer, mut resolver| {
        resolver.ask_for(["198.18.2.11"]);
        resolver.until(|told| told.hops.len() == 1).await;
        let epoch = resolver.settled_epoch().await;
        ip("link set dev near down");
        resolver
            .until(|told| told.hops.is_empty() && told.missing.len() == 1)
            .await;
        let epoch = resolver.epoch_after(epoch).await;
        ip("link set dev near up");
        resolver.until(|told| told.hops.len() == 1).await;
        resolver.epoch_after(epoch).await;

        peer.ip("link set dev far down");
        resolver
            .until(|told| {
                told.hops.is_empty() && told.missing.values().any(|why| why.contains("no carrier"))
            })
            .await;
    });
}

#[test]
fn another_address_or_mtu_of_the_own_interface_is_followed() {
    on_a_cable(async |_peer, mut resolver| {
        resolver.ask_for(["198.18.2.11"]);
        resolver.until(|told| told.hops.len() == 1).await;
        ip("link set dev near mtu 1300");
        resolver
            .until(|told| told.hops.values().any(|hop| hop.mtu == 1_300))
            .await;
        ip("link set dev near address 02:00:00:00:00:cc");
        resolver
            .until(|told| {
                told.hops
                    .values()
                    .any(|hop| hop.source_mac == [2, 0, 0, 0, 0, 0xcc])
            })
            .await;
    });
}

#[test]
fn a_backend_that_is_this_host_is_refused() {
    on_a_cable(async |_peer, mut resolver| {
        let backends = [
            "127.0.0.1",
            "::1",
            "198.18.2.1",
            "2001:db8:2::1",
            "198.18.2.255",
            "ff02::1",
        ];
        resolver.ask_for(backends);
        let told = resolver
            .until(|told| told.missing.len() == backends.len())
            .await;
        assert!(told.hops.is_empty());
        for backend in &backends[..4] {
            assert!(
                told.missing[&address(backend)].contains("this host"),
                "{backend}: {:?}",
                told.missing
            );
        }
    });
}

#[test]
fn backends_come_and_go_and_each_has_an_answer() {
    on_a_cable(async |_peer, mut resolver| {
        resolver.ask_for(["198.18.2.11", "203.0.113.1"]);
        let told = resolver
            .until(|told| told.hops.len() == 1 && told.missing.len() == 1)
            .await;
        assert!(told.missing[&address("203.0.113.1")].contains("no route"));
        resolver.ask_for(["2001:db8:2::11"]);
        resolver
            .until(|told| {
                told.hops.keys().eq([&address("2001:db8:2::11")]) && told.missing.is_empty()
            })
            .await;
        resolver.ask_for([]);
        resolver.until(|told| told.hops.is_empty()).await;
    });
}

#[test]
fn the_first_epoch_is_greater_than_the_last_and_never_0() {
    let (_backends, seen) = watch::channel(BTreeSet::new());
    for (last, first) in [(0, 1), (41, 42), (u32::MAX, 1)] {
        assert_eq!(*Resolver::new(seen.clone(), last).1.epoch.borrow(), first);
    }
}

#[test]
fn a_storm_of_changes_is_answered_a_few_times_and_ends_right() {
    on_a_cable(async |_peer, mut resolver| {
        resolver.ask_for(["198.19.0.5"]);
        resolver.until(|told| told.missing.len() == 1).await;
        let epoch = resolver.settled_epoch().await;
        for round in 0..40 {
            ip("route add 198.19.0.0/16 via 198.18.2.11");
            if round < 39 {
                ip("route del 198.19.0.0/16");
            }
            tokio::task::yield_now().await;
        }
        resolver.until(|told| told.hops.len() == 1).await;
        let epochs = resolver.settled_epoch().await - epoch;
        assert!((1..=20).contains(&epochs), "{epochs}");
    });
}

#[test]
fn changes_that_overflow_the_socket_are_told_as_lost_and_later_ones_as_usual() {
    sandbox::network(|| {
        run(async {
            let mut monitor = Monitor::open().unwrap();
            monitor.shrink().unwrap();
            for number in 0..50 {
                ip(&format!("addr add 198.18.5.{number}/32 dev lo"));
            }
            let mut events = Vec::new();
            while !events.contains(&Event::Lost) {
                events.extend(monitor.next().await.unwrap());
            }
            ip("addr add 198.18.6.1/32 dev lo");
            while events.last() != Some(&Event::Routing) {
                events.extend(monitor.next().await.unwrap());
            }
        });
    });
}

/// A resolver at work, and the sender of what it works for.
struct Running {
    backends: watch::Sender<BTreeSet<IpAddr>>,
    outputs: Outputs,
}

impl Running {
    fn ask_for<const N: usize>(&self, backends: [&str; N]) {
        self.backends
            .send_replace(backends.into_iter().map(address).collect());
    }

    async fn until(&mut self, holds: impl Fn(&NextHops) -> bool) -> NextHops {
        let told = tokio::time::timeout(PATIENCE, self.outputs.hops.wait_for(&holds)).await;
        let told = told.map(|told| told.unwrap().clone());
        told.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {:?}", self.outputs.hops.borrow()))
    }

    /// The epoch once nothing has changed it for a while.
    async fn settled_epoch(&mut self) -> u32 {
        while tokio::time::timeout(Duration::from_millis(300), self.outputs.epoch.changed())
            .await
            .is_ok()
        {}
        *self.outputs.epoch.borrow_and_update()
    }

    async fn epoch_after(&mut self, before: u32) -> u32 {
        let later = self.outputs.epoch.wait_for(|epoch| *epoch > before);
        *tokio::time::timeout(PATIENCE, later)
            .await
            .unwrap()
            .unwrap()
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

/// A cable from `near` to a peer's `far`, with a resolver on this side that asks often.
fn on_a_cable(test: impl AsyncFnOnce(&Peer, Running) + Send) {
    sandbox::network(|| {
        let peer = Peer::new();
        peer.cable("near", "far");
        ip("addr add 198.18.2.1/24 dev near");
        ip("addr add 2001:db8:2::1/64 dev near nodad");
        peer.ip("link set dev far address 02:00:00:00:00:0f");
        peer.ip("addr add 198.18.2.11/24 dev far");
        peer.ip("addr add 2001:db8:2::11/64 dev far nodad");
        run(async {
            let (backends, seen) = watch::channel(BTreeSet::new());
            let (resolver, outputs) = Resolver::new(seen, 0);
            let pace = Pace {
                stale: Duration::from_millis(100),
                missing: Duration::from_millis(100),
                ..Pace::default()
            };
            let stop = CancellationToken::new();
            let task = tokio::spawn(resolver.at_pace(pace).run(stop.clone()));
            test(&peer, Running { backends, outputs }).await;
            stop.cancel();
            task.await.unwrap();
        });
    });
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

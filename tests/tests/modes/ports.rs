//! Mode fullnat's own addresses and ports, and their end.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use anyhow::Result;
use lab::{Configuration, Held, Mode, SOON, Topology, VIP_V4, VIP_V6, await_some, await_until};

use super::ModeSite;

const ADDRESSES: [&str; 4] = [
    "198.18.3.71",
    "198.18.3.72",
    "2001:db8:3::71",
    "2001:db8:3::72",
];

/// A site that translates to two addresses a family, which the balancer has, and a few ports.
fn site(ports: &str) -> Result<ModeSite> {
    let configuration = Configuration::new().with(&format!(
        "[nat]\naddresses = {ADDRESSES:?}\nports = {ports:?}"
    ));
    ModeSite::prepared(
        Topology::routed(Mode::FullNat),
        Mode::FullNat,
        &configuration,
        |hosts| {
            for address in ADDRESSES {
                let line = if address.contains(':') {
                    format!("addr add {address}/128 dev eth1 nodad\n")
                } else {
                    format!("addr add {address}/32 dev eth1\n")
                };
                hosts.balancer.ip(&line)?;
            }
            Ok(())
        },
    )
}

#[test]
fn every_address_of_the_pool_is_used_and_every_port_is_of_its_range() -> Result<()> {
    let site = site("20000-20999")?;
    for vip in [VIP_V4, VIP_V6] {
        let mut seen = BTreeSet::new();
        let mut held = Vec::new();
        for _ in 0..64 {
            let mut connection = Held::open(&site.hosts.client, vip)?;
            let peer = connection.seen_as()?;
            assert!((20_000..=20_999).contains(&peer.port()), "{peer}");
            assert!(seen.insert(peer), "{peer} is given twice");
            held.push(connection);
        }
        let used: BTreeSet<IpAddr> = seen.iter().map(SocketAddr::ip).collect();
        let expected: BTreeSet<IpAddr> = ADDRESSES
            .iter()
            .map(|address| address.parse::<IpAddr>().unwrap())
            .filter(|address| address.is_ipv4() == vip.is_ipv4())
            .collect();
        assert_eq!(used, expected);
    }
    Ok(())
}

#[test]
fn without_a_free_port_connections_are_refused_at_once_and_status_says_so() -> Result<()> {
    let site = site("20000-20001")?;
    let client = &site.hosts.client;
    for vip in [VIP_V4, VIP_V6] {
        // Two addresses, two ports, one backend.
        let mut held = Vec::new();
        for number in 0..4 {
            let mut connection = Held::open(client, vip)?;
            connection.seen_as()?;
            held.push(connection);
            println!("{vip}: connection {number} is open");
        }
        let start = Instant::now();
        let refused = Held::open(client, vip).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{vip}");
        assert!(start.elapsed().as_millis() < 500, "{:?}", start.elapsed());
        // Those that are open are none the worse.
        for connection in &mut held {
            connection.seen_as()?;
        }
        site.assert_met("nat_exhausted")?;
        await_until(SOON, "a condition in status", || {
            // Its exit code says that somebody should look.
            let status = site
                .agent
                .ctl("status -o json")
                .and_then(|said| said.json());
            status.is_ok_and(|status| status["conditions"].to_string().contains("NatExhausted"))
        })?;
        // A port comes free a while after its connection was closed.
        drop(held.pop());
        await_some(SOON, "a free port", || Held::open(client, vip).ok())?;
    }
    Ok(())
}

//! Routers and switches without an agent.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use lab::{
    BACKENDS, Blob, Load, MB, Mode, Namespace, Nginx, Topology, UdpEcho, echo, heavy, track_of,
};

const TO: [IpAddr; 2] = [IpAddr::V4(BACKENDS[0].v4), IpAddr::V6(BACKENDS[0].v6)];

#[test]
fn every_topology_carries_plain_traffic_both_ways() -> Result<()> {
    let _turn = heavy()?;
    for mode in Mode::ALL {
        for topology in [Topology::routed(mode), Topology::one_armed(mode)] {
            let hosts = topology.build()?;
            let blob = Blob::new(MB)?;
            let nginx = Nginx::start(&hosts)?;
            let _echo = UdpEcho::start(&hosts, 7)?;
            for to in TO {
                blob.download(&hosts.client, &nginx, to)?;
                blob.upload(&hosts.client, &nginx, to)?;
                let backend = echo(&hosts.client, SocketAddr::new(to, 7), &[8, 1400, 5000], 9)?;
                assert_eq!(backend, "blue-1");
            }
        }
    }
    Ok(())
}

/// How many "fragmentation needed" and "packet too big" `host` has sent.
fn too_big_sent(host: &Namespace) -> Result<(u64, u64)> {
    Ok((
        host.count("Icmp", "OutDestUnreachs")?,
        host.count("Icmp6", "OutPktTooBigs")?,
    ))
}

#[test]
fn narrow_routers_say_so_and_transfers_get_through() -> Result<()> {
    let topology = Topology::routed(Mode::Dnat)
        .narrow_towards_client(1300)
        .narrow_towards_backends(1400);
    let hosts = topology.build()?;
    let blob = Blob::new(MB)?;
    let nginx = Nginx::start(&hosts)?;
    let (edge, inner) = (hosts.edge.as_ref().unwrap(), hosts.inner.as_ref().unwrap());
    for to in TO {
        // In this order: the backend, once it knows a smaller way to the client, would ask for smaller segments.
        let up = blob.upload(&hosts.client, &nginx, to)?;
        assert!(up.segment < 1400 && up.segment > 1300, "{up:?}");
        blob.download(&hosts.client, &nginx, to)?;
    }
    for router in [edge, inner] {
        let (v4, v6) = too_big_sent(router)?;
        assert!(v4 > 0 && v6 > 0, "{}: {v4} and {v6}", router.name());
    }
    Ok(())
}

#[test]
fn a_transfer_whose_sender_is_not_told_of_a_narrow_router_is_seen_to_hang() -> Result<()> {
    let hosts = Topology::routed(Mode::Dnat)
        .narrow_towards_client(1300)
        .build()?;
    let blob = Blob::new(MB)?.patience(Duration::from_secs(1));
    let nginx = Nginx::start(&hosts)?;
    // What the router itself sends to backends is lost, and nothing else.
    let edge = hosts.edge.as_ref().unwrap();
    edge.ip("rule add iif lo to 198.18.2.0/24 blackhole\n")?;
    let error = blob.download(&hosts.client, &nginx, TO[0]).unwrap_err();
    assert!(format!("{error:#}").contains("it hangs"), "{error:#}");
    Ok(())
}

#[test]
fn jumbo_wires_carry_jumbo_segments() -> Result<()> {
    let hosts = Topology::routed(Mode::Dnat).mtu(9000).build()?;
    let blob = Blob::new(MB)?;
    let nginx = Nginx::start(&hosts)?;
    for to in TO {
        let up = blob.upload(&hosts.client, &nginx, to)?;
        assert!(up.segment > 8_900, "{up:?}");
    }
    Ok(())
}

#[test]
fn backends_on_hosts_of_their_own_answer_at_their_own_addresses() -> Result<()> {
    let hosts = Topology::apart()?;
    let nginx = hosts
        .apart
        .iter()
        .map(|(backend, host)| Nginx::start_apart(host, backend))
        .collect::<Result<Vec<_>>>()?;
    for backend in &BACKENDS {
        for address in [IpAddr::from(backend.v4), IpAddr::from(backend.v6)] {
            let totals = Load::at(address)
                .keep_alive(1)
                .requests(2)
                .run_to_end(&hosts.client)?;
            totals.assert_nothing_lost();
            assert_eq!(totals.flows_of(track_of(backend.name)), 1);
        }
    }
    drop(nginx);
    Ok(())
}

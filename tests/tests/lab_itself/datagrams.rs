//! Unusual datagrams without an agent: what the lab expects of the splitter, plain routers do.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use lab::{
    BACKENDS, End, Extra, Held, Mode, Nginx, Topology, UdpEcho, exchange, refused, told_mtu, trace,
    with_extra,
};

const TO: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(BACKENDS[0].v4), 7),
    SocketAddr::new(IpAddr::V6(BACKENDS[0].v6), 7),
];

#[test]
fn routers_are_traced_and_their_mtus_told() -> Result<()> {
    let topology = Topology::routed(Mode::Dnat)
        .inside_mtu(1400)
        .narrow_towards_backends(1300);
    let hosts = topology.build()?;
    let echo = UdpEcho::start(&hosts, 7)?;
    let routers = [
        ["198.18.4.1", "198.18.1.1", "198.18.3.2"],
        // A host with several IPv6 addresses speaks as any of them; the balancer has its VIP beside its own.
        ["2001:db8:4::1", "2001:db8:1::100", "2001:db8:3::2"],
    ];
    for (to, routers) in TO.into_iter().zip(routers) {
        for (hops, router) in (1..).zip(routers) {
            assert_eq!(
                trace(&hosts.client, to, hops)?,
                End::Expired(router.parse()?)
            );
        }
        assert_eq!(trace(&hosts.client, to, 4)?, End::Echoed);
        assert_eq!(told_mtu(&hosts.client, to, 1_440)?, 1400);
        assert_eq!(told_mtu(&hosts.client, to, 1_340)?, 1300);
    }
    drop(echo);
    for to in TO {
        assert!(refused(&hosts.client, to)?);
    }
    Ok(())
}

#[test]
fn options_and_extension_headers_are_carried_by_routers() -> Result<()> {
    let hosts = Topology::routed(Mode::Dnat).build()?;
    let _echo = UdpEcho::start(&hosts, 7)?;
    for (to, extra) in [
        (TO[0], Extra::NoOperations),
        (TO[1], Extra::DestinationOptions),
        (TO[1], Extra::HopByHop),
    ] {
        let socket = with_extra(&hosts.client, to, extra)?;
        assert_eq!(exchange(&socket, &[8, 100, 1300], 9)?, "blue-1");
    }
    Ok(())
}

#[test]
fn servers_tell_from_where_they_are_asked() -> Result<()> {
    let hosts = Topology::routed(Mode::Dnat).build()?;
    let _nginx = Nginx::start(&hosts)?;
    for to in TO {
        let mut held = Held::open(&hosts.client, to.ip())?;
        assert_eq!(held.seen_as()?, held.client()?);
        assert_eq!(held.seen_as()?, held.client()?);
    }
    Ok(())
}

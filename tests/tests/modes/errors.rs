//! ICMP errors as the client's stack understands them: it finds the socket that they are about, or it doesn't.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use lab::{Configuration, End, Mode, Topology, refused, told_mtu, trace};

use super::{ECHOES, ModeSite};

/// The routers of [`Topology::routed`] by the address that the client hears of.
fn routers(target: SocketAddr) -> (IpAddr, IpAddr) {
    let parse = |address: &str| address.parse::<IpAddr>().unwrap();
    if target.is_ipv4() {
        (parse("198.18.4.1"), parse("198.18.3.2"))
    } else {
        (parse("2001:db8:4::1"), parse("2001:db8:3::2"))
    }
}

/// Asks with one hop more each time, until a backend answers.
fn trace_route(mode: Mode) -> Result<()> {
    let site = ModeSite::new(Topology::routed(mode), mode, &Configuration::new())?;
    let client = &site.hosts.client;
    for target in ECHOES {
        let (edge, inner) = routers(target);
        assert_eq!(trace(client, target, 1)?, End::Expired(edge));
        // The balancer answers as whom it was asked.
        assert_eq!(trace(client, target, 2)?, End::Expired(target.ip()));
        match mode {
            Mode::Dnat => assert_eq!(trace(client, target, 3)?, End::Expired(inner)),
            // Who is behind fullnat is nobody that the client need know a way to.
            Mode::FullNat => assert_eq!(trace(client, target, 3)?, End::Expired(target.ip())),
            // The tunnel is one hop, and a neighbour is none.
            Mode::DsrL2 | Mode::Ipip => {}
        }
        assert_eq!(trace(client, target, 4)?, End::Echoed);
    }
    site.assert_met("ttl_expired")?;
    if mode.is_one_way() {
        return Ok(());
    }
    site.assert_met("icmp_error_followed")
}

#[test]
fn a_client_traces_its_way_through_dnat() -> Result<()> {
    trace_route(Mode::Dnat)
}

#[test]
fn a_client_traces_its_way_through_fullnat() -> Result<()> {
    trace_route(Mode::FullNat)
}

#[test]
fn a_client_traces_its_way_through_dsr_l2() -> Result<()> {
    trace_route(Mode::DsrL2)
}

#[test]
fn a_client_traces_its_way_through_ipip() -> Result<()> {
    trace_route(Mode::Ipip)
}

/// Datagrams that may not be fragmented, to a router that would have to, and to a wire behind the balancer.
fn tell_the_mtu(mode: Mode) -> Result<()> {
    let topology = Topology::routed(mode)
        .inside_mtu(1400)
        .narrow_towards_backends(1300);
    let site = ModeSite::new(topology, mode, &Configuration::new())?;
    for target in ECHOES {
        assert_eq!(told_mtu(&site.hosts.client, target, 1_440)?, 1400);
        assert_eq!(told_mtu(&site.hosts.client, target, 1_340)?, 1300);
    }
    site.assert_met("too_big")?;
    site.assert_met("icmp_error_followed")
}

#[test]
fn a_udp_client_of_dnat_is_told_each_mtu() -> Result<()> {
    tell_the_mtu(Mode::Dnat)
}

#[test]
fn a_udp_client_of_fullnat_is_told_each_mtu() -> Result<()> {
    tell_the_mtu(Mode::FullNat)
}

/// "Port unreachable" from the backend, about a translated packet.
fn refuse_a_datagram(mode: Mode) -> Result<()> {
    let mut site = ModeSite::new(Topology::routed(mode), mode, &Configuration::new())?;
    site.close_echoes();
    for target in ECHOES {
        assert!(
            refused(&site.hosts.client, target)?,
            "{target}: the client was not told"
        );
    }
    Ok(())
}

#[test]
fn a_backend_without_the_service_refuses_through_dnat() -> Result<()> {
    refuse_a_datagram(Mode::Dnat)
}

#[test]
fn a_backend_without_the_service_refuses_through_fullnat() -> Result<()> {
    refuse_a_datagram(Mode::FullNat)
}

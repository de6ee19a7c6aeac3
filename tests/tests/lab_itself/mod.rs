//! The lab without an agent: what it measures later must not be its own doing.

mod datagrams;
mod topology;

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use anyhow::Result;
use lab::{
    BACKENDS, ForeignXdp, Hosts, Load, Namespace, Nginx, UdpEcho, VIP_V4, VIP_V6, await_until,
    heavy, ping,
};

#[test]
fn every_backend_answers_with_its_own_name_through_plain_forwarding() -> Result<()> {
    let hosts = Hosts::new()?;
    let _nginx = Nginx::start(&hosts)?;
    let _echo = UdpEcho::start(&hosts, 7)?;
    for backend in &BACKENDS {
        for address in [IpAddr::from(backend.v4), IpAddr::from(backend.v6)] {
            let http = Load::at(address)
                .keep_alive(1)
                .requests(2)
                .run_to_end(&hosts.client)?;
            http.assert_nothing_lost();
            let datagrams = Load::at(address)
                .port(7)
                .udp_flows(1)
                .requests(2)
                .run_to_end(&hosts.client)?;
            datagrams.assert_nothing_lost();
            for totals in [http, datagrams] {
                let names: Vec<_> = totals
                    .new_flows
                    .keys()
                    .map(|(_, name)| name.as_str())
                    .collect();
                assert_eq!(names, [backend.name], "at {address}");
            }
        }
    }
    Ok(())
}

#[test]
fn sixty_four_connections_lose_nothing_through_plain_forwarding() -> Result<()> {
    let _turn = heavy()?;
    let hosts = Hosts::new()?;
    let _nginx = Nginx::start(&hosts)?;
    let load = Load::at(BACKENDS[0].v4)
        .and_at(BACKENDS[0].v6)
        .keep_alive(32)
        .one_shot(32)
        .start(&hosts.client)?;
    await_until(Duration::from_secs(60), "10,000 requests", || {
        load.totals().requests >= 10_000
    })?;
    load.stop()?.assert_nothing_lost();
    Ok(())
}

#[test]
fn a_request_that_nobody_answers_is_a_failure_with_its_reason() -> Result<()> {
    let hosts = Hosts::new()?;
    // No server at all: the backend's host answers with a reset.
    let totals = Load::at(BACKENDS[0].v4)
        .one_shot(1)
        .requests(1)
        .run_to_end(&hosts.client)?;
    assert_eq!((totals.requests, totals.failures), (0, 1));
    assert!(
        totals.details[0].contains("refused"),
        "{:?}",
        totals.details
    );
    Ok(())
}

#[test]
fn a_moved_flow_is_noticed() -> Result<()> {
    let hosts = Hosts::new()?;
    let server = hosts
        .backends
        .enter(|| UdpSocket::bind((BACKENDS[0].v4, 7)))?;
    let load = Load::at(BACKENDS[0].v4)
        .port(7)
        .udp_flows(1)
        .start(&hosts.client)?;
    let mut buffer = [0; 64];
    // The second answer comes from another backend, as if a balancer had forgotten a pin.
    for name in ["blue-1 ", "blue-2 "] {
        let (length, client) = server.recv_from(&mut buffer)?;
        server.send_to(&[name.as_bytes(), &buffer[..length]].concat(), client)?;
    }
    await_until(Duration::from_secs(5), "the move to be noticed", || {
        load.totals().moved == 1
    })?;
    let totals = load.totals();
    assert!(
        totals.details[0].ends_with("was on blue-1, now blue-2 answers"),
        "{:?}",
        totals.details
    );
    Ok(())
}

#[test]
fn both_vips_answer_ping_without_an_agent() -> Result<()> {
    let hosts = Hosts::new()?;
    ping(&hosts.client, VIP_V4)?;
    ping(&hosts.client, VIP_V6)?;
    Ok(())
}

#[test]
fn a_foreign_xdp_program_sits_on_its_interface_until_dropped() -> Result<()> {
    let hosts = Hosts::new()?;
    let foreign = ForeignXdp::attach(&hosts.balancer, "eth0")?;
    let shows_xdp = || {
        hosts
            .balancer
            .exec("ip link show dev eth0")
            .unwrap()
            .contains("xdp")
    };
    assert!(shows_xdp());
    drop(foreign);
    assert!(!shows_xdp());
    Ok(())
}

#[test]
fn a_namespace_is_gone_when_its_guard_is() -> Result<()> {
    let namespace = Namespace::new("brief")?;
    let path = format!("/run/netns/{}", namespace.name());
    assert!(std::path::Path::new(&path).exists());
    let mut sleeper = namespace.spawn("sleep 1000")?;
    assert!(sleeper.ended()?.is_none());
    drop(sleeper);
    drop(namespace);
    assert!(!std::path::Path::new(&path).exists());
    Ok(())
}

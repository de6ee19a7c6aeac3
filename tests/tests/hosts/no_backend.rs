//! What a client's own stack makes of the answers, where nobody may serve it.

use std::io::{ErrorKind, Result as Io};
use std::net::{SocketAddr, TcpStream, UdpSocket};

use anyhow::Result;
use lab::{BRIEF, SOON, Service, Site, VIP_V4, VIP_V6, await_until};

/// A site whose only backends are drained, so that new flows get what `no_backend` says.
fn deserted(service: &Service, port: u16, no_backend: &str) -> Result<Site> {
    let line = format!("noBackend: {no_backend}");
    let site = Site::serving(&service.clone().with(&line).with(BRIEF))?;
    for address in ["198.18.2.31", "[2001:db8:2::31]"] {
        let drain = format!("drain {} {address}:{port}", service.name());
        site.agent.ctl(&drain)?.succeeded()?;
    }
    Ok(site)
}

/// Dials a VIP from the client, with a deadline far beyond what an answer takes.
fn dial(site: &Site, target: SocketAddr) -> Io<TcpStream> {
    site.hosts
        .client
        .enter(|| TcpStream::connect_timeout(&target, SOON))
}

/// Sends a datagram to a VIP from the client, and waits for what comes back.
fn ask(site: &Site, target: SocketAddr) -> Io<usize> {
    let socket = site.hosts.client.enter(|| match target {
        SocketAddr::V4(_) => UdpSocket::bind("0.0.0.0:0"),
        SocketAddr::V6(_) => UdpSocket::bind("[::]:0"),
    })?;
    socket.set_read_timeout(Some(SOON))?;
    socket.connect(target)?;
    socket.send(b"anybody?")?;
    socket.recv(&mut [0; 64])
}

/// How often a reason was counted, once the metrics say that it was at all.
fn counted(site: &Site, reason: &str) -> Result<u64> {
    await_until(SOON, reason, || {
        site.agent.verdicts(reason).is_ok_and(|count| count > 0)
    })?;
    site.agent.verdicts(reason)
}

/// In the lab an answer may come before `connect` has let go of its socket. A RST waits for that; an
/// ICMP error is forgotten (`TcpExtLockDroppedIcmps`), and the next SYN's is believed.
const SYNS: [(&str, &str, u64); 2] = [
    ("reset", "no_backend_reset", 2),
    ("unreachable", "no_backend_unreachable", 4),
];

#[test]
fn connect_is_refused_at_once_by_a_rst_and_by_port_unreachable() -> Result<()> {
    for (no_backend, reason, most) in SYNS {
        let site = deserted(&Service::web(&[("canary", "100%")]), 80, no_backend)?;
        for vip in [VIP_V4, VIP_V6] {
            let error = dial(&site, SocketAddr::new(vip, 80)).unwrap_err();
            // Other kinds: the SYN went unanswered, or the answer was not taken for one.
            assert_eq!(
                error.kind(),
                ErrorKind::ConnectionRefused,
                "{no_backend}, {vip}: {error}"
            );
        }
        let syns = counted(&site, reason)?;
        assert!((2..=most).contains(&syns), "{no_backend}: {syns} SYNs");
    }
    Ok(())
}

#[test]
fn a_datagram_is_refused_by_port_unreachable() -> Result<()> {
    let echo = Service::named("echo", &[("canary", "100%")])
        .listener(VIP_V4, 7, "udp")
        .listener(VIP_V6, 7, "udp");
    for no_backend in ["reset", "unreachable"] {
        let site = deserted(&echo, 7, no_backend)?;
        for vip in [VIP_V4, VIP_V6] {
            let error = ask(&site, SocketAddr::new(vip, 7)).unwrap_err();
            assert_eq!(
                error.kind(),
                ErrorKind::ConnectionRefused,
                "{no_backend}, {vip}: {error}"
            );
        }
    }
    Ok(())
}

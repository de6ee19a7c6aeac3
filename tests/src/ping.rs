//! `ping`, without the program: one echo request, one answer.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, SocketType, connect, ipproto, socket};

use crate::namespace::Namespace;

/// Sends one echo request from `client` to `vip` and checks the answer, identifier and payload included.
pub fn ping(client: &Namespace, vip: IpAddr) -> Result<()> {
    // Who may open echo sockets; the kernel then does checksums and identifiers.
    client.sysctl("ipv4/ping_group_range", "0 0")?;
    client
        .enter(|| exchange(vip))
        .with_context(|| format!("no proper echo reply from {vip}"))
}

fn exchange(vip: IpAddr) -> Result<()> {
    let (family, protocol, request, reply): (_, Protocol, u8, u8) = match vip {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, 8, 0),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, 128, 129),
    };
    let socket: OwnedFd =
        socket(family, SocketType::DGRAM, Some(protocol)).context("cannot open an echo socket")?;
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(3)))?;
    connect(&socket, &SocketAddr::new(vip, 0))?;
    let mut socket = std::fs::File::from(socket);

    // Type, code, checksum (the kernel's), identifier (the kernel's), sequence number, payload.
    let mut message = vec![request, 0, 0, 0, 0, 0, 0, 7];
    message.extend((0..56).map(|byte| byte ^ 0x5a));
    socket.write_all(&message).context("cannot send")?;
    let mut answer = [0; 256];
    let length = socket.read(&mut answer).context("nothing came back")?;
    ensure!(
        answer[0] == reply && answer[1] == 0,
        "type {} code {} came back",
        answer[0],
        answer[1]
    );
    ensure!(
        answer[6..length] == message[6..],
        "the sequence number or the payload came back changed"
    );
    Ok(())
}

//! Single datagrams with something unusual about them, and what the client's own stack makes of the answers.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, Timeout, ip_mtu, ipv6_mtu, set_ip_mtu_discover,
    set_ip_ttl, set_ipv6_mtu_discover, set_ipv6_unicast_hops, set_socket_timeout,
};
use rustix::net::{AddressFamily, RecvFlags, SocketType, ipproto, recvfrom, socket};

use crate::namespace::Namespace;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// IPv4 options and IPv6 extension headers that a stack puts into what a socket sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// Four bytes of IPv4 options that do nothing.
    NoOperations,
    /// An IPv6 header of options for every router, which do nothing.
    HopByHop,
    /// An IPv6 header of options for the destination, which do nothing.
    DestinationOptions,
}

/// A socket that sends to `target`, and waits for answers of it alone.
pub(crate) fn open(target: SocketAddr) -> Result<UdpSocket> {
    let any: IpAddr = if target.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Opens a socket in `client`'s host, towards `target`, whose packets carry `extra`.
pub fn with_extra(client: &Namespace, target: SocketAddr, extra: Extra) -> Result<UdpSocket> {
    let socket = client.enter(|| open(target))?;
    // Next header and length (the kernel's), then PadN with four bytes (RFC 8200 section 4.2).
    let padding = [0, 0, 1, 4, 0, 0, 0, 0];
    match extra {
        Extra::NoOperations => set(&socket, libc::IPPROTO_IP, libc::IP_OPTIONS, &[1, 1, 1, 1]),
        Extra::HopByHop => set(&socket, libc::IPPROTO_IPV6, libc::IPV6_HOPOPTS, &padding),
        Extra::DestinationOptions => set(&socket, libc::IPPROTO_IPV6, libc::IPV6_DSTOPTS, &padding),
    }
    .with_context(|| format!("cannot have {extra:?} sent"))?;
    Ok(socket)
}

/// Where a datagram with a short life ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Somebody on the way has said that its time was up, and the client's stack knew which socket that is about.
    Expired(IpAddr),
    /// It was echoed.
    Echoed,
}

/// Sends one datagram that `hops` routers may see, the last of which must not send it on.
pub fn trace(client: &Namespace, target: SocketAddr, hops: u8) -> Result<End> {
    client
        .enter(|| {
            let errors = Errors::open(target.is_ipv4())?;
            let socket = open(target)?;
            if target.is_ipv4() {
                set_ip_ttl(&socket, hops.into())?;
                set(&socket, libc::IPPROTO_IP, libc::IP_RECVERR, &ON)?;
            } else {
                set_ipv6_unicast_hops(&socket, Some(hops))?;
                set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, &ON)?;
            }
            socket.send(b"traced")?;
            match socket.recv(&mut [0; 64]) {
                Ok(_) => Ok(End::Echoed),
                Err(error) if error.kind() == ErrorKind::HostUnreachable => {
                    Ok(End::Expired(errors.next_time_exceeded()?))
                }
                Err(error) => Err(error).context("neither an echo nor an ICMP error"),
            }
        })
        .with_context(|| format!("cannot trace {target} with {hops} hops"))
}

/// Sends a datagram of `length` bytes that nobody may fragment, and returns the MTU of the way that the client's stack
/// was told of by an ICMP error.
pub fn told_mtu(client: &Namespace, target: SocketAddr, length: usize) -> Result<u32> {
    client
        .enter(|| {
            let socket = open(target)?;
            if target.is_ipv4() {
                set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DO)?;
                set(&socket, libc::IPPROTO_IP, libc::IP_RECVERR, &ON)?;
            } else {
                set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DO)?;
                set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, &ON)?;
            }
            socket.send(&vec![0; length])?;
            match socket.recv(&mut [0; 64]) {
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {}
                other => bail!("no \"too big\" came, but {other:?}"),
            }
            if target.is_ipv4() {
                Ok(ip_mtu(&socket)?)
            } else {
                Ok(ipv6_mtu(&socket)?)
            }
        })
        .with_context(|| format!("{length} bytes to {target}"))
}

/// Whether a datagram to `target` is answered by "port unreachable".
pub fn refused(client: &Namespace, target: SocketAddr) -> Result<bool> {
    client.enter(|| {
        let socket = open(target)?;
        socket.send(b"anybody?")?;
        match socket.recv(&mut [0; 64]) {
            Err(error) => Ok(error.kind() == ErrorKind::ConnectionRefused),
            Ok(_) => bail!("{target} answers"),
        }
    })
}

const ON: [u8; 4] = 1_i32.to_ne_bytes();

/// Every ICMP message that reaches a host.
struct Errors {
    socket: OwnedFd,
    is_v4: bool,
}

impl Errors {
    fn open(is_v4: bool) -> Result<Self> {
        let (family, protocol) = if is_v4 {
            (AddressFamily::INET, ipproto::ICMP)
        } else {
            (AddressFamily::INET6, ipproto::ICMPV6)
        };
        let socket = socket(family, SocketType::RAW, Some(protocol))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket, is_v4 })
    }

    /// Who has sent the next "time exceeded".
    fn next_time_exceeded(&self) -> Result<IpAddr> {
        let mut buffer = [0; 2048];
        // A busy host may hear others first: neighbour discovery.
        for _ in 0..100 {
            let (length, _, from) =
                recvfrom(self.socket.as_fd(), &mut buffer[..], RecvFlags::empty())
                    .context("nobody has said that time was exceeded")?;
            // With IPv4 the header comes first.
            let message = if self.is_v4 {
                &buffer[usize::from(buffer[0] & 15) * 4..length]
            } else {
                &buffer[..length]
            };
            let time_exceeded = if self.is_v4 { 11 } else { 3 };
            if message.first() == Some(&time_exceeded) {
                let from = from.context("a message from nobody")?;
                return Ok(SocketAddr::try_from(from)?.ip());
            }
        }
        bail!("a hundred ICMP messages, none of which says that time was exceeded")
    }
}

fn set(socket: &UdpSocket, level: i32, name: i32, value: &[u8]) -> Result<()> {
    let length = libc::socklen_t::try_from(value.len())?;
    // SAFETY: the pointer and the length are those of a live slice, which the call only reads.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            length,
        )
    };
    ensure!(
        done == 0,
        "socket option {name} of level {level}: {}",
        Error::last_os_error()
    );
    Ok(())
}

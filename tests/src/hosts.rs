//! Three hosts and two wires:
//!
//! ```text
//! client eth0 ---- eth0 balancer eth1 ---- eth0 backends
//! 198.18.1.10      198.18.1.1  198.18.2.1   198.18.2.11, .12  blue
//! 2001:db8:1::10   ...:1::1    ...:2::1     198.18.2.21, .22  green
//! 198.18.9.1-250                            198.18.2.31       canary
//! VIPs on the balancer: 198.18.1.100, 2001:db8:1::100
//! ```

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;

use crate::namespace::Namespace;
use crate::wait::await_until;

/// The IPv4 address that clients dial.
pub const VIP_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 1, 100));
/// The IPv6 address that clients dial.
pub const VIP_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x100));

/// One real endpoint; its track is the part of its name before the dash.
#[derive(Clone, Copy, Debug)]
pub struct Backend {
    /// What it answers.
    pub name: &'static str,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

/// All backends of the lab.
pub const BACKENDS: [Backend; 5] = [
    backend("blue-1", 11, 0x11),
    backend("blue-2", 12, 0x12),
    backend("green-1", 21, 0x21),
    backend("green-2", 22, 0x22),
    backend("canary-1", 31, 0x31),
];

const fn backend(name: &'static str, v4: u8, v6: u16) -> Backend {
    Backend {
        name,
        v4: Ipv4Addr::new(198, 18, 2, v4),
        v6: Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, v6),
    }
}

/// The track that a backend's name speaks of.
pub fn track_of(backend: &str) -> &str {
    backend.split('-').next().unwrap_or(backend)
}

/// The backends of one track.
pub fn backends_of(track: &str) -> impl Iterator<Item = &'static Backend> {
    BACKENDS
        .iter()
        .filter(move |backend| track_of(backend.name) == track)
}

/// A client host, a balancer host and a host with all backends, each in a namespace of its own.
#[derive(Debug)]
pub struct Hosts {
    /// Dials the VIPs.
    pub client: Namespace,
    /// Where the agent runs: `eth0` towards the clients, `eth1` towards the backends.
    pub balancer: Namespace,
    /// Answers at every address of [`BACKENDS`].
    pub backends: Namespace,
    /// The router, or the switch, between the client and the balancer.
    pub edge: Option<Namespace>,
    /// The router between the balancer and the backends.
    pub inner: Option<Namespace>,
    /// The backend that answers from the VIPs, where backends do.
    pub at_vip: Option<&'static Backend>,
    /// The host of each backend, where each has its own; the first is `backends`.
    pub apart: Vec<(&'static Backend, Namespace)>,
    /// The balancer's interfaces.
    pub interfaces: &'static [&'static str],
}

impl Hosts {
    /// Makes the hosts and wires them; the balancer forwards like any router until an agent attaches.
    pub fn new() -> Result<Self> {
        let hosts = Self::unwired()?;
        hosts.wire()?;
        hosts.address_client()?;
        hosts.address_balancer()?;
        hosts.address_backends()?;
        hosts.await_wires()?;
        Ok(hosts)
    }

    /// The hosts without a wire between them.
    pub(crate) fn unwired() -> Result<Self> {
        Ok(Self {
            client: Namespace::new("client")?,
            balancer: Namespace::new("balancer")?,
            backends: Namespace::new("backends")?,
            edge: None,
            inner: None,
            at_vip: None,
            apart: Vec::new(),
            interfaces: &["eth0", "eth1"],
        })
    }

    /// The client's other IPv4 addresses, for tests that need many clients: 198.18.9.1 and on, at most 250.
    pub fn many_clients(count: u8) -> Vec<IpAddr> {
        (1..=count)
            .map(|last| IpAddr::V4(Ipv4Addr::new(198, 18, 9, last)))
            .collect()
    }

    /// Gives the client the addresses of [`Hosts::many_clients`].
    pub fn add_clients(&self, count: u8) -> Result<Vec<IpAddr>> {
        let addresses = Self::many_clients(count);
        let lines = addresses
            .iter()
            .map(|address| format!("addr add {address}/32 dev eth0\n"));
        self.client.ip(&lines.collect::<String>())?;
        Ok(addresses)
    }

    /// Makes the wire to the client anew, after the balancer's end of it was deleted.
    pub fn wire_client_again(&self) -> Result<()> {
        self.balancer.exec(&format!(
            "ip link add eth0 type veth peer name eth0 netns {}",
            self.client.name()
        ))?;
        self.client.exec("ethtool -K eth0 tx off gro on")?;
        self.address_client()?;
        self.balancer.ip("link set eth0 up\n\
             addr add 198.18.1.1/24 dev eth0\n\
             addr add 2001:db8:1::1/64 dev eth0 nodad\n\
             route replace 198.18.9.0/24 via 198.18.1.10\n")?;
        self.balancer
            .ip(&format!("addr add {VIP_V6}/128 dev eth0 nodad\n"))?;
        self.await_wires()
    }

    fn wire(&self) -> Result<()> {
        for namespace in [&self.client, &self.balancer, &self.backends] {
            namespace.forget_delays()?;
        }
        for (outer, device) in [(&self.client, "eth0"), (&self.backends, "eth1")] {
            self.balancer.exec(&format!(
                "ip link add {device} type veth peer name eth0 netns {}",
                outer.name()
            ))?;
            // A veth leaves checksums undone that the program would then forward broken (tx), and drops what XDP sends
            // into it unless it polls (gro). The balancer's end looks for that when it comes up, which is later.
            outer.exec("ethtool -K eth0 tx off gro on")?;
        }
        Ok(())
    }

    fn address_client(&self) -> Result<()> {
        self.client.ip("link set eth0 up\n\
             addr add 198.18.1.10/24 dev eth0\n\
             addr add 2001:db8:1::10/64 dev eth0 nodad\n\
             route add default via 198.18.1.1\n\
             route add default via 2001:db8:1::1\n")?;
        // Ephemeral ports enough for many short connections.
        self.client.sysctl("ipv4/ip_local_port_range", "1024 65535")
    }

    fn address_balancer(&self) -> Result<()> {
        let balancer = &self.balancer;
        balancer.sysctl("ipv4/ip_forward", "1")?;
        balancer.sysctl("ipv6/conf/all/forwarding", "1")?;
        balancer.ip("link set eth0 up\n\
             link set eth1 up\n\
             addr add 198.18.1.1/24 dev eth0\n\
             addr add 2001:db8:1::1/64 dev eth0 nodad\n\
             addr add 198.18.2.1/24 dev eth1\n\
             addr add 2001:db8:2::1/64 dev eth1 nodad\n\
             route add 198.18.9.0/24 via 198.18.1.10\n")?;
        self.own_vips("eth0")
    }

    /// Gives the balancer the VIPs, so that it answers ARP and neighbour discovery for them on `device`.
    pub(crate) fn own_vips(&self, device: &str) -> Result<()> {
        // ARP is answered for an address of any interface; neighbour discovery only on the one that has it.
        self.balancer.ip(&format!(
            "addr add {VIP_V4}/32 dev lo\naddr add {VIP_V6}/128 dev {device} nodad\n"
        ))
    }

    fn address_backends(&self) -> Result<()> {
        let mut lines = String::from("link set eth0 up\n");
        for Backend { v4, v6, .. } in &BACKENDS {
            lines += &format!("addr add {v4}/24 dev eth0\naddr add {v6}/64 dev eth0 nodad\n");
        }
        // Replies pass through the balancer.
        lines += "route add default via 198.18.2.1\nroute add default via 2001:db8:2::1\n";
        self.backends.ip(&lines)
    }

    /// Waits until the wires carry packets, which is a moment after they are up.
    fn await_wires(&self) -> Result<()> {
        await_answer(&self.client, "198.18.1.1")?;
        await_answer(&self.backends, "198.18.2.1")
    }

    /// Waits until client and backends reach the balancer's `address` through whatever lies between, and the client a
    /// backend of each family.
    pub(crate) fn await_path(&self, address: &str) -> Result<()> {
        await_answer(&self.client, address)?;
        await_answer(&self.client, &BACKENDS[0].v4.to_string())?;
        await_answer(&self.client, &format!("[{}]", BACKENDS[0].v6))
    }
}

/// Waits until `address` answers `host` that nobody listens at its port 9: that has gone both ways.
fn await_answer(host: &Namespace, address: &str) -> Result<()> {
    let target: SocketAddr = format!("{address}:9").parse()?;
    let answers = || {
        TcpStream::connect_timeout(&target, Duration::from_millis(50))
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    };
    let what = format!("{target} to answer {}", host.name());
    await_until(Duration::from_secs(10), &what, || host.enter(answers))
}

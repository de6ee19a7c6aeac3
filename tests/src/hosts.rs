//! Three hosts and two wires:
//!
//! ```text
//! client eth0 ---- eth0 balancer eth1 ---- eth0 backends
//! 198.18.1.10      198.18.1.1  198.18.2.1   198.18.2.11, .12  blue
//! 2001:db8:1::10   ...:1::1    ...:2::1     198.18.2.21, .22  green
//! 198.18.9.1-250                            198.18.2.31       canary
//! VIPs on the balancer: 198.18.1.100, 2001:db8:1::100
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use crate::namespace::Namespace;

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
}

impl Hosts {
    /// Makes the hosts and wires them; the balancer forwards like any router until an agent attaches.
    pub fn new() -> Result<Self> {
        let hosts = Self {
            client: Namespace::new("client")?,
            balancer: Namespace::new("balancer")?,
            backends: Namespace::new("backends")?,
        };
        hosts.wire()?;
        hosts.address_client()?;
        hosts.address_balancer()?;
        hosts.address_backends()?;
        Ok(hosts)
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
        for address in &addresses {
            self.client
                .exec(&format!("ip addr add {address}/32 dev eth0"))?;
        }
        Ok(addresses)
    }

    fn wire(&self) -> Result<()> {
        for namespace in [&self.client, &self.balancer, &self.backends] {
            // Without this an address may not be used for a second after it was added.
            for scope in ["all", "default"] {
                namespace.sysctl(&format!("ipv6/conf/{scope}/accept_dad"), "0")?;
                namespace.sysctl(&format!("ipv4/conf/{scope}/rp_filter"), "0")?;
            }
        }
        for (outer, device) in [(&self.client, "eth0"), (&self.backends, "eth1")] {
            self.balancer.exec(&format!(
                "ip link add {device} type veth peer name eth0 netns {}",
                outer.name()
            ))?;
            // A veth leaves checksums undone that the program would then forward broken (tx), and drops what XDP sends
            // into it unless it polls (gro).
            outer.exec("ethtool -K eth0 tx off gro on")?;
            outer.exec("ip link set eth0 up")?;
            self.balancer.exec(&format!("ip link set {device} up"))?;
        }
        Ok(())
    }

    fn address_client(&self) -> Result<()> {
        let client = &self.client;
        client.exec("ip addr add 198.18.1.10/24 dev eth0")?;
        client.exec("ip addr add 2001:db8:1::10/64 dev eth0 nodad")?;
        client.exec("ip route add default via 198.18.1.1")?;
        client.exec("ip route add default via 2001:db8:1::1")?;
        // Ephemeral ports enough for many short connections.
        client.sysctl("ipv4/ip_local_port_range", "1024 65535")
    }

    fn address_balancer(&self) -> Result<()> {
        let balancer = &self.balancer;
        balancer.sysctl("ipv4/ip_forward", "1")?;
        balancer.sysctl("ipv6/conf/all/forwarding", "1")?;
        balancer.exec("ip addr add 198.18.1.1/24 dev eth0")?;
        balancer.exec("ip addr add 2001:db8:1::1/64 dev eth0 nodad")?;
        balancer.exec("ip addr add 198.18.2.1/24 dev eth1")?;
        balancer.exec("ip addr add 2001:db8:2::1/64 dev eth1 nodad")?;
        balancer.exec("ip route add 198.18.9.0/24 via 198.18.1.10")?;
        // ARP is answered for an address of any interface; neighbour discovery only on the one that has it.
        balancer.exec(&format!("ip addr add {VIP_V4}/32 dev lo"))?;
        balancer.exec(&format!("ip addr add {VIP_V6}/128 dev eth0 nodad"))?;
        Ok(())
    }

    fn address_backends(&self) -> Result<()> {
        let backends = &self.backends;
        for backend in &BACKENDS {
            backends.exec(&format!("ip addr add {}/24 dev eth0", backend.v4))?;
            backends.exec(&format!("ip addr add {}/64 dev eth0 nodad", backend.v6))?;
        }
        // Replies pass through the balancer.
        backends.exec("ip route add default via 198.18.2.1")?;
        backends.exec("ip route add default via 2001:db8:2::1")?;
        Ok(())
    }
}

//! Hosts with routers, or a single wire, between them.
//!
//! Routed:
//!
//! ```text
//! client ---- edge ---- balancer ---- inner ---- backends
//! .4.10    .4.1  .1.2  .1.1    .3.1  .3.2  .2.1   .2.11 ...
//!              \.5.1 ----------------------- .5.2/
//! ```
//!
//! Numbers are the last two of 198.18.x.y; IPv6 has 2001:db8:x::y (backends: see [`BACKENDS`]). The wire
//! below is the way back for everything but `dnat`, whose replies go by the inner router. For `dsr-l2` there is no inner
//! router: balancer and backends are neighbours.
//!
//! One-armed: client, balancer and backends on one switch, the balancer with one interface. Client and balancer are in
//! 198.18.1.0/24, as without routers, backends in 198.18.2.0/24. Apart: the same, each backend on a host of its own, which
//! can be a backend of every mode.

use anyhow::Result;

use crate::hosts::{BACKENDS, Backend, Hosts, VIP_V4, VIP_V6};
use crate::mode::Mode;
use crate::namespace::Namespace;

/// The one backend of tests in which backends answer from the VIP: all are one host there, which could not tell for
/// whom of them a packet is.
pub const SOLE: Backend = BACKENDS[4];

/// What lies between the hosts.
#[derive(Clone, Copy, Debug)]
pub struct Topology {
    mode: Mode,
    mtu: u32,
    inside_mtu: Option<u32>,
    towards_client: Option<u32>,
    towards_backends: Option<u32>,
    room_for_tunnel: bool,
    backend_setup: bool,
    one_armed: bool,
}

impl Topology {
    /// Routers between all hosts, for backends of `mode`.
    pub fn routed(mode: Mode) -> Self {
        Self {
            mode,
            mtu: 1500,
            inside_mtu: None,
            towards_client: None,
            towards_backends: None,
            room_for_tunnel: true,
            backend_setup: true,
            one_armed: false,
        }
    }

    /// One switch for all hosts.
    pub fn one_armed(mode: Mode) -> Self {
        Self {
            one_armed: true,
            ..Self::routed(mode)
        }
    }

    /// One switch for all hosts, and a host for each backend, which answers what is sent to the VIP past the balancer, and
    /// what is sent to its own addresses through it.
    pub fn apart() -> Result<Hosts> {
        Self::one_armed(Mode::Ipip).build_apart()
    }

    /// Bytes of a packet that every wire carries; 1500 unless told.
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = mtu;
        self
    }

    /// Bytes of a packet on the wire that leaves the balancer towards the backends.
    pub fn inside_mtu(mut self, mtu: u32) -> Self {
        self.inside_mtu = Some(mtu);
        self
    }

    /// The edge router refuses larger packets to the client, and says so to their sender.
    pub fn narrow_towards_client(mut self, mtu: u32) -> Self {
        self.towards_client = Some(mtu);
        self
    }

    /// The inner router refuses larger packets to backends, and says so to their sender.
    pub fn narrow_towards_backends(mut self, mtu: u32) -> Self {
        self.towards_backends = Some(mtu);
        self
    }

    /// Backends of `ipip` do not ask their clients to leave room for the outer header, as `backend-setup` makes them.
    pub fn without_room_for_tunnel(mut self) -> Self {
        self.room_for_tunnel = false;
        self
    }

    /// Backends lack what modes ask of them: no VIP, no silence about it, no room for the outer header.
    pub fn without_backend_setup(mut self) -> Self {
        self.room_for_tunnel = false;
        self.backend_setup = false;
        self
    }

    /// Whether backends have what modes ask of them, but for a decapsulator.
    pub fn has_backend_setup(&self) -> bool {
        self.backend_setup
    }

    /// Makes the hosts, wires and routes.
    pub fn build(self) -> Result<Hosts> {
        let hosts = if self.one_armed {
            self.build_one_armed()?
        } else {
            self.build_routed()?
        };
        if self.mode.is_one_way() && self.backend_setup {
            answer_from_vip(&hosts.backends)?;
        }
        hosts.await_path("198.18.1.1")?;
        Ok(hosts)
    }

    fn build_routed(self) -> Result<Hosts> {
        let mut hosts = self.hosts()?;
        let edge = Namespace::new("edge")?.prepared()?;
        hosts.client.wire("eth0", &edge, "eth0", self.mtu)?;
        hosts.balancer.wire("eth0", &edge, "eth1", self.mtu)?;
        hosts.backends.wire("eth1", &edge, "eth2", self.mtu)?;
        let inside_mtu = self.inside_mtu.unwrap_or(self.mtu);

        let inner = if self.mode == Mode::DsrL2 {
            hosts
                .balancer
                .wire("eth1", &hosts.backends, "eth0", inside_mtu)?;
            hosts
                .balancer
                .addresses("eth1", "198.18.2.1/24 2001:db8:2::1/64")?;
            None
        } else {
            let inner = Namespace::new("inner")?.prepared()?;
            hosts.balancer.wire("eth1", &inner, "eth0", inside_mtu)?;
            hosts
                .backends
                .wire("eth0", &inner, "eth1", self.mtu.max(inside_mtu))?;
            hosts
                .balancer
                .addresses("eth1", "198.18.3.1/24 2001:db8:3::1/64")?;
            inner.addresses("eth0", "198.18.3.2/24 2001:db8:3::2/64")?;
            inner.addresses("eth1", "198.18.2.1/24 2001:db8:2::1/64")?;
            inner.forward()?;
            inner.routes("default via 198.18.3.1, default via 2001:db8:3::1")?;
            hosts
                .balancer
                .routes("198.18.2.0/24 via 198.18.3.2, 2001:db8:2::/64 via 2001:db8:3::2")?;
            Some(inner)
        };

        hosts
            .client
            .addresses("eth0", "198.18.4.10/24 2001:db8:4::10/64")?;
        hosts
            .client
            .routes("default via 198.18.4.1, default via 2001:db8:4::1")?;
        edge.addresses("eth0", "198.18.4.1/24 2001:db8:4::1/64")?;
        edge.addresses("eth1", "198.18.1.2/24 2001:db8:1::2/64")?;
        edge.addresses("eth2", "198.18.5.1/24 2001:db8:5::1/64")?;
        edge.forward()?;
        edge.routes("198.18.2.0/24 via 198.18.1.1, 2001:db8:2::/64 via 2001:db8:1::1")?;
        hosts
            .balancer
            .addresses("eth0", "198.18.1.1/24 2001:db8:1::1/64")?;
        hosts
            .balancer
            .routes("default via 198.18.1.2, default via 2001:db8:1::2")?;
        hosts.backends.backend_addresses("eth0")?;
        hosts
            .backends
            .addresses("eth1", "198.18.5.2/24 2001:db8:5::2/64")?;
        self.route_backends(&hosts)?;
        self.narrow(&edge, inner.as_ref())?;
        hosts.own_vips("eth0")?;
        hosts.edge = Some(edge);
        hosts.inner = inner;
        Ok(hosts)
    }

    fn build_one_armed(self) -> Result<Hosts> {
        let mut hosts = self.hosts()?;
        let switch = self.switch(&hosts)?;
        self.plug(&hosts.backends, &switch, 3)?;
        hosts.backends.backend_addresses("eth0")?;
        hosts
            .backends
            .routes("default via 198.18.2.1, default via 2001:db8:2::1")?;
        if self.mode.is_one_way() {
            self.route_past_balancer(&hosts.backends, "")?;
        }
        hosts.edge = Some(switch);
        hosts.interfaces = &["eth0"];
        Ok(hosts)
    }

    fn build_apart(self) -> Result<Hosts> {
        let mut hosts = self.hosts()?;
        let switch = self.switch(&hosts)?;
        for (port, backend) in (3..).zip(&BACKENDS) {
            let host = if port == 3 {
                hosts.backends.clone()
            } else {
                Namespace::new(backend.name)?.prepared()?
            };
            self.plug(&host, &switch, port)?;
            host.addresses("eth0", &format!("{}/24 {}/64", backend.v4, backend.v6))?;
            host.routes("default via 198.18.2.1, default via 2001:db8:2::1")?;
            answer_from_vip(&host)?;
            self.route_past_balancer(&host, " table 100")?;
            host.ip(&format!("rule add from {VIP_V4} lookup 100\n"))?;
            host.exec(&format!("ip -6 rule add from {VIP_V6} lookup 100"))?;
            hosts.apart.push((backend, host));
        }
        hosts.edge = Some(switch);
        hosts.at_vip = None;
        hosts.interfaces = &["eth0"];
        hosts.await_path("198.18.1.1")?;
        Ok(hosts)
    }

    /// The switch, with the client and the balancer on it.
    fn switch(self, hosts: &Hosts) -> Result<Namespace> {
        let switch = Namespace::new("switch")?.prepared()?;
        switch.ip(&format!(
            "link add bridge mtu {} type bridge mcast_snooping 0\nlink set bridge up\n",
            self.mtu
        ))?;
        self.plug(&hosts.client, &switch, 1)?;
        self.plug(&hosts.balancer, &switch, 2)?;
        hosts
            .client
            .addresses("eth0", "198.18.1.10/24 2001:db8:1::10/64")?;
        hosts
            .client
            .routes("default via 198.18.1.1, default via 2001:db8:1::1")?;
        hosts.balancer.addresses(
            "eth0",
            "198.18.1.1/24 2001:db8:1::1/64 198.18.2.1/24 2001:db8:2::1/64",
        )?;
        hosts.own_vips("eth0")?;
        Ok(switch)
    }

    /// Connects `eth0` of `host` with a port of the switch.
    fn plug(self, host: &Namespace, switch: &Namespace, port: u8) -> Result<()> {
        host.wire("eth0", switch, &format!("port{port}"), self.mtu)?;
        switch.exec(&format!("ip link set port{port} master bridge"))?;
        Ok(())
    }

    /// Gives a backend on the switch a way to the client that does without the balancer.
    fn route_past_balancer(self, backend: &Namespace, table: &str) -> Result<()> {
        backend.routes(&format!(
            "198.18.1.0/24 dev eth0{}{table}, 2001:db8:1::/64 dev eth0{}{table}",
            self.advmss(20),
            self.advmss(40)
        ))
    }

    fn hosts(self) -> Result<Hosts> {
        let hosts = Hosts::unwired()?;
        for host in [&hosts.client, &hosts.balancer, &hosts.backends] {
            host.clone().prepared()?;
        }
        hosts.balancer.forward()?;
        hosts
            .client
            .sysctl("ipv4/ip_local_port_range", "1024 65535")?;
        Ok(Hosts {
            at_vip: self.mode.is_one_way().then_some(&SOLE),
            ..hosts
        })
    }

    fn route_backends(self, hosts: &Hosts) -> Result<()> {
        if self.mode == Mode::Dnat {
            return hosts
                .backends
                .routes("default via 198.18.2.1, default via 2001:db8:2::1");
        }
        hosts.backends.routes(&format!(
            "default via 198.18.5.1{}, default via 2001:db8:5::1{}",
            self.advmss(20),
            self.advmss(40)
        ))?;
        // Translated sources are the balancer's own.
        hosts
            .backends
            .routes("198.18.3.0/24 via 198.18.2.1, 2001:db8:3::/64 via 2001:db8:2::1")
    }

    /// The option of a route by which backends ask their clients for segments that an outer header of `outer` bytes
    /// leaves room for.
    fn advmss(self, outer: u32) -> String {
        if self.mode != Mode::Ipip || !self.room_for_tunnel {
            return String::new();
        }
        // The inner header has the outer one's length; TCP's has 20 bytes.
        format!(" advmss {}", self.mtu - outer - outer - 20)
    }

    /// A locked MTU is kept by the kernel for what it forwards, too.
    fn narrow(self, edge: &Namespace, inner: Option<&Namespace>) -> Result<()> {
        if let Some(mtu) = self.towards_client {
            edge.ip(&narrow_routes(4, "eth0", 1, mtu))?;
        }
        if let (Some(mtu), Some(inner)) = (self.towards_backends, inner) {
            inner.ip(&narrow_routes(2, "eth1", 1, mtu))?;
        }
        Ok(())
    }
}

fn narrow_routes(network: u8, device: &str, own: u8, mtu: u32) -> String {
    format!(
        "route replace 198.18.{network}.0/24 dev {device} proto kernel scope link src 198.18.{network}.{own} mtu lock {mtu}\n\
         route del 2001:db8:{network}::/64 dev {device}\n\
         route add 2001:db8:{network}::/64 dev {device} mtu lock {mtu}\n"
    )
}

/// What a backend that answers from the VIP needs: the VIP, and silence about it.
fn answer_from_vip(backends: &Namespace) -> Result<()> {
    backends.sysctl("ipv4/conf/all/arp_ignore", "1")?;
    backends.sysctl("ipv4/conf/all/arp_announce", "2")?;
    backends.ip(&format!(
        "addr add {VIP_V4}/32 dev lo\naddr add {VIP_V6}/128 dev lo nodad\n"
    ))
}

/// Wires and addresses.
impl Namespace {
    /// Sets what every host of the lab needs; call it before there are devices.
    fn prepared(self) -> Result<Self> {
        self.forget_delays()?;
        for scope in ["all", "default"] {
            // On one switch a router would tell its neighbours to do without it.
            self.sysctl(&format!("ipv4/conf/{scope}/accept_redirects"), "0")?;
            self.sysctl(&format!("ipv6/conf/{scope}/accept_redirects"), "0")?;
        }
        Ok(self)
    }

    /// Connects `device` here with `far` of another host, both up, and ready for a peer that speaks XDP.
    fn wire(&self, device: &str, other: &Self, far: &str, mtu: u32) -> Result<()> {
        self.ip(&format!(
            "link add {device} mtu {mtu} type veth peer name {far} mtu {mtu} netns {}\n",
            other.name()
        ))?;
        let ends = [(other, far), (self, device)];
        for (host, device) in ends {
            // A veth leaves checksums undone that the program would then forward broken (tx), and drops what XDP sends
            // into it unless it polls (gro). The other end looks for that when it comes up, which is later.
            host.exec(&format!("ethtool -K {device} tx off gro on"))?;
        }
        for (host, device) in ends {
            host.exec(&format!("ip link set {device} up"))?;
        }
        Ok(())
    }

    /// Adds addresses with their prefixes, parted by spaces.
    fn addresses(&self, device: &str, addresses: &str) -> Result<()> {
        let line = |address: &str| {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            format!("addr add {address} dev {device}{nodad}\n")
        };
        self.ip(&addresses.split_whitespace().map(line).collect::<String>())
    }

    fn backend_addresses(&self, device: &str) -> Result<()> {
        for Backend { v4, v6, .. } in &BACKENDS {
            self.addresses(device, &format!("{v4}/24 {v6}/64"))?;
        }
        Ok(())
    }

    /// Adds routes, parted by commas.
    fn routes(&self, routes: &str) -> Result<()> {
        let line = |route: &str| format!("route add {}\n", route.trim());
        self.ip(&routes.split(',').map(line).collect::<String>())
    }

    /// Makes it a router.
    fn forward(&self) -> Result<()> {
        self.sysctl("ipv4/ip_forward", "1")?;
        self.sysctl("ipv6/conf/all/forwarding", "1")
    }
}

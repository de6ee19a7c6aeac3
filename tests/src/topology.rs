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

mod routed;
mod switch;
mod wires;

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

    /// The option of a route by which backends ask their clients for segments that an outer header of `outer` bytes
    /// leaves room for.
    fn advmss(self, outer: u32) -> String {
        if self.mode != Mode::Ipip || !self.room_for_tunnel {
            return String::new();
        }
        // The inner header has the outer one's length; TCP's has 20 bytes.
        format!(" advmss {}", self.mtu - outer - outer - 20)
    }
}

/// What a backend that answers from the VIP needs: the VIP, and silence about it.
fn answer_from_vip(backends: &Namespace) -> Result<()> {
    backends.sysctl("ipv4/conf/all/arp_ignore", "1")?;
    backends.sysctl("ipv4/conf/all/arp_announce", "2")?;
    backends.ip(&format!(
        "addr add {VIP_V4}/32 dev lo\naddr add {VIP_V6}/128 dev lo nodad\n"
    ))
}

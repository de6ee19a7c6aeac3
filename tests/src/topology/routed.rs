//! Routers between all hosts.

use anyhow::Result;

use super::Topology;
use crate::hosts::Hosts;
use crate::mode::Mode;
use crate::namespace::Namespace;

impl Topology {
    pub(super) fn build_routed(self) -> Result<Hosts> {
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

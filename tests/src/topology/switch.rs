//! One switch for all hosts.

use anyhow::Result;

use super::{Topology, answer_from_vip};
use crate::hosts::{BACKENDS, Hosts, VIP_V4, VIP_V6};
use crate::namespace::Namespace;

impl Topology {
    pub(super) fn build_one_armed(self) -> Result<Hosts> {
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

    pub(super) fn build_apart(self) -> Result<Hosts> {
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
}

//! Wires, addresses and routes of the hosts of a topology.

use anyhow::Result;

use crate::hosts::{BACKENDS, Backend};
use crate::namespace::Namespace;

impl Namespace {
    /// Sets what every host of the lab needs; call it before there are devices.
    pub(super) fn prepared(self) -> Result<Self> {
        self.forget_delays()?;
        for scope in ["all", "default"] {
            // On one switch a router would tell its neighbours to do without it.
            self.sysctl(&format!("ipv4/conf/{scope}/accept_redirects"), "0")?;
            self.sysctl(&format!("ipv6/conf/{scope}/accept_redirects"), "0")?;
        }
        Ok(self)
    }

    /// Connects `device` here with `far` of another host, both up, and ready for a peer that speaks XDP.
    pub(super) fn wire(&self, device: &str, other: &Self, far: &str, mtu: u32) -> Result<()> {
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
    pub(super) fn addresses(&self, device: &str, addresses: &str) -> Result<()> {
        let line = |address: &str| {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            format!("addr add {address} dev {device}{nodad}\n")
        };
        self.ip(&addresses.split_whitespace().map(line).collect::<String>())
    }

    pub(super) fn backend_addresses(&self, device: &str) -> Result<()> {
        for Backend { v4, v6, .. } in &BACKENDS {
            self.addresses(device, &format!("{v4}/24 {v6}/64"))?;
        }
        Ok(())
    }

    /// Adds routes, parted by commas.
    pub(super) fn routes(&self, routes: &str) -> Result<()> {
        let line = |route: &str| format!("route add {}\n", route.trim());
        self.ip(&routes.split(',').map(line).collect::<String>())
    }

    /// Makes it a router.
    pub(super) fn forward(&self) -> Result<()> {
        self.sysctl("ipv4/ip_forward", "1")?;
        self.sysctl("ipv6/conf/all/forwarding", "1")
    }
}

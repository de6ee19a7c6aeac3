//! Backends behind an 802.1Q interface: packets leave tagged by the interface below it, and tagged replies come back untagged.

use anyhow::Result;
use lab::{Agent, BACKENDS, Backend, Hosts, Nginx, Service, Site};

/// Hosts whose balancer and backends speak in VLAN 100.
///
/// ```text
/// client eth0 ---- eth0 balancer eth1 (eth1.100) ==== eth0 (eth0.100) backends
/// ```
fn tagged() -> Result<Hosts> {
    let hosts = Hosts::new()?;
    for (host, device) in [(&hosts.balancer, "eth1"), (&hosts.backends, "eth0")] {
        // A tag that is kept beside the frame is one that XDP does not see.
        host.exec(&format!("ethtool -K {device} txvlan off rxvlan off"))?;
        host.ip(&format!(
            "addr flush dev {device}\n\
             link add link {device} name {device}.100 type vlan id 100\n\
             link set {device}.100 up\n"
        ))?;
    }
    hosts.balancer.ip("addr add 198.18.2.1/24 dev eth1.100\n\
         addr add 2001:db8:2::1/64 dev eth1.100 nodad\n")?;
    hosts.backends.exec("ethtool -K eth0.100 tx off")?;
    let mut lines = String::new();
    for Backend { v4, v6, .. } in &BACKENDS {
        lines += &format!("addr add {v4}/24 dev eth0.100\naddr add {v6}/64 dev eth0.100 nodad\n");
    }
    lines += "route replace default via 198.18.2.1\nroute replace default via 2001:db8:2::1\n";
    hosts.backends.ip(&lines)?;
    Ok(hosts)
}

#[test]
fn backends_behind_an_802_1q_interface_are_served_through_the_interface_below_it() -> Result<()> {
    let hosts = tagged()?;
    let nginx = Nginx::start(&hosts)?;
    let agent = Agent::start(&hosts)?;
    agent.apply(&Service::web(&[("blue", "50%"), ("green", "50%")]))?;
    let site = Site {
        agent,
        nginx,
        hosts,
    };
    let load = site.load().one_shot(4).requests(40);
    load.run_to_end(&site.hosts.client)?.assert_nothing_lost();
    Ok(())
}

//! The program on a bond: the kernel runs it on the slaves, and what it sends leaves by the master.

use std::time::Duration;

use anyhow::Result;
use lab::{
    Agent, Configuration, Hosts, Namespace, Nginx, Service, Site, VIP_V4, VIP_V6, await_until, ping,
};

/// Hosts whose client and balancer are joined by two wires with a bond at each end.
///
/// ```text
/// client bond0 (eth0, eth2) ==== bond0 (eth0, eth2) balancer eth1 ---- backends
/// ```
fn bonded(mode: &str) -> Result<Hosts> {
    let hosts = Hosts::new()?;
    let (client, balancer) = (&hosts.client, &hosts.balancer);
    balancer.exec(&format!(
        "ip link add eth2 type veth peer name eth2 netns {}",
        client.name()
    ))?;
    for host in [client, balancer] {
        host.exec("ethtool -K eth2 tx off gro on")?;
        host.ip(&format!(
            "addr flush dev eth0\n\
             link add bond0 type bond mode {mode} miimon 100\n\
             link set eth0 down\n\
             link set eth2 down\n\
             link set eth0 master bond0\n\
             link set eth2 master bond0\n\
             link set bond0 up\n"
        ))?;
    }
    client.exec("ethtool -K bond0 tx off")?;
    client.ip("addr add 198.18.1.10/24 dev bond0\n\
         addr add 2001:db8:1::10/64 dev bond0 nodad\n\
         route add default via 198.18.1.1\n\
         route add default via 2001:db8:1::1\n")?;
    balancer.ip(&format!(
        "addr add 198.18.1.1/24 dev bond0\n\
         addr add 2001:db8:1::1/64 dev bond0 nodad\n\
         addr add {VIP_V6}/128 dev bond0 nodad\n"
    ))?;
    await_wires(client, 2)?;
    await_wires(balancer, 2)?;
    Ok(hosts)
}

/// Waits until the bond says that so many of its wires are up.
fn await_wires(host: &Namespace, wires: usize) -> Result<()> {
    let what = format!("{wires} wires of {}'s bond to be up", host.name());
    await_until(Duration::from_secs(30), &what, || {
        // The bond itself, and each of its slaves.
        host.exec("cat /proc/net/bonding/bond0")
            .is_ok_and(|text| text.matches("MII Status: up").count() == wires + 1)
    })
}

fn site(mode: &str) -> Result<Site> {
    let hosts = bonded(mode)?;
    let nginx = Nginx::start(&hosts)?;
    let agent = Agent::start_with(&hosts, &Configuration::new().interfaces(&["bond0", "eth1"]))?;
    agent.apply(&Service::web(&[("blue", "50%"), ("green", "50%")]))?;
    let site = Site {
        agent,
        nginx,
        hosts,
    };
    await_echo(&site)?;
    Ok(site)
}

/// Waits until the wires carry packets: a bond forms after its wires are up.
fn await_echo(site: &Site) -> Result<()> {
    await_until(Duration::from_secs(60), "an echo over the bond", || {
        ping(&site.hosts.client, VIP_V4).is_ok() && ping(&site.hosts.client, VIP_V6).is_ok()
    })
}

/// Every connection comes through, and was the program's: the kernel alone would refuse all of them.
fn carries_connections(site: &Site) -> Result<()> {
    let load = site.load().one_shot(4).requests(40);
    load.run_to_end(&site.hosts.client)?.assert_nothing_lost();
    Ok(())
}

fn runs_natively_on_the_bond(site: &Site) -> Result<()> {
    // On the slaves it runs, too, but as the master's.
    let link = site
        .hosts
        .balancer
        .exec("ip -details link show dev bond0")?;
    assert!(
        link.contains("prog/xdp") && !link.contains("xdpgeneric"),
        "{link}"
    );
    let status = site.agent.json("status")?;
    assert_eq!(status["interfaces"][0]["name"], "bond0", "{status}");
    assert_eq!(status["interfaces"][0]["xdpMode"], "native", "{status}");
    Ok(())
}

#[test]
fn an_active_backup_bond_runs_the_program_natively_and_goes_on_when_a_wire_breaks() -> Result<()> {
    let site = site("active-backup")?;
    runs_natively_on_the_bond(&site)?;
    carries_connections(&site)?;
    for host in [&site.hosts.client, &site.hosts.balancer] {
        host.exec("ip link set eth0 down")?;
        await_wires(host, 1)?;
    }
    await_echo(&site)?;
    carries_connections(&site)
}

#[test]
fn a_bond_of_802_3ad_runs_the_program_natively_which_passes_the_bonds_own_protocol() -> Result<()> {
    let site = site("802.3ad lacp_rate fast")?;
    runs_natively_on_the_bond(&site)?;
    carries_connections(&site)?;
    let bond = site.hosts.balancer.exec("cat /proc/net/bonding/bond0")?;
    // Without the other side's LACPDUs each wire would be an aggregate of its own.
    assert!(bond.contains("Number of ports: 2"), "{bond}");
    Ok(())
}

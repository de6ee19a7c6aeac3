//! Starts that fail at one of several interfaces: what carried a program goes on with it.

use anyhow::Result;
use lab::{BRIEF, Configuration, Hosts, Service, Site};
use serde_json::Value;

use super::host::program;

/// Takes no native XDP: a bridge has no driver that could.
const BRIDGE: &str = "br9";
/// Takes it: a veth.
const SPARE: &str = "spare0";

fn web() -> Service {
    Service::web(&[("blue", "60%"), ("green", "40%")]).with(BRIEF)
}

fn configuration(interfaces: &[&str], mode: &str) -> Configuration {
    Configuration::new().interfaces(interfaces).xdp_mode(mode)
}

fn programs(hosts: &Hosts) -> Result<[Option<u64>; 2]> {
    Ok([program(hosts, "eth0")?, program(hosts, "eth1")?])
}

/// Whether an interface carries a program in generic mode.
fn is_generic(hosts: &Hosts, interface: &str) -> Result<bool> {
    let said = hosts
        .balancer
        .exec(&format!("ip -json link show dev {interface}"))?;
    let links: Value = serde_json::from_str(&said)?;
    // As <linux/if_link.h> counts them: 1 native, 2 generic.
    Ok(links[0]["xdp"]["mode"] == 2)
}

#[test]
fn a_start_that_fails_at_its_last_interface_leaves_every_program_as_it_was() -> Result<()> {
    let mut site = Site::serving(&web())?;
    let add = format!("ip link add {SPARE} type veth peer name spare1");
    site.hosts.balancer.exec(&add)?;
    let load = site.load().keep_alive(8).start(&site.hosts.client)?;
    let before = programs(&site.hosts)?;
    site.agent.stop()?;
    site.hosts
        .balancer
        .exec(&format!("ip link add {BRIDGE} type bridge"))?;
    let all = ["eth0", "eth1", SPARE, BRIDGE];
    site.agent.reconfigure(&configuration(&all, "native"))?;
    site.agent
        .run(&[])?
        .assert_refused(1, &[BRIDGE, "Native", "\"generic\" or \"auto\""]);
    assert_eq!(programs(&site.hosts)?, before, "the old program goes on");
    assert_eq!(program(&site.hosts, SPARE)?, None, "what was made is gone");
    site.agent
        .reconfigure(&configuration(&all[..3], "native"))?;
    site.agent.restart()?;
    let after = programs(&site.hosts)?;
    assert!(after[0].is_some() && after != before, "{after:?}");
    assert_eq!(program(&site.hosts, SPARE)?, after[0]);
    load.stop()?.assert_nothing_lost();
    Ok(())
}

#[test]
fn an_interface_that_refuses_another_mode_goes_on_in_the_one_that_it_had() -> Result<()> {
    let hosts = Hosts::new()?;
    hosts
        .balancer
        .exec(&format!("ip link add {BRIDGE} type bridge"))?;
    let all = ["eth0", "eth1", BRIDGE];
    let mut site = Site::on(hosts, &Configuration::new(), &web())?;
    site.agent.reconfigure(&configuration(&all, "generic"))?;
    site.agent.restart()?;
    assert!(is_generic(&site.hosts, BRIDGE)?);
    site.agent.stop()?;
    site.agent.reconfigure(&configuration(&all, "native"))?;
    site.agent.run(&[])?.assert_refused(1, &[BRIDGE, "Native"]);
    assert!(is_generic(&site.hosts, BRIDGE)?, "it carries none any more");
    let answers = site.load().one_shot(2).requests(40);
    answers
        .run_to_end(&site.hosts.client)?
        .assert_nothing_lost();
    Ok(())
}

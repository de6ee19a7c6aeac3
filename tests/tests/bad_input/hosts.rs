//! Hosts on which the agent cannot work.

use anyhow::Result;
use lab::{Agent, Answer, Configuration, ForeignXdp, Hosts, Service};

use super::{nothing_changes, site};

/// Starts an agent that must refuse, and returns what it says.
fn refusal(hosts: &Hosts, configuration: &Configuration) -> Result<Answer> {
    let agent = Agent::prepare(hosts, configuration)?;
    let answer = agent.run(&[])?;
    let link = hosts.balancer.exec("ip link show dev eth1")?;
    assert!(
        !link.contains("xdp"),
        "a refused start left something attached: {link}"
    );
    Ok(answer)
}

#[test]
fn an_unknown_interface_is_refused_with_those_there_are() -> Result<()> {
    let hosts = Hosts::new()?;
    let answer = refusal(&hosts, &Configuration::new().interfaces(&["eth1", "eth7"]))?;
    answer.assert_refused(1, &["eth7", "eth0"]);
    Ok(())
}

#[test]
fn the_loopback_is_refused() -> Result<()> {
    let hosts = Hosts::new()?;
    refusal(&hosts, &Configuration::new().interfaces(&["lo"]))?.assert_refused(1, &["lo"]);
    Ok(())
}

#[test]
fn an_interface_with_another_xdp_program_is_refused_and_left_alone() -> Result<()> {
    let hosts = Hosts::new()?;
    let _foreign = ForeignXdp::attach(&hosts.balancer, "eth0")?;
    let before = hosts.balancer.exec("ip link show dev eth0")?;
    refusal(&hosts, &Configuration::new())?.assert_refused(1, &["eth0", "XDP"]);
    assert_eq!(hosts.balancer.exec("ip link show dev eth0")?, before);
    Ok(())
}

#[test]
fn the_interface_of_an_agent_with_another_name_is_refused() -> Result<()> {
    let site = site()?;
    let other = Agent::prepare(
        &site.hosts,
        &Configuration::new()
            .name("other")
            .with("[metrics]\nlisten = \"127.0.0.1:9902\""),
    )?;
    nothing_changes(&site, || other.run(&[]))?.assert_refused(1, &["eth0", "XDP"]);
    site.load()
        .one_shot(2)
        .requests(20)
        .run_to_end(&site.hosts.client)?
        .assert_nothing_lost();
    Ok(())
}

#[test]
fn a_second_agent_with_the_same_name_is_refused_with_the_first_ones_pid() -> Result<()> {
    let site = site()?;
    let pid = site.agent.pid().unwrap().to_string();
    // The very same configuration.
    nothing_changes(&site, || site.agent.run(&[]))?.assert_refused(1, &[&pid]);
    Ok(())
}

#[test]
fn missing_privileges_are_named() -> Result<()> {
    let hosts = Hosts::new()?;
    let agent = Agent::prepare(&hosts, &Configuration::new())?;
    // Nobody.
    agent.run_as(65_534)?.assert_refused(1, &["root"]);
    Ok(())
}

#[test]
fn a_bpffs_that_cannot_be_is_refused_by_path() -> Result<()> {
    let hosts = Hosts::new()?;
    let scratch = lab::Scratch::new("nobpffs")?;
    let file = scratch.write("file", "not a directory")?;
    let configuration = Configuration::new().path("bpffs", &file);
    refusal(&hosts, &configuration)?.assert_refused(1, &["bpffs", &file.display().to_string()]);
    Ok(())
}

#[test]
fn a_missing_bpffs_is_mounted() -> Result<()> {
    let hosts = Hosts::new()?;
    let configuration = Configuration::new();
    let mut agent = Agent::prepare(&hosts, &configuration)?;
    agent.unmount_bpffs()?;
    agent.restart()?;
    agent.apply(&Service::web(&[("blue", "100%")]))?;
    agent.kill9()?;
    agent.restart()?;
    assert_eq!(agent.service("web")?["tracks"][0]["slots"], 65_536);
    Ok(())
}

//! Configurations and states with which the agent must not start.

use anyhow::Result;
use lab::{Agent, Configuration, Hosts};

use super::site;

/// What `--check-config` and a start say to a configuration with one more line.
fn assert_refused(line: &str, words: &[&str]) -> Result<()> {
    let hosts = Hosts::new()?;
    let agent = Agent::prepare(&hosts, &Configuration::new().with(line))?;
    agent.run(&["--check-config"])?.assert_refused(1, words);
    agent.run(&[])?.assert_refused(1, words);
    Ok(())
}

#[test]
fn an_unknown_key_is_refused_with_the_known_ones() -> Result<()> {
    assert_refused(
        "interfaecs = [\"eth0\"]",
        &["interfaecs", "interfaces", "state_dir"],
    )
}

#[test]
fn a_limit_of_zero_flows_is_refused() -> Result<()> {
    assert_refused("[limits]\nflows = 0", &["flows", "0"])
}

#[test]
fn a_role_for_nobody_is_refused() -> Result<()> {
    assert_refused(
        "[roles]\nviewer = [\"somebody\"]",
        &["roles.viewer[0]", "somebody", "uid:1000"],
    )
}

#[test]
fn an_address_of_nat_that_nobody_can_have_is_refused() -> Result<()> {
    assert_refused(
        "[nat]\naddresses = [\"224.0.0.1\"]",
        &["nat.addresses[0]", "224.0.0.1", "multicast", "unicast"],
    )
}

#[test]
fn ports_of_nat_that_are_no_range_are_refused() -> Result<()> {
    assert_refused(
        "[nat]\nports = \"32767-10240\"",
        &["nat.ports", "32767-10240", "10240-32767"],
    )
}

#[test]
fn an_outer_source_with_bits_beyond_its_prefix_is_refused() -> Result<()> {
    assert_refused(
        "[tunnel]\nouter_source_v4 = \"198.19.0.1/16\"",
        &["tunnel.outer_source_v4", "198.19.0.1/16", "198.19.0.0"],
    )
}

#[test]
fn an_outer_source_of_the_other_family_is_refused() -> Result<()> {
    assert_refused(
        "[tunnel]\nouter_source_v6 = \"198.19.0.0/16\"",
        &[
            "tunnel.outer_source_v6",
            "198.19.0.0/16",
            "2001:db8:ffff::/64",
        ],
    )
}

#[test]
fn a_cap_below_zero_is_refused() -> Result<()> {
    assert_refused(
        "[limits]\nnew_flows_per_second = -1",
        &["limits.new_flows_per_second", "-1", "from 0"],
    )
}

#[test]
fn an_outer_source_that_does_not_vary_is_warned_of_and_taken() -> Result<()> {
    let hosts = Hosts::new()?;
    let line = "[tunnel]\nouter_source_v4 = \"198.19.0.1/32\"";
    let agent = Agent::prepare(&hosts, &Configuration::new().with(line))?;
    let answer = agent.run(&["--check-config"])?;
    assert!(
        answer.stderr.contains("tunnel.outer_source_v4"),
        "{answer:?}"
    );
    answer.succeeded()?;
    Ok(())
}

#[test]
fn a_metrics_address_that_is_none_is_refused() -> Result<()> {
    assert_refused("[metrics]\nlisten = \"nowhere\"", &["nowhere"])
}

#[test]
fn an_unknown_xdp_mode_is_refused_with_those_allowed() -> Result<()> {
    let hosts = Hosts::new()?;
    let agent = Agent::prepare(&hosts, &Configuration::new().xdp_mode("warp"))?;
    agent
        .run(&["--check-config"])?
        .assert_refused(1, &["warp", "native", "generic", "auto"]);
    Ok(())
}

#[test]
fn no_interface_is_refused() -> Result<()> {
    let hosts = Hosts::new()?;
    let agent = Agent::prepare(&hosts, &Configuration::new().interfaces(&[]))?;
    agent
        .run(&["--check-config"])?
        .assert_refused(1, &["interfaces"]);
    Ok(())
}

#[test]
fn a_good_configuration_is_called_good_and_starts_nothing() -> Result<()> {
    let hosts = Hosts::new()?;
    let agent = Agent::prepare(&hosts, &Configuration::new())?;
    agent.run(&["--check-config"])?.succeeded()?;
    assert!(
        !hosts
            .balancer
            .exec("ip link show dev eth0")?
            .contains("xdp")
    );
    assert!(!agent.socket().exists());
    Ok(())
}

#[test]
fn a_corrupt_state_file_is_refused_by_path_and_traffic_goes_on() -> Result<()> {
    let mut site = site()?;
    let load = site.load().keep_alive(8).start(&site.hosts.client)?;
    lab::await_until(lab::SOON, "8 open connections", || {
        load.totals().flows() == 8
    })?;
    let before = site.split()?;
    site.agent.stop()?;

    let journal = journal(&site.agent)?;
    let whole = std::fs::read(&journal)?;
    let mut spoiled = whole.clone();
    let length = spoiled.len().min(64);
    spoiled[..length].fill(0x5a);
    std::fs::write(&journal, &spoiled)?;
    let answer = site.agent.run(&[])?;
    answer.assert_refused(1, &[&journal.display().to_string(), "corrupt"]);
    assert_eq!(
        std::fs::read(&journal)?,
        spoiled,
        "a damaged file is evidence: it stays as it is"
    );
    site.load()
        .one_shot(2)
        .requests(50)
        .run_to_end(&site.hosts.client)?
        .assert_nothing_lost();

    // Restored, it goes on where it was.
    std::fs::write(&journal, whole)?;
    site.agent.restart()?;
    assert_eq!(site.split()?, before);
    load.stop()?.assert_nothing_lost();
    Ok(())
}

/// The SQLite file in the state directory, known by its first bytes.
fn journal(agent: &Agent) -> Result<std::path::PathBuf> {
    for entry in std::fs::read_dir(agent.state_directory())? {
        let path = entry?.path();
        if path.is_file() && std::fs::read(&path)?.starts_with(b"SQLite format 3\0") {
            return Ok(path);
        }
    }
    anyhow::bail!("no SQLite file in {}", agent.state_directory().display())
}

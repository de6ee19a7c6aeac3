//! What a running agent may do, and what others may do to its files.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::Result;
use lab::{Agent, Configuration, Hosts, SOON, Site, await_until};

/// CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON, CAP_BPF.
const NEEDED: u64 = 1 << 12 | 1 << 13 | 1 << 38 | 1 << 39;

/// A line of `/proc/PID/status`, as a number of this base.
fn field(status: &str, name: &str, base: u32) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    u64::from_str_radix(line.unwrap().trim(), base).unwrap()
}

#[test]
fn every_thread_of_an_agent_that_runs_has_four_capabilities_and_gets_no_more() -> Result<()> {
    let site = Site::web(&[("blue", "50%"), ("green", "50%")])?;
    site.agent.change("cutover web --to green")?;
    site.agent.ctl("doctor")?;
    let mut threads = 0;
    for task in std::fs::read_dir(site.agent.proc("task")?)? {
        let Ok(status) = std::fs::read_to_string(task?.path().join("status")) else {
            // It ended meanwhile.
            continue;
        };
        threads += 1;
        for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
            assert_eq!(field(&status, set, 16), NEEDED, "{set}\n{status}");
        }
        for set in ["CapInh:", "CapAmb:"] {
            assert_eq!(field(&status, set, 16), 0, "{set}\n{status}");
        }
        assert_eq!(field(&status, "NoNewPrivs:", 10), 1, "{status}");
    }
    assert!(threads >= 4, "only {threads} threads were looked at");
    Ok(())
}

#[test]
fn every_verb_works_with_what_is_left() -> Result<()> {
    let mut site = Site::web(&[("blue", "50%"), ("green", "50%")])?;
    for line in [
        "get services",
        "get tracks",
        "get backends",
        "describe service web",
        "set-weight web green=30%",
        "cutover web --to green",
        "undo web",
        "drain web blue --timeout 1m",
        "ready web blue",
        "drain web 198.18.2.11:80",
        "ready web 198.18.2.11:80",
        "flows",
        "status",
        "export",
        "doctor",
        "version",
    ] {
        site.agent.ctl(line)?.succeeded()?;
    }
    site.load()
        .one_shot(4)
        .requests(40)
        .run_to_end(&site.hosts.client)?
        .assert_nothing_lost();
    // A way that it must find by itself, and one that it must find anew.
    site.agent.ctl("delete service web --now")?.succeeded()?;
    site.agent
        .apply(&lab::Service::web(&[("canary", "100%")]))?;
    site.hosts.balancer.exec("ip neigh flush dev eth1")?;
    let load = site.load().one_shot(2).start(&site.hosts.client)?;
    await_until(SOON, "answers of the canary", || {
        load.totals().requests > 20
    })?;
    load.stop()?.assert_nothing_lost();
    // It takes over what it has made, and takes it away.
    site.agent.restart()?;
    site.agent.detach()
}

#[test]
fn an_agent_that_lacks_a_capability_says_which_and_does_not_start() -> Result<()> {
    let hosts = Hosts::new()?;
    let agent = Agent::prepare(&hosts, &Configuration::new())?;
    for (lost, name) in [
        ("-net_admin", "CAP_NET_ADMIN"),
        ("-net_raw", "CAP_NET_RAW"),
        ("-bpf,-sys_admin", "CAP_BPF"),
        ("-perfmon,-sys_admin", "CAP_PERFMON"),
    ] {
        agent
            .run_without(lost, &agent.command(&[]))?
            .assert_refused(1, &["missing privileges", name]);
        let doctor = agent.ctl_command(&["doctor"]);
        let told = agent.run_without(lost, &doctor)?;
        assert!(
            told.stdout.contains(name),
            "doctor without {name}: {told:?}"
        );
    }
    Ok(())
}

#[test]
fn sockets_and_state_are_for_their_owner_alone() -> Result<()> {
    let site = Site::web(&[("blue", "50%"), ("green", "50%")])?;
    let mode = |path: &std::path::Path| -> Result<u32> {
        Ok(std::fs::metadata(path)?.permissions().mode() & 0o7777)
    };
    assert_eq!(mode(&site.agent.socket())?, 0o600, "without a group");
    let state = site.agent.state_directory();
    assert_eq!(mode(&state)?, 0o700);
    let mut files = 0;
    for file in std::fs::read_dir(&state)? {
        let path = file?.path();
        assert_eq!(mode(&path)?, 0o600, "{}", path.display());
        files += 1;
    }
    assert!(files >= 2, "the journal and the secret");
    Ok(())
}

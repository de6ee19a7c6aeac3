//! The host changes under the agent: a disk that is full, read-only or damaged, an interface that comes back, pins that
//! are gone, a program that is replaced.

use anyhow::{Context, Result};
use lab::{
    Agent, BRIEF, Configuration, Disk, Hosts, Nginx, Running, SOON, Service, Site, await_until,
};
use serde_json::Value;

use super::in_force;

fn web() -> Service {
    Service::web(&[("blue", "60%"), ("green", "40%")]).with(BRIEF)
}

/// A site whose state is on a disk of its own.
fn on_disk(kibibytes: u32) -> Result<(Disk, Site)> {
    let disk = Disk::new(kibibytes)?;
    let configuration = Configuration::new().path("state_dir", &disk.path());
    Ok((disk, Site::configured(&configuration, &web())?))
}

fn load(site: &Site) -> Result<Running> {
    let load = site.load().keep_alive(8).start(&site.hosts.client)?;
    await_until(SOON, "8 open connections", || load.totals().flows() == 8)?;
    Ok(load)
}

/// Traffic goes on: what is open, and what is new.
fn still_served(site: &Site, load: &Running) -> Result<()> {
    let asked = load.totals().requests;
    await_until(SOON, "more answers", || load.totals().requests > asked + 50)?;
    let new = site
        .load()
        .one_shot(2)
        .requests(40)
        .run_to_end(&site.hosts.client)?;
    new.assert_nothing_lost();
    Ok(())
}

fn condition(agent: &Agent, kind: &str) -> Result<Option<String>> {
    let status: Value = serde_json::from_str(&agent.ctl("status -o json")?.stdout)?;
    let conditions = status["conditions"].as_array().context("conditions")?;
    let found = conditions.iter().find(|one| one["type"] == kind);
    Ok(found.and_then(|one| Some(one["message"].as_str()?.to_owned())))
}

#[test]
fn on_a_full_disk_changes_are_refused_and_traffic_goes_on_until_there_is_room() -> Result<()> {
    let (disk, site) = on_disk(4096)?;
    let load = load(&site)?;
    let before = in_force(&site.agent)?;
    disk.fill()?;
    // Some more may fit into what the journal has taken already.
    let lines = [
        "cutover web --to green",
        "drain web 198.18.2.11:80",
        "set-weight web blue=10% green=90%",
        "ready web 198.18.2.11:80",
    ];
    let mut refused = 0;
    let mut last = before;
    for number in 0..40 {
        let answer = site.agent.ctl(lines[number % lines.len()])?;
        let now = in_force(&site.agent)?;
        if answer.code == 0 {
            last = now;
            continue;
        }
        refused += 1;
        assert!(answer.stderr.contains("no space left"), "{answer:?}");
        assert_eq!(now, last, "a change that was refused changed something");
    }
    assert!(refused > 0, "the disk was never full");
    still_served(&site, &load)?;
    disk.make_room()?;
    let generation = site
        .agent
        .change("set-weight web blue=25% green=75%")?
        .generation;
    assert!(generation > last.0);
    let (before, mut site) = (in_force(&site.agent)?, site);
    site.agent.kill9()?;
    site.agent.restart()?;
    assert_eq!(in_force(&site.agent)?, before);
    load.stop()?.assert_nothing_lost();
    Ok(())
}

#[test]
fn with_a_state_that_cannot_be_written_the_agent_does_not_start_and_traffic_goes_on() -> Result<()>
{
    let (disk, mut site) = on_disk(8192)?;
    let load = load(&site)?;
    let before = in_force(&site.agent)?;
    site.agent.stop()?;
    disk.read_only()?;
    let path = disk.path().display().to_string();
    site.agent
        .run(&[])?
        .assert_refused(1, &[&path, "read-only", "Remount"]);
    still_served(&site, &load)?;
    disk.writable()?;
    // A whole page of the journal is gone: what must be done about it is said, and nothing is done.
    let journal = disk.path().join("state.db");
    let whole = std::fs::read(&journal)?;
    let mut damaged = whole.clone();
    damaged[4096..8192].fill(0xa5);
    std::fs::write(&journal, &damaged)?;
    let answer = site.agent.run(&[])?;
    answer.assert_refused(
        1,
        &[
            "state.db is corrupt",
            "left as it is",
            "backup",
            "begin anew",
        ],
    );
    assert_eq!(std::fs::read(&journal)?, damaged, "evidence stays as it is");
    still_served(&site, &load)?;
    // Gone altogether: the data plane is not emptied.
    std::fs::rename(&journal, disk.path().join("away"))?;
    site.agent
        .run(&[])?
        .assert_refused(1, &["state_dir holds no state", "put state.db back"]);
    still_served(&site, &load)?;
    std::fs::remove_file(&journal)?;
    std::fs::rename(disk.path().join("away"), &journal)?;
    std::fs::write(&journal, &whole)?;
    site.agent.restart()?;
    assert_eq!(in_force(&site.agent)?, before);
    load.stop()?.assert_nothing_lost();
    Ok(())
}

/// The program on an interface of the balancer, by number.
pub(super) fn program(hosts: &Hosts, interface: &str) -> Result<Option<u64>> {
    let said = hosts
        .balancer
        .exec(&format!("ip -json link show dev {interface}"))?;
    let links: Value = serde_json::from_str(&said)?;
    Ok(links[0]["xdp"]["prog"]["id"].as_u64())
}

#[test]
fn a_new_program_takes_the_place_of_the_old_one_between_two_packets() -> Result<()> {
    let mut site = Site::serving(&web())?;
    let keep_alive = load(&site)?;
    let one_shot = site.load().one_shot(8).start(&site.hosts.client)?;
    for _ in 0..3 {
        let before = [program(&site.hosts, "eth0")?, program(&site.hosts, "eth1")?];
        site.agent.restart()?;
        let after = [program(&site.hosts, "eth0")?, program(&site.hosts, "eth1")?];
        assert!(after[0].is_some() && after[0] == after[1], "{after:?}");
        assert_ne!(before, after, "it is the new agent's own");
    }
    keep_alive.stop()?.assert_nothing_lost();
    one_shot.stop()?.assert_nothing_lost();
    Ok(())
}

#[test]
fn an_interface_that_comes_back_carries_the_program_again() -> Result<()> {
    let mut site = Site::serving(&web())?;
    site.load()
        .one_shot(2)
        .requests(20)
        .run_to_end(&site.hosts.client)?
        .assert_nothing_lost();
    site.hosts.balancer.exec("ip link del eth0")?;
    await_until(SOON, "the condition", || {
        condition(&site.agent, "InterfaceMissing")
            .is_ok_and(|said| said.is_some_and(|said| said.contains("eth0 is gone")))
    })?;
    site.hosts.wire_client_again()?;
    await_until(SOON, "the program", || {
        program(&site.hosts, "eth0").is_ok_and(|id| id.is_some())
    })?;
    await_until(SOON, "the condition to end", || {
        condition(&site.agent, "InterfaceMissing").is_ok_and(|said| said.is_none())
    })?;
    assert_eq!(program(&site.hosts, "eth0")?, program(&site.hosts, "eth1")?);
    let served = |site: &Site| -> Result<()> {
        site.load()
            .one_shot(2)
            .requests(40)
            .run_to_end(&site.hosts.client)?
            .assert_nothing_lost();
        Ok(())
    };
    served(&site)?;
    // The link of today is the one that lasts.
    site.agent.stop()?;
    assert!(program(&site.hosts, "eth0")?.is_some());
    served(&site)?;
    site.agent.restart()
}

#[test]
fn a_bpffs_that_is_unmounted_ends_nothing_while_the_agent_runs() -> Result<()> {
    let mut site = Site::serving(&web())?;
    let load = load(&site)?;
    let before = in_force(&site.agent)?.1;
    site.agent.detach_bpffs()?;
    await_until(SOON, "the condition", || {
        condition(&site.agent, "PinsMissing").is_ok_and(|said| said.is_some())
    })?;
    site.agent.change("cutover web --to green")?;
    still_served(&site, &load)?;
    site.agent.change("undo web")?;
    load.stop()?.assert_nothing_lost();
    // It goes with the agent, and the next one begins anew, with the split of before.
    site.agent.stop()?;
    await_until(SOON, "the program to leave", || {
        program(&site.hosts, "eth0").is_ok_and(|id| id.is_none())
            && program(&site.hosts, "eth1").is_ok_and(|id| id.is_none())
    })?;
    site.agent.restart()?;
    assert_eq!(in_force(&site.agent)?.1, before);
    assert_eq!(condition(&site.agent, "PinsMissing")?, None);
    site.load()
        .one_shot(2)
        .requests(40)
        .run_to_end(&site.hosts.client)?
        .assert_nothing_lost();
    Ok(())
}

#[test]
fn a_start_that_fails_late_leaves_the_program_and_what_it_reads_as_they_were() -> Result<()> {
    let mut site = Site::serving(&web())?;
    let load = load(&site)?;
    site.agent.stop()?;
    let before = program(&site.hosts, "eth0")?;
    // Somebody else's program is where the agent shall go too.
    let other = Configuration::new().interfaces(&["eth0", "eth1", "eth9"]);
    site.agent.reconfigure(&other)?;
    site.agent.run(&[])?.assert_refused(1, &["eth9"]);
    assert_eq!(program(&site.hosts, "eth0")?, before);
    still_served(&site, &load)?;
    load.stop()?.assert_nothing_lost();
    Ok(())
}

#[test]
fn limits_that_were_changed_are_pending_until_a_detach_and_in_force_after_it() -> Result<()> {
    let hosts = Hosts::new()?;
    let nginx = Nginx::start(&hosts)?;
    let mut agent = Agent::start(&hosts)?;
    agent.apply(&web())?;
    agent.reconfigure(&Configuration::new().with("[limits]\nbackends = 8192\nflows = 50000"))?;
    agent.restart()?;
    let said = condition(&agent, "LimitsPending")?.context("limits are pending")?;
    for part in ["4096", "8192", "65536", "detach"] {
        assert!(
            said.replace(['_', ','], "").contains(part),
            "{part}: {said}"
        );
    }
    agent.detach()?;
    agent.restart()?;
    assert_eq!(condition(&agent, "LimitsPending")?, None);
    let site = Site {
        agent,
        nginx,
        hosts,
    };
    site.load()
        .one_shot(2)
        .requests(40)
        .run_to_end(&site.hosts.client)?
        .assert_nothing_lost();
    Ok(())
}

/// An agent of the version after this one, whose maps have another layout.
const NEXT: [(&str, &str); 1] = [("SPLITTER_TEST_ABI", "1")];

#[test]
fn an_upgrade_to_another_layout_is_refused_until_a_detach_forth_and_back() -> Result<()> {
    let mut site = Site::serving(&web())?;
    site.agent.change("set-weight web blue=25% green=75%")?;
    let before = in_force(&site.agent)?;
    for (next, there) in [(&NEXT[..], &[][..]), (&[], &NEXT)] {
        let load = load(&site)?;
        site.agent.stop()?;
        // Refused, and the data plane goes on as it was.
        site.agent.environment(next);
        let answer = site.agent.run(&[])?;
        answer.assert_refused(
            1,
            &[
                "layout version",
                "this agent knows",
                "--detach",
                "cuts every flow",
            ],
        );
        still_served(&site, &load)?;
        // So the way back is open at any time.
        site.agent.environment(there);
        site.agent.restart()?;
        assert_eq!(in_force(&site.agent)?, before);
        still_served(&site, &load)?;
        load.stop()?.assert_nothing_lost();
        // The way forth costs the flows, and no weight.
        site.agent.stop()?;
        site.agent.environment(next);
        site.agent.run(&["--detach"])?.succeeded()?;
        site.agent.restart()?;
        assert_eq!(in_force(&site.agent)?, before);
        let new = site
            .load()
            .one_shot(2)
            .requests(40)
            .run_to_end(&site.hosts.client)?;
        new.assert_nothing_lost();
    }
    Ok(())
}

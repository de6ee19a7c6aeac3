//! The agent dies, stops, comes back; its host is rebooted. Traffic and the split don't care.

use std::time::Duration;

use anyhow::Result;
use aya::maps::{Array, Map, MapData};
use lab::{SOON, Site, await_until, heavy, soak};

const SPLIT: [(&str, &str); 3] = [("blue", "60%"), ("green", "33.3%"), ("canary", "6.7%")];

/// What must be the same before and after: generation, digest, and weight and slots of each track.
fn split(site: &Site) -> Result<String> {
    let service = site.agent.service("web")?;
    let tracks: Vec<_> = service["tracks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|track| format!("{} {} {}", track["name"], track["weight"], track["slots"]))
        .collect();
    Ok(format!(
        "{} {} {tracks:?}",
        service["generation"], service["digest"]
    ))
}

#[test]
fn kill_and_restart_under_load_lose_no_request_and_keep_the_split() -> Result<()> {
    let _turn = heavy()?;
    let mut site = Site::web(&SPLIT)?;
    let keep_alive = site.load().keep_alive(32).start(&site.hosts.client)?;
    let one_shot = site.load().one_shot(32).start(&site.hosts.client)?;
    await_until(SOON, "32 open connections", || {
        keep_alive.totals().flows() == 32
    })?;
    // For three tracks the slots depend on the way there, which must be kept too.
    site.agent.change("set-weight web canary=25%")?;
    site.agent.change("set-weight web canary=10%")?;

    let before = split(&site)?;
    for round in 0..soak(3, 20) {
        site.agent.kill9()?;
        let answered = one_shot.totals().requests;
        await_until(SOON, "1,000 requests without an agent", || {
            one_shot.totals().requests >= answered + 1_000
        })?;
        site.agent.restart()?;
        assert_eq!(split(&site)?, before, "after kill {round}");
    }
    let (keep_alive, one_shot) = (keep_alive.stop()?, one_shot.stop()?);
    println!("keep-alive: {keep_alive}\none request each: {one_shot}");
    keep_alive.assert_nothing_lost();
    assert_eq!(keep_alive.flows(), 32);
    one_shot.assert_nothing_lost();
    Ok(())
}

#[test]
fn a_kill_in_the_middle_of_changes_leaves_one_whole_split() -> Result<()> {
    let _turn = heavy()?;
    let mut site = Site::web(&SPLIT)?;
    let load = site.load().keep_alive(16).start(&site.hosts.client)?;
    await_until(SOON, "16 open connections", || load.totals().flows() == 16)?;
    let mut generation = site.agent.service("web")?["generation"].as_u64().unwrap();
    for round in 0..soak(3, 20) {
        // Changes go on until the agent is gone under them.
        let acknowledged = std::thread::scope(|scope| -> Result<u64> {
            let agent = &site.agent;
            let changes = scope.spawn(move || {
                let mut last = 0;
                for step in 0.. {
                    let to = ["blue", "green", "canary"][step % 3];
                    match agent.change(&format!("cutover web --to {to}")) {
                        Ok(change) => last = change.generation,
                        Err(_) => break,
                    }
                }
                last
            });
            await_until(SOON, "a few changes", || {
                agent
                    .service("web")
                    .is_ok_and(|service| service["generation"].as_u64() > Some(generation + 3))
            })?;
            let pid = rustix::process::Pid::from_raw(i32::try_from(agent.pid().unwrap())?).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
            Ok(changes.join().unwrap())
        })?;
        site.agent.kill9()?;
        site.agent.restart()?;
        let service = site.agent.service("web")?;
        let now = service["generation"].as_u64().unwrap();
        // What was acknowledged is there; of the one in flight either nothing or all.
        assert!(
            now == acknowledged || now == acknowledged + 1,
            "round {round}: {acknowledged} acknowledged, now {now}"
        );
        let slots: Vec<_> = service["tracks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|track| track["slots"].as_u64())
            .collect();
        assert!(
            slots
                .iter()
                .all(|one| [Some(0), Some(65_536)].contains(one)),
            "round {round}: {slots:?}"
        );
        generation = now;
    }
    let load = load.stop()?;
    println!("keep-alive: {load}");
    load.assert_nothing_lost();
    Ok(())
}

#[test]
fn a_stopped_agent_leaves_the_data_plane_running() -> Result<()> {
    let mut site = Site::web(&SPLIT)?;
    let load = site.load().keep_alive(8).start(&site.hosts.client)?;
    await_until(SOON, "8 open connections", || load.totals().flows() == 8)?;
    site.agent.stop()?;
    let new = site
        .load()
        .one_shot(8)
        .requests(500)
        .run_to_end(&site.hosts.client)?;
    new.assert_nothing_lost();
    load.stop()?.assert_nothing_lost();
    Ok(())
}

#[test]
fn a_rebooted_host_has_the_same_split_slot_for_slot() -> Result<()> {
    let mut site = Site::web(&SPLIT)?;
    site.agent.change("set-weight web canary=25%")?;
    site.agent
        .change("set-weight web blue=11.111% green=77.777% canary=11.112%")?;
    let before = split(&site)?;
    site.agent.kill9()?;
    site.agent.reboot()?;
    site.agent.restart()?;
    assert_eq!(split(&site)?, before);
    site.load()
        .one_shot(8)
        .requests(100)
        .run_to_end(&site.hosts.client)?
        .assert_nothing_lost();
    Ok(())
}

#[test]
fn undo_still_works_after_a_restart_and_after_a_reboot() -> Result<()> {
    let mut site = Site::web(&SPLIT)?;
    let first = site.split()?.1;
    site.agent.change("set-weight web canary=25%")?;
    let second = site.split()?.1;
    site.agent.kill9()?;
    site.agent.restart()?;
    site.agent.change("undo web")?;
    assert_eq!(site.split()?.1, first);
    site.agent.kill9()?;
    site.agent.reboot()?;
    site.agent.restart()?;
    site.agent.change("undo web")?;
    assert_eq!(site.split()?.1, second);
    Ok(())
}

#[test]
fn detach_takes_the_data_plane_away_and_a_new_start_brings_the_split_back() -> Result<()> {
    let mut site = Site::web(&SPLIT)?;
    let before = split(&site)?;
    site.agent.detach()?;
    for interface in ["eth0", "eth1"] {
        let link = site
            .hosts
            .balancer
            .exec(&format!("ip link show dev {interface}"))?;
        assert!(!link.contains("xdp"), "{link}");
    }
    site.agent.restart()?;
    assert_eq!(split(&site)?, before);
    site.load()
        .one_shot(8)
        .requests(100)
        .run_to_end(&site.hosts.client)?
        .assert_nothing_lost();
    Ok(())
}

#[test]
fn a_dead_agents_data_plane_is_detached_without_an_agent() -> Result<()> {
    let mut site = Site::web(&SPLIT)?;
    site.agent.kill9()?;
    site.agent.run(&["--detach"])?.succeeded()?;
    let link = site.hosts.balancer.exec("ip link show dev eth0")?;
    assert!(!link.contains("xdp"), "{link}");
    Ok(())
}

#[test]
fn long_lived_idle_connections_survive_a_restart() -> Result<()> {
    let mut site = Site::web(&SPLIT)?;
    let load = site
        .load()
        .keep_alive(16)
        .pause(Duration::from_millis(500))
        .start(&site.hosts.client)?;
    await_until(SOON, "16 open connections", || load.totals().flows() == 16)?;
    site.agent.kill9()?;
    site.agent.restart()?;
    site.agent.change("cutover web --to green")?;
    let asked = load.totals().requests;
    await_until(SOON, "two more requests on each", || {
        load.totals().requests >= asked + 32
    })?;
    let totals = load.stop()?;
    totals.assert_nothing_lost();
    assert_eq!(totals.flows(), 16);
    Ok(())
}

#[test]
fn tables_of_another_layout_are_refused_and_go_on_working() -> Result<()> {
    let mut site = Site::web(&SPLIT)?;
    let load = site.load().keep_alive(8).start(&site.hosts.client)?;
    await_until(SOON, "8 open connections", || load.totals().flows() == 8)?;
    site.agent.stop()?;
    let mut meta = meta_of(&site)?;
    let mut bytes = meta.get(&0, 0)?;
    let ours = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    bytes[..4].copy_from_slice(&(ours + 1).to_ne_bytes());
    meta.set(0, bytes, 0)?;
    let answer = site.agent.run(&[])?;
    let versions = [format!("version {}", ours + 1), format!("knows {ours}")];
    answer.assert_refused(1, &[&versions[0], &versions[1], "--detach"]);
    let asked = load.totals().requests;
    await_until(SOON, "more requests", || {
        load.totals().requests >= asked + 64
    })?;
    let totals = load.stop()?;
    totals.assert_nothing_lost();
    // With the layout it knows, the agent takes the tables over again.
    bytes[..4].copy_from_slice(&ours.to_ne_bytes());
    meta.set(0, bytes, 0)?;
    site.agent.restart()
}

/// What the tables of a site were made with, as bytes; the layout's version comes first.
fn meta_of(site: &Site) -> Result<Array<MapData, [u8; 24]>> {
    let data = MapData::from_pin(site.agent.pin("META")?)?;
    Ok(Array::try_from(Map::Array(data))?)
}

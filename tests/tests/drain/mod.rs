//! Drains: no new flows, old ones live, and "drained" means proven.

mod closing;
mod lost;
mod removed;

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use lab::{ChildGuard, Load, Running, SOON, Service, Site, UdpEcho, VIP_V4, VIP_V6, await_until};

/// Connections that ask now and then, all open.
fn long_lived(load: Load, count: u64, site: &Site) -> Result<Running> {
    let running = load
        .keep_alive(usize::try_from(count)?)
        .pause(Duration::from_millis(50))
        .start(&site.hosts.client)?;
    await_until(SOON, "the long-lived connections", || {
        running.totals().flows() == count
    })?;
    Ok(running)
}

#[test]
fn a_drain_with_wait_ends_only_at_a_proven_zero() -> Result<()> {
    let site = Site::web(&[("blue", "100%"), ("green", "0%")])?;
    let old = long_lived(site.load(), 12, &site)?;
    site.agent.change("cutover web --to green")?;
    let mut drain = ChildGuard::spawn(site.agent.ctl_command(&[
        "drain",
        "web",
        "blue",
        "--timeout",
        "10m",
        "--wait",
    ]))?;

    await_until(SOON, "the drain to have begun", || {
        site.agent
            .service("web")
            .is_ok_and(|service| service["tracks"][0]["state"] == "draining")
    })?;
    let asked = old.totals().requests;
    await_until(SOON, "requests on the draining track", || {
        old.totals().requests >= asked + 120
    })?;
    assert!(
        drain.ended()?.is_none(),
        "the drain ended while 12 flows were alive"
    );
    await_flows(&site, 12)?;

    let old = old.stop()?;
    old.assert_nothing_lost();
    assert_eq!(old.flows_of("blue"), 12);
    assert_eq!(drain.wait(SOON)?.code(), Some(0));
    await_flows(&site, 0)
}

/// Waits until `get services` says that blue has so many flows: what it says may be a second old.
fn await_flows(site: &Site, count: u64) -> Result<()> {
    await_until(SOON, &format!("{count} flows of blue"), || {
        site.agent
            .flows_of("web", "blue")
            .is_ok_and(|flows| flows == count)
    })
}

#[test]
fn a_drain_that_meets_its_deadline_ends_with_4_and_keeps_the_flows() -> Result<()> {
    let site = Site::web(&[("blue", "50%"), ("green", "50%")])?;
    let old = long_lived(site.load(), 24, &site)?;
    meet_the_deadline(&site, "web", old)
}

#[test]
fn udp_flows_that_never_end_do_not_hold_a_drain_beyond_its_deadline() -> Result<()> {
    let weights = [("blue", "50%"), ("green", "50%")];
    let site = Site::serving(&Service::named("echo", &weights).listener(VIP_V4, 7, "udp"))?;
    let _echo = UdpEcho::start(&site.hosts, 7)?;
    let old = Load::at(VIP_V4)
        .port(7)
        .udp_flows(24)
        .pause(Duration::from_millis(50))
        .start(&site.hosts.client)?;
    await_until(SOON, "24 flows", || old.totals().flows() == 24)?;
    meet_the_deadline(&site, "echo", old)
}

/// Drains the track blue, whose flows go on; they are told of and left alone.
fn meet_the_deadline(site: &Site, service: &str, old: Running) -> Result<()> {
    let start = Instant::now();
    let answer = site
        .agent
        .ctl(&format!("drain {service} blue --timeout 2s --wait"))?;
    assert_eq!(answer.code, 4, "{answer:?}");
    assert!(start.elapsed() >= Duration::from_secs(2));
    let asked = old.totals().requests;
    await_until(SOON, "requests after the deadline", || {
        old.totals().requests >= asked + 240
    })?;
    let old = old.stop()?;
    old.assert_nothing_lost();
    assert!(old.flows_of("blue") > 0);
    Ok(())
}

#[test]
fn a_draining_track_takes_no_new_flow_and_ready_gives_its_weight_back() -> Result<()> {
    let site = Site::web(&[("blue", "60%"), ("green", "30%"), ("canary", "10%")])?;
    let before = site.split()?.1;
    site.agent.ctl("drain web blue")?.succeeded()?;
    let service = site.agent.service("web")?;
    assert_eq!(service["tracks"][0]["state"], "draining");
    assert_eq!(
        service["tracks"][0]["weight"], "60",
        "the desired weight is kept"
    );
    assert_eq!(service["tracks"][0]["slots"], 0);
    // Three to one, as before.
    assert_eq!(service["tracks"][1]["slots"], 49_152);
    assert_eq!(service["tracks"][2]["slots"], 16_384);
    let totals = site
        .load()
        .one_shot(8)
        .requests(200)
        .run_to_end(&site.hosts.client)?;
    totals.assert_nothing_lost();
    assert_eq!(totals.flows_of("blue"), 0);

    site.agent.ctl("ready web blue")?.succeeded()?;
    let service = site.agent.service("web")?;
    assert_eq!(service["tracks"][0]["state"], "ready");
    let slots: Vec<_> = (0..3)
        .map(|track| service["tracks"][track]["slots"].as_u64().unwrap())
        .collect();
    assert_eq!(slots.iter().sum::<u64>(), 65_536);
    assert!(slots[0].abs_diff(39_322) <= 1, "{slots:?}");
    assert_ne!(before, serde_json::Value::Null);
    Ok(())
}

#[test]
fn draining_one_backend_leaves_the_split_of_its_track_alone() -> Result<()> {
    let site = Site::web(&[("blue", "50%"), ("green", "50%")])?;
    let before = site.split()?.1;
    let old = long_lived(Load::at(VIP_V4), 16, &site)?;
    site.agent.ctl("drain web 198.18.2.11:80")?.succeeded()?;
    assert_eq!(site.split()?.1, before);
    let totals = Load::at(VIP_V4)
        .one_shot(8)
        .requests(200)
        .run_to_end(&site.hosts.client)?;
    totals.assert_nothing_lost();
    assert!(
        totals
            .new_flows
            .keys()
            .all(|(_, backend)| backend != "blue-1"),
        "{:?}",
        totals.new_flows
    );
    assert!(totals.flows_of("blue") > 0);
    // IPv6 has another backend of the same name, which isn't drained.
    let totals = Load::at(VIP_V6)
        .one_shot(8)
        .requests(200)
        .run_to_end(&site.hosts.client)?;
    assert!(
        totals
            .new_flows
            .keys()
            .any(|(_, backend)| backend == "blue-1"),
        "{:?}",
        totals.new_flows
    );
    old.stop()?.assert_nothing_lost();
    Ok(())
}

#[test]
fn with_the_last_active_backend_drained_old_flows_live() -> Result<()> {
    let site = Site::web(&[("canary", "100%")])?;
    let old = long_lived(Load::at(VIP_V4), 4, &site)?;
    site.agent.ctl("drain web 198.18.2.31:80")?.succeeded()?;
    let asked = old.totals().requests;
    await_until(SOON, "requests of old flows", || {
        old.totals().requests >= asked + 40
    })?;
    // Nobody may serve a new one.
    let target = SocketAddr::new(VIP_V4, 80);
    let new = site
        .hosts
        .client
        .enter(|| TcpStream::connect_timeout(&target, Duration::from_millis(1500)));
    assert!(
        new.is_err(),
        "a new connection was served by a drained backend"
    );
    let totals = Load::at(VIP_V6)
        .one_shot(1)
        .requests(10)
        .run_to_end(&site.hosts.client)?;
    totals.assert_nothing_lost();
    old.stop()?.assert_nothing_lost();

    site.agent.ctl("ready web 198.18.2.31:80")?.succeeded()?;
    Load::at(VIP_V4)
        .one_shot(1)
        .requests(10)
        .run_to_end(&site.hosts.client)?
        .assert_nothing_lost();
    Ok(())
}

#[test]
fn a_removed_backend_keeps_its_flows() -> Result<()> {
    let site = Site::web(&[("blue", "50%"), ("green", "50%")])?;
    let old = long_lived(site.load(), 24, &site)?;
    site.agent
        .apply(&lab::Service::web(&[("green", "100%")]).with(lab::BRIEF))?;
    let asked = old.totals().requests;
    await_until(SOON, "requests of old flows", || {
        old.totals().requests >= asked + 240
    })?;
    let new = site
        .load()
        .one_shot(8)
        .requests(100)
        .run_to_end(&site.hosts.client)?;
    new.assert_nothing_lost();
    assert_eq!(new.flows_of("green"), 100);
    let old = old.stop()?;
    old.assert_nothing_lost();
    assert!(old.flows_of("blue") > 0);
    await_until(SOON, "the removed track to go with its last flow", || {
        site.agent
            .service("web")
            .is_ok_and(|service| service["tracks"].as_array().map(Vec::len) == Some(1))
    })
}

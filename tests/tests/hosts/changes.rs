//! Changes of the split while 64 connections are at work.

use std::time::Duration;

use anyhow::Result;
use lab::{Load, SOON, Service, Site, UdpEcho, VIP_V4, VIP_V6, await_until, heavy, soak};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

const TRACKS: [&str; 3] = ["blue", "green", "canary"];

/// A random cutover or shift, as a command line. Shifts name all tracks, in thousandths of a percent.
fn random_change(random: &mut SmallRng, service: &str) -> String {
    if random.random_ratio(1, 4) {
        let to = TRACKS.choose(random).unwrap();
        return format!("cutover {service} --to {to}");
    }
    let blue = random.random_range(0..=100);
    let green = random.random_range(0..=100 - blue);
    let canary = 100 - blue - green;
    format!("set-weight {service} blue={blue}% green={green}% canary={canary}%")
}

#[test]
fn random_changes_back_to_back_lose_no_request_and_move_no_flow() -> Result<()> {
    let _turn = heavy()?;
    let site = Site::web(&[("blue", "60%"), ("green", "30%"), ("canary", "10%")])?;
    let keep_alive = site.load().keep_alive(32).start(&site.hosts.client)?;
    let one_shot = site.load().one_shot(32).start(&site.hosts.client)?;
    await_until(SOON, "32 open connections", || {
        keep_alive.totals().flows() == 32
    })?;

    let mut random = SmallRng::seed_from_u64(2);
    let mut generation = site.agent.service("web")?["generation"].as_u64().unwrap();
    for _ in 0..soak(100, 1_000) {
        let line = random_change(&mut random, "web");
        let change = site.agent.change(&line)?;
        // A change that changes nothing makes no generation.
        let made = u64::from(change.before != change.after);
        assert_eq!(change.generation, generation + made, "after {line}");
        generation = change.generation;
        let lost = keep_alive.totals().and(&one_shot.totals());
        assert!(lost.nothing_lost(), "after {line}: {:#?}", lost.details);
    }

    let (keep_alive, one_shot) = (keep_alive.stop()?, one_shot.stop()?);
    println!("keep-alive: {keep_alive}\none request each: {one_shot}");
    keep_alive.assert_nothing_lost();
    one_shot.assert_nothing_lost();
    assert_eq!(
        keep_alive.flows(),
        32,
        "a keep-alive connection was opened anew"
    );
    for track in TRACKS {
        assert!(
            one_shot.flows_of(track) > 0,
            "{track} had weight most of the time and no new connection"
        );
    }
    Ok(())
}

/// The service without some backends: those whose addresses contain one of `gone`.
fn without(service: &Service, gone: &[&str]) -> String {
    let yaml = service.to_yaml();
    let kept = yaml
        .lines()
        .filter(|line| !gone.iter().any(|address| line.contains(address)));
    kept.map(|line| format!("{line}\n")).collect()
}

#[test]
fn backends_and_tracks_that_come_and_go_lose_no_request_and_move_no_flow() -> Result<()> {
    let _turn = heavy()?;
    let all =
        Service::web(&[("blue", "60%"), ("green", "30%"), ("canary", "10%")]).with(lab::BRIEF);
    let two = Service::web(&[("blue", "70%"), ("green", "30%")]).with(lab::BRIEF);
    let site = Site::serving(&all)?;
    let keep_alive = site.load().keep_alive(32).start(&site.hosts.client)?;
    let one_shot = site.load().one_shot(32).start(&site.hosts.client)?;
    await_until(SOON, "32 open connections", || {
        keep_alive.totals().flows() == 32
    })?;

    for round in 0..soak(3, 50) {
        for yaml in [
            without(&all, &["2.12", "2::12"]),
            without(&all, &["2.11", "2::11", "2.21", "2::21"]),
            two.to_yaml(),
            all.to_yaml(),
        ] {
            site.agent.apply_yaml(&yaml)?.succeeded()?;
        }
        for line in [
            "drain web 198.18.2.11:80",
            "drain web green",
            "cutover web --to canary",
            "undo web",
            "ready web green",
            "ready web 198.18.2.11:80",
        ] {
            site.agent.ctl(line)?.succeeded()?;
        }
        // Another service on the same backends, and its end.
        let other = Service::named("other", &[("blue", "50%"), ("green", "50%")])
            .listener(VIP_V4, 81, "tcp")
            .listener(VIP_V6, 81, "tcp");
        site.agent.apply(&other)?;
        site.agent.ctl("delete service other")?.succeeded()?;
        let lost = keep_alive.totals().and(&one_shot.totals());
        assert!(lost.nothing_lost(), "in round {round}: {:#?}", lost.details);
    }

    let (keep_alive, one_shot) = (keep_alive.stop()?, one_shot.stop()?);
    println!("keep-alive: {keep_alive}\none request each: {one_shot}");
    keep_alive.assert_nothing_lost();
    one_shot.assert_nothing_lost();
    assert_eq!(keep_alive.flows(), 32);
    Ok(())
}

#[test]
fn udp_flows_stay_with_their_backend_through_random_changes() -> Result<()> {
    let _turn = heavy()?;
    let weights = [("blue", "60%"), ("green", "30%"), ("canary", "10%")];
    let site = Site::serving(
        &Service::named("echo", &weights)
            .listener(VIP_V4, 7, "udp")
            .listener(VIP_V6, 7, "udp"),
    )?;
    let _echo = UdpEcho::start(&site.hosts, 7)?;
    let load = Load::at(VIP_V4)
        .and_at(VIP_V6)
        .port(7)
        .udp_flows(32)
        .pause(Duration::from_millis(2))
        .start(&site.hosts.client)?;
    await_until(SOON, "32 flows", || load.totals().flows() == 32)?;

    let mut random = SmallRng::seed_from_u64(3);
    for _ in 0..soak(50, 500) {
        site.agent.change(&random_change(&mut random, "echo"))?;
    }
    let totals = load.stop()?;
    println!("UDP: {totals}");
    totals.assert_nothing_lost();
    assert_eq!(totals.flows(), 32);
    Ok(())
}

#[test]
fn after_a_cutover_has_answered_every_new_connection_goes_to_the_new_track() -> Result<()> {
    let site = Site::web(&[("blue", "100%"), ("green", "0%")])?;
    for to in ["green", "blue", "green"] {
        site.agent.change(&format!("cutover web --to {to}"))?;
        let totals = site
            .load()
            .one_shot(8)
            .requests(200)
            .run_to_end(&site.hosts.client)?;
        totals.assert_nothing_lost();
        assert_eq!(
            totals.flows_of(to),
            200,
            "after the cutover to {to}: {:?}",
            totals.new_flows
        );
    }
    Ok(())
}

#[test]
fn all_listeners_and_all_services_of_a_release_flip_together() -> Result<()> {
    let site =
        Site::serving(&Service::web(&[("blue", "100%"), ("green", "0%")]).with("release: shop"))?;
    site.agent.apply(
        &Service::named("api", &[("blue", "100%"), ("green", "0%")])
            .listener(VIP_V4, 8080, "tcp")
            .with("release: shop"),
    )?;
    let reply = site.agent.json("cutover release/shop --to green")?;
    assert_eq!(reply["items"].as_array().map(Vec::len), Some(2), "{reply}");
    for service in ["web", "api"] {
        let service = site.agent.service(service)?;
        assert_eq!(service["tracks"][1]["slots"], 65_536, "{service}");
    }
    let totals = site
        .load()
        .one_shot(4)
        .requests(40)
        .run_to_end(&site.hosts.client)?;
    totals.assert_nothing_lost();
    assert_eq!(totals.flows_of("green"), 40);
    Ok(())
}

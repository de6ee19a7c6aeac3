//! Drains that close what is left at their deadline.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use lab::{
    Ended, Idle, IdleEnd, Load, SOON, Service, Site, UdpEcho, VIP_V4, await_until, heavy, soak,
};

/// Where something answers that never says anything: ports.
const DUMB: [u16; 4] = [9_000, 9_001, 9_002, 9_003];

/// The same, as clients dial it.
pub(super) fn dumb_at() -> [SocketAddr; 4] {
    DUMB.map(|port| SocketAddr::new(VIP_V4, port))
}

pub(super) fn dumb(weights: &[(&str, &str)], drain: &str) -> Result<Site> {
    Site::serving(&dumb_service(weights, drain))
}

pub(super) fn dumb_service(weights: &[(&str, &str)], drain: &str) -> Service {
    let mut service = Service::named("dumb", weights)
        .with(drain)
        .with("flows: {closing: 8s}");
    for port in DUMB {
        service = service.listener(VIP_V4, port, "tcp");
    }
    service
}

pub(super) fn resets(ended: &[Ended], end: IdleEnd) -> usize {
    of(ended, end).filter(|one| one.reset).count()
}

fn of(ended: &[Ended], end: IdleEnd) -> impl Iterator<Item = &Ended> {
    ended.iter().filter(move |one| one.end == end)
}

#[test]
fn at_the_deadline_idle_connections_close_evenly_over_the_spread_and_both_ends_learn_it()
-> Result<()> {
    let _turn = heavy()?;
    let count = soak(3_000, 60_000);
    let (spread, window) = (soak(10, 60), soak(2, 5));
    let drain = format!("drain: {{timeout: 2s, onTimeout: reset, closeSpread: {spread}s}}");
    let site = dumb(&[("blue", "100%"), ("green", "0%")], &drain)?;
    let from = site.hosts.add_clients(4)?;
    let (client, backends) = (&site.hosts.client, &site.hosts.backends);
    let idle = Idle::open(client, backends, &dumb_at(), &from, count)?;
    site.agent.ctl("cutover dumb --to green")?.succeeded()?;
    site.agent.ctl("drain dumb blue")?.succeeded()?;
    assert!(
        idle.next(Duration::from_millis(1_500)).is_none(),
        "before the deadline"
    );
    let ended = idle.await_ended(2 * count, Duration::from_secs(15))?;

    let first = ended.iter().map(|one| one.at).min().unwrap();
    let last = ended.iter().map(|one| one.at).max().unwrap();
    let windows = spread / window;
    for end in [IdleEnd::Client, IdleEnd::Backend] {
        assert_eq!(resets(&ended, end), count, "{end:?}");
        let mut met = vec![0_usize; windows];
        for one in of(&ended, end) {
            let place = (one.at - first).as_secs_f64() / window as f64;
            // What comes a little late is the last window's.
            met[(place as usize).min(windows - 1)] += 1;
        }
        println!(
            "{end:?}: {met:?} in windows of {window} s, all within {:?}",
            last - first
        );
        let even = count / windows;
        for closes in &met {
            assert!(
                closes.abs_diff(even) * 5 <= even,
                "{closes} in one window of {window} s, {even} are even: {met:?}"
            );
        }
    }
    // Proven at last, when the closing time has freed what answered.
    let answer = site.agent.ctl("drain dumb blue --timeout 1s --wait")?;
    assert_eq!(answer.code, 0, "{answer:?}");
    Ok(())
}

#[test]
fn a_connection_that_speaks_is_reset_at_the_deadline_and_the_drain_proven() -> Result<()> {
    let site = Site::web(&[("blue", "50%"), ("green", "50%")])?;
    let old = site
        .load()
        .keep_alive(16)
        .pause(Duration::from_millis(20))
        .start(&site.hosts.client)?;
    await_until(SOON, "16 connections", || old.totals().flows() == 16)?;
    let answer = site
        .agent
        .ctl("drain web blue --timeout 1s --on-timeout reset --spread 1s --wait")?;
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(site.agent.verdicts("flow_cut")? > 0);
    // They come again, and to green.
    let before = old.totals().flows_of("green");
    let met = old.stop()?;
    assert!(met.flows_of("green") >= before);
    Ok(())
}

#[test]
fn udp_is_resteered_at_the_deadline_and_loses_nothing() -> Result<()> {
    let weights = [("blue", "50%"), ("green", "50%")];
    let site = Site::serving(&Service::named("echo", &weights).listener(VIP_V4, 7, "udp"))?;
    let _echo = UdpEcho::start(&site.hosts, 7)?;
    let old = Load::at(VIP_V4)
        .port(7)
        .udp_flows(24)
        .pause(Duration::from_millis(50))
        .start(&site.hosts.client)?;
    await_until(SOON, "24 flows", || old.totals().flows() == 24)?;
    let answer = site
        .agent
        .ctl("drain echo blue --timeout 1s --on-timeout resteer --wait")?;
    assert_eq!(answer.code, 0, "{answer:?}");
    await_until(SOON, "requests after the drain", || {
        site.agent
            .flows_of("echo", "green")
            .is_ok_and(|flows| flows == 24)
    })?;
    let old = old.stop()?;
    assert_eq!(old.failures, 0, "{:?}", old.details);
    assert!(old.moved > 0, "nobody was re-steered");
    Ok(())
}

#[test]
fn undo_with_reset_closes_the_track_that_is_left_and_no_other() -> Result<()> {
    let site = dumb(
        &[("blue", "100%"), ("green", "0%")],
        "drain: {timeout: 10m}",
    )?;
    let from = site.hosts.add_clients(2)?;
    let (client, backends) = (&site.hosts.client, &site.hosts.backends);
    let at = dumb_at();
    let old = Idle::open(client, backends, &at[..1], &from, 20)?;
    site.agent.ctl("cutover dumb --to green")?.succeeded()?;
    let new = Idle::open(client, backends, &at[1..2], &from, 20)?;
    site.agent.ctl("undo dumb --existing reset")?.succeeded()?;
    let ended = new.await_ended(40, Duration::from_secs(15))?;
    for end in [IdleEnd::Client, IdleEnd::Backend] {
        assert_eq!(resets(&ended, end), 20, "{end:?}");
    }
    assert!(
        old.next(Duration::from_millis(500)).is_none(),
        "blue's live"
    );
    Ok(())
}

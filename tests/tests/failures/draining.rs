use std::time::Duration;

use anyhow::Result;
use lab::{Load, Running, SOON, Service, Site, UdpEcho, VIP_V4, await_until};

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

/// Waits for so many more requests of connections that are open.
fn await_requests(running: &Running, more: u64) -> Result<()> {
    let asked = running.totals().requests;
    await_until(SOON, "requests", || {
        running.totals().requests >= asked + more
    })
}

/// Kubernetes #71809: a backend at weight 0 with persistence kept its clients, and gave them nobody, for hours.
#[test]
fn kubernetes_71809_persistence_with_weight_0_black_holes_no_client() -> Result<()> {
    let weights = [("blue", "100%"), ("green", "0%")];
    let service = Service::web(&weights).with("affinity: {key: clientIP}");
    let site = Site::serving(&service)?;
    let first = site
        .load()
        .one_shot(4)
        .requests(40)
        .run_to_end(&site.hosts.client)?;
    first.assert_nothing_lost();
    assert_eq!(first.flows_of("blue"), 40);
    site.agent.change("cutover web --to green")?;
    // The very clients that blue had are green's at once, by address as they are known.
    let then = site
        .load()
        .one_shot(4)
        .requests(40)
        .run_to_end(&site.hosts.client)?;
    then.assert_nothing_lost();
    assert_eq!(then.flows_of("green"), 40);
    Ok(())
}

/// Kubernetes #71514: the count of active UDP flows was always 0, so a drain never waited for any.
#[test]
fn kubernetes_71514_udp_flows_are_counted_and_hold_a_drain() -> Result<()> {
    let weights = [("blue", "100%"), ("green", "0%")];
    let site = Site::serving(&Service::named("echo", &weights).listener(VIP_V4, 7, "udp"))?;
    let _echo = UdpEcho::start(&site.hosts, 7)?;
    let old = Load::at(VIP_V4)
        .port(7)
        .udp_flows(24)
        .pause(Duration::from_millis(50))
        .start(&site.hosts.client)?;
    await_until(SOON, "24 flows", || old.totals().flows() == 24)?;
    site.agent.change("cutover echo --to green")?;
    await_until(SOON, "24 flows of blue in the count", || {
        site.agent
            .flows_of("echo", "blue")
            .is_ok_and(|flows| flows == 24)
    })?;
    let answer = site.agent.ctl("drain echo blue --timeout 1s --wait")?;
    assert_eq!(answer.code, 4, "it ended as if there were none: {answer:?}");
    old.stop()?.assert_nothing_lost();
    Ok(())
}

/// Cilium PR 31840: established flows were dropped when the last active backend drained.
#[test]
fn cilium_31840_established_flows_live_when_the_last_active_backend_drains() -> Result<()> {
    let site = Site::web(&[("blue", "100%"), ("green", "0%")])?;
    let old = long_lived(site.load(), 12, &site)?;
    // The last track with weight: nobody is left for new flows.
    let answer = site.agent.ctl("drain web blue")?.succeeded()?;
    assert!(
        format!("{answer:?}").contains("noBackend"),
        "nobody is told: {answer:?}"
    );
    await_requests(&old, 120)?;
    let before = site.agent.verdicts("no_backend")?;
    let refused = Load::at(VIP_V4)
        .one_shot(1)
        .requests(1)
        .run_to_end(&site.hosts.client)?;
    assert!(!refused.nothing_lost(), "a new flow found somebody");
    assert!(site.agent.verdicts("no_backend")? > before);
    await_requests(&old, 120)?;
    site.agent.ctl("ready web blue")?.succeeded()?;
    let again = site
        .load()
        .one_shot(4)
        .requests(20)
        .run_to_end(&site.hosts.client)?;
    again.assert_nothing_lost();
    let old = old.stop()?;
    old.assert_nothing_lost();
    assert_eq!(old.flows(), 12, "none was opened anew");
    Ok(())
}

/// Cilium #27096: with affinity, new connections of known clients went on to a backend that drained.
#[test]
fn cilium_27096_affinity_sends_no_new_connection_to_a_backend_that_drains() -> Result<()> {
    let weights = [("blue", "50%"), ("green", "50%")];
    let service = Service::web(&weights).with("affinity: {key: clientIP}");
    let site = Site::serving(&service)?;
    let old = long_lived(Load::at(VIP_V4), 8, &site)?;
    let track = if old.totals().flows_of("blue") > 0 {
        "blue"
    } else {
        "green"
    };
    let other = if track == "blue" { "green" } else { "blue" };
    site.agent.ctl(&format!("drain web {track}"))?.succeeded()?;
    let new = Load::at(VIP_V4)
        .one_shot(4)
        .requests(100)
        .run_to_end(&site.hosts.client)?;
    new.assert_nothing_lost();
    assert_eq!((new.flows_of(track), new.flows_of(other)), (0, 100));
    await_requests(&old, 80)?;
    let old = old.stop()?;
    old.assert_nothing_lost();
    assert_eq!(old.flows_of(track), 8, "the connections that it had stay");
    Ok(())
}

/// Cilium #46493: backends that a file no longer named stayed in service after a reload.
#[test]
fn cilium_46493_a_backend_that_a_file_no_longer_names_takes_no_new_flow() -> Result<()> {
    let site = Site::web(&[("blue", "50%"), ("green", "50%")])?;
    let yaml = Service::web(&[("blue", "50%"), ("green", "50%")]).to_yaml();
    let without: String = yaml
        .lines()
        .filter(|line| !line.contains("198.18.2.12") && !line.contains("2::12"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_ne!(without, yaml);
    site.agent.apply_yaml(&without)?.succeeded()?;
    let new = Load::at(VIP_V4)
        .one_shot(8)
        .requests(400)
        .run_to_end(&site.hosts.client)?;
    new.assert_nothing_lost();
    let removed = new.new_flows.keys().any(|(_, name)| name == "blue-2");
    assert!(!removed, "{:?}", new.new_flows);
    assert!(new.flows_of("blue") > 100, "{:?}", new.new_flows);
    Ok(())
}

/// Argo Rollouts #3761: websockets were cut at the promotion.
#[test]
fn argo_3761_connections_that_are_open_outlive_a_cutover() -> Result<()> {
    let site = Site::web(&[("blue", "100%"), ("green", "0%")])?;
    let old = long_lived(site.load(), 32, &site)?;
    site.agent.change("cutover web --to green")?;
    site.agent.ctl("drain web blue")?.succeeded()?;
    await_requests(&old, 320)?;
    let old = old.stop()?;
    old.assert_nothing_lost();
    assert_eq!((old.flows(), old.flows_of("blue")), (32, 32));
    Ok(())
}

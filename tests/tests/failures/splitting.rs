use anyhow::Result;
use lab::{Agent, BRIEF, Configuration, Hosts, Load, Nginx, Service, Site, VIP_V4};

const CLIENTS: u8 = 100;

fn one_connection_each(site: &Site, clients: &[std::net::IpAddr]) -> Result<lab::Totals> {
    let totals = Load::at(VIP_V4)
        .from_clients(clients)
        .one_shot(1)
        .requests(clients.len() as u64)
        .run_to_end(&site.hosts.client)?;
    totals.assert_nothing_lost();
    Ok(totals)
}

/// Flagger #1647: who had once met the new version stayed there, and nobody stayed with the old one, until all users were on
/// the new one, whatever the weight.
#[test]
fn flagger_1647_the_share_of_clients_does_not_creep_however_often_they_come_back() -> Result<()> {
    let service = Service::web(&[("blue", "80%"), ("green", "20%")])
        .with("affinity: {key: clientIP}")
        .with(BRIEF);
    let site = Site::serving(&service)?;
    let clients = site.hosts.add_clients(CLIENTS)?;
    let first = one_connection_each(&site, &clients)?.tracks_by_client();
    let green = |met: &std::collections::BTreeMap<_, Vec<String>>| {
        met.values().filter(|tracks| **tracks == ["green"]).count()
    };
    assert!((1..50).contains(&green(&first)), "{} of 100", green(&first));
    for round in 0..12 {
        let met = one_connection_each(&site, &clients)?.tracks_by_client();
        assert_eq!(met, first, "round {round}");
    }
    Ok(())
}

/// Argo Rollouts #2064: at the promotion traffic went back to the old version once more.
#[test]
fn argo_2064_after_a_cutover_has_answered_no_connection_meets_the_old_track() -> Result<()> {
    let site = Site::web(&[("blue", "100%"), ("green", "0%")])?;
    for round in 0..10 {
        let (to, from) = if round % 2 == 0 {
            ("green", "blue")
        } else {
            ("blue", "green")
        };
        site.agent.change(&format!("cutover web --to {to}"))?;
        let new = site
            .load()
            .one_shot(8)
            .requests(60)
            .run_to_end(&site.hosts.client)?;
        new.assert_nothing_lost();
        assert_eq!((new.flows_of(to), new.flows_of(from)), (60, 0), "{round}");
    }
    Ok(())
}

fn slots(agent: &Agent) -> Result<Vec<(String, u64)>> {
    let service = agent.service("web")?;
    let tracks = service["tracks"].as_array().into_iter().flatten();
    Ok(tracks
        .map(|track| {
            (
                track["name"].as_str().unwrap_or_default().to_owned(),
                track["slots"].as_u64().unwrap_or_default(),
            )
        })
        .collect())
}

/// Argo Rollouts #4841: after an abort the new version kept a part of the traffic.
#[test]
fn argo_4841_undo_leaves_the_new_track_not_one_slot() -> Result<()> {
    let site = Site::web(&[("blue", "100%"), ("green", "0%")])?;
    let before = slots(&site.agent)?;
    assert_eq!(before[1], ("green".to_owned(), 0));
    site.agent.change("set-weight web green=0.1% --ramp 1s")?;
    assert!(slots(&site.agent)?[1].1 > 0);
    site.agent.change("undo web")?;
    assert_eq!(slots(&site.agent)?, before);
    let new = site
        .load()
        .one_shot(8)
        .requests(400)
        .run_to_end(&site.hosts.client)?;
    new.assert_nothing_lost();
    assert_eq!(new.flows_of("green"), 0);
    Ok(())
}

/// Argo Rollouts #1292: an abort with no rollout in progress scaled the stable version to zero.
#[test]
fn argo_1292_undo_with_nothing_to_undo_is_refused_and_changes_nothing() -> Result<()> {
    let site = Site::web(&[("blue", "70%"), ("green", "30%")])?;
    let (before, split) = (slots(&site.agent)?, site.split()?);
    site.agent
        .ctl("undo web")?
        .assert_refused(1, &["web", "undo"]);
    assert_eq!((slots(&site.agent)?, site.split()?), (before, split));
    let new = site
        .load()
        .one_shot(4)
        .requests(60)
        .run_to_end(&site.hosts.client)?;
    new.assert_nothing_lost();
    Ok(())
}

/// Cilium #27096, of a backend: with affinity, known clients went on to one that drained.
#[test]
fn cilium_27096_affinity_to_a_backend_sends_it_no_new_connection_while_it_drains() -> Result<()> {
    let service = Service::web(&[("blue", "100%"), ("green", "0%")])
        .with("affinity: {key: clientIP, backend: clientIP}")
        .with(BRIEF);
    let site = Site::serving(&service)?;
    let clients = site.hosts.add_clients(CLIENTS)?;
    let met = |totals: &lab::Totals, backend: &str| {
        let flows = totals.new_flows.iter();
        flows
            .filter(|((_, name), _)| name == backend)
            .map(|(_, count)| *count)
            .sum::<u64>()
    };
    let before = one_connection_each(&site, &clients)?;
    assert!(met(&before, "blue-1") > 0 && met(&before, "blue-2") > 0);
    site.agent.ctl("drain web 198.18.2.11:80")?.succeeded()?;
    let during = one_connection_each(&site, &clients)?;
    assert_eq!(met(&during, "blue-1"), 0);
    assert_eq!(met(&during, "blue-2"), u64::from(CLIENTS));
    site.agent.ctl("ready web 198.18.2.11:80")?.succeeded()?;
    let after = one_connection_each(&site, &clients)?;
    assert_eq!(
        met(&after, "blue-1"),
        met(&before, "blue-1"),
        "who was its client is its client again"
    );
    Ok(())
}

/// Cilium #46493: backends that a file no longer named stayed in service after a reload.
#[test]
fn cilium_46493_a_backend_that_a_reloaded_file_no_longer_names_takes_no_new_flow() -> Result<()> {
    let hosts = Hosts::new()?;
    let nginx = Nginx::start(&hosts)?;
    let agent = Agent::prepare(&hosts, &Configuration::new())?;
    let file = agent.resources_directory().join("web.yaml");
    let yaml = Service::web(&[("blue", "50%"), ("green", "50%")])
        .with(BRIEF)
        .to_yaml();
    std::fs::write(&file, &yaml)?;
    let mut site = Site {
        agent,
        nginx,
        hosts,
    };
    site.agent.restart()?;
    let new = |site: &Site| {
        let load = site.load().one_shot(8).requests(200);
        load.run_to_end(&site.hosts.client)
    };
    let before = new(&site)?;
    before.assert_nothing_lost();
    let meets = |totals: &lab::Totals| totals.new_flows.keys().any(|(_, name)| name == "blue-2");
    assert!(meets(&before), "{:?}", before.new_flows);
    let without: String = yaml
        .lines()
        .filter(|line| !line.contains("198.18.2.12") && !line.contains("2::12"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&file, without)?;
    site.agent.restart()?;
    let after = new(&site)?;
    after.assert_nothing_lost();
    assert!(!meets(&after), "{:?}", after.new_flows);
    assert!(after.flows_of("blue") > 0, "{:?}", after.new_flows);
    Ok(())
}

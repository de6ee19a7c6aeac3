//! Ways beside the weights, over real connections: routes, preview, fallback, ramps, and what `which` and
//! `explain` say of them.

use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;

use anyhow::Result;
use lab::{BRIEF, ChildGuard, Load, SOON, Service, Site, VIP_V4, await_until, heavy};

const PREVIEW_PORT: u16 = 8080;

/// All weight on blue; backends at port 80, whatever port is dialled.
fn yaml(more: &[&str]) -> String {
    let mut service = Service::web(&[("blue", "100%"), ("green", "0%")])
        .with("affinity: {key: clientIP}")
        .with(BRIEF);
    for line in more {
        service = service.with(line);
    }
    let yaml = service.to_yaml();
    let lines = yaml.lines().map(|line| {
        if line.trim_start().starts_with("- {address") {
            line.replace("\"}", "\", port: 80}")
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn site(more: &[&str]) -> Result<Site> {
    let site = Site::web(&[("blue", "100%"), ("green", "0%")])?;
    site.agent.apply_yaml(&yaml(more))?.succeeded()?;
    Ok(site)
}

#[test]
fn testers_and_staff_meet_the_new_track_first_and_the_shares_are_of_everyone_else() -> Result<()> {
    let _turn = heavy()?;
    let preview =
        format!("preview: {{vip: {VIP_V4}, port: {PREVIEW_PORT}, protocol: tcp, track: green}}");
    let staff = "routes: [{match: {source: [198.18.9.0/28]}, track: green, reason: staff}]";
    let site = site(&[&preview, staff])?;
    let clients = site.hosts.add_clients(40)?;
    let load = |port: u16| {
        Load::at(VIP_V4)
            .port(port)
            .from_clients(&clients)
            .one_shot(1)
            .requests(80)
    };
    let tried = load(PREVIEW_PORT).run_to_end(&site.hosts.client)?;
    tried.assert_nothing_lost();
    assert_eq!(tried.flows_of("green"), tried.flows());

    let totals = load(80).run_to_end(&site.hosts.client)?;
    totals.assert_nothing_lost();
    let met = totals.tracks_by_client();
    for (client, tracks) in &met {
        let said = site.agent.json(&format!("which {client} web"))?;
        assert_eq!(
            tracks,
            &[said["track"].as_str().unwrap().to_owned()],
            "{client}: {said}"
        );
        let (from, to) = (
            SocketAddr::new(*client, 50_123),
            SocketAddr::new(VIP_V4, 80),
        );
        let explained = site.agent.json(&format!("explain {from} {to}"))?;
        assert_eq!(explained["track"], said["track"]);
        assert_eq!(explained["by"], said["by"]);
        let staff = matches!(client, IpAddr::V4(client) if client.octets()[3] < 16);
        assert_eq!(
            said["by"],
            if staff { "route" } else { "weights" },
            "{client}: {said}"
        );
    }
    assert!(totals.flows_of("green") > 0 && totals.flows_of("blue") > 0);
    // All that the weights had a say in went to blue.
    await_until(SOON, "observed shares", || {
        site.agent
            .service("web")
            .is_ok_and(|service| service["tracks"][0]["observed"]["share"] == "100.00")
    })?;
    let service = site.agent.service("web")?;
    assert_eq!(service["tracks"][1]["observed"]["newFlows"], 0, "{service}");
    Ok(())
}

#[test]
fn a_track_that_loses_its_backends_leaves_its_new_flows_to_the_fallback() -> Result<()> {
    let _turn = heavy()?;
    let site = site(&["fallback: green"])?;
    let load = || {
        site.load()
            .one_shot(2)
            .requests(40)
            .run_to_end(&site.hosts.client)
    };
    let before = load()?;
    before.assert_nothing_lost();
    assert_eq!(before.flows_of("blue"), before.flows());
    let service = site.agent.service("web")?;
    for backend in service["tracks"][0]["backends"].as_array().unwrap() {
        let address: IpAddr = backend["address"].as_str().unwrap().parse()?;
        site.agent
            .change(&format!("drain web {}", SocketAddr::new(address, 80)))?;
    }
    await_until(SOON, "the fallback to take over", || {
        site.agent
            .json("explain 198.18.9.9:50123 198.18.1.100:80")
            .is_ok_and(|told| told["fallback"] == true)
    })?;
    let after = load()?;
    after.assert_nothing_lost();
    assert_eq!(after.flows_of("green"), after.flows());
    Ok(())
}

#[test]
fn a_ramp_under_load_outlives_its_agent_and_is_undone_in_one_flip() -> Result<()> {
    let _turn = heavy()?;
    let mut site = Site::web(&[("blue", "100%"), ("green", "0%")])?;
    let (generation, digest) = site.split()?;
    let keep_alive = site.load().keep_alive(16).start(&site.hosts.client)?;
    let one_shot = site.load().one_shot(4).start(&site.hosts.client)?;
    await_until(SOON, "16 open connections", || {
        keep_alive.totals().flows() == 16
    })?;
    let green = |site: &Site| -> Option<u64> {
        let service = site.agent.service("web").ok()?;
        service["tracks"][1]["slots"].as_u64()
    };
    let mut ramp = site
        .agent
        .ctl_command(&["set-weight", "web", "green=50%", "--ramp", "8s"]);
    ramp.stdout(Stdio::null()).stderr(Stdio::null());
    let mut ramp = ChildGuard::spawn(ramp)?;
    await_until(SOON, "a part of the way", || {
        green(&site).is_some_and(|slots| (1..32_768).contains(&slots))
    })?;
    site.agent.kill9()?;
    site.agent.restart()?;
    let had = green(&site).unwrap();
    assert!(had < 32_768, "no leap: {had}");
    await_until(SOON, "the end of the ramp", || green(&site) == Some(32_768))?;
    // The verb returns at the end: it had waited for the new agent.
    assert!(ramp.wait(SOON)?.success());
    let service = site.agent.service("web")?;
    assert_eq!(
        service["generation"].as_u64(),
        generation.as_u64().map(|g| g + 1)
    );
    assert!(service["ramp"].is_null(), "{service}");
    site.agent.change("undo web")?;
    assert_eq!(site.split()?.1, digest);
    let (keep_alive, one_shot) = (keep_alive.stop()?, one_shot.stop()?);
    keep_alive.assert_nothing_lost();
    one_shot.assert_nothing_lost();
    assert_eq!(
        keep_alive.flows(),
        16,
        "a keep-alive connection was opened anew"
    );
    assert!(one_shot.flows_of("green") > 0);
    Ok(())
}

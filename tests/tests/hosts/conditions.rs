//! What `status` says of a configuration and of modes: conditions, and where flows are translated to.

use anyhow::Result;
use lab::{Agent, Configuration, Hosts, Nginx, SOON, Service, Site, await_until};
use serde_json::Value;

fn in_mode(mode: &str) -> String {
    let service = Service::web(&[("blue", "50%"), ("green", "50%")]);
    service
        .to_yaml()
        .replacen("mode: dnat", &format!("mode: {mode}"), 1)
}

fn condition(agent: &Agent, kind: &str) -> Result<Option<String>> {
    // Its exit code is 5 while a condition keeps traffic from flowing.
    let status: Value = serde_json::from_str(&agent.ctl("status -o json")?.stdout)?;
    let conditions = status["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|one| one["type"] == kind);
    Ok(found.map(|one| one["message"].as_str().unwrap().to_owned()))
}

#[test]
fn ports_that_this_host_uses_too_are_a_condition_and_no_refusal() -> Result<()> {
    for (range, overlaps) in [("32768 60999", false), ("1024 60999", true)] {
        let hosts = Hosts::new()?;
        hosts.balancer.sysctl("ipv4/ip_local_port_range", range)?;
        let agent = Agent::start(&hosts)?;
        let said = condition(&agent, "PortOverlap")?;
        assert_eq!(said.is_some(), overlaps, "{range}: {said:?}");
        assert_eq!(agent.log().contains("share 10240-32767"), overlaps);
        agent.ctl("status")?.succeeded()?;
    }
    Ok(())
}

#[test]
fn a_dsr_backend_behind_a_gateway_is_named_and_gets_no_packets() -> Result<()> {
    let hosts = Hosts::new()?;
    let far = "198.18.77.1";
    hosts
        .balancer
        .exec(&format!("ip route add {far}/32 via 198.18.2.11"))?;
    let agent = Agent::start(&hosts)?;
    let yaml = in_mode("dsr-l2").replacen("\"198.18.2.11\"", &format!("\"{far}\""), 1);
    agent.apply_yaml(&yaml)?.succeeded()?;
    await_until(SOON, "the condition", || {
        condition(&agent, "BackendBehindGateway").is_ok_and(|said| said.is_some())
    })?;
    let said = condition(&agent, "BackendBehindGateway")?.unwrap();
    for part in [far, "198.18.2.11", "dsr-l2", "web", "ipip"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(agent.ctl("status")?.code, 5, "a person is needed");
    agent
        .apply_yaml(&yaml.replacen("dsr-l2", "ipip", 1))?
        .succeeded()?;
    assert_eq!(condition(&agent, "BackendBehindGateway")?, None);
    Ok(())
}

#[test]
fn translated_flows_show_what_stands_for_their_clients() -> Result<()> {
    let hosts = Hosts::new()?;
    hosts.balancer.ip("addr add 198.18.2.9/24 dev eth1\n")?;
    let configuration =
        Configuration::new().with("[nat]\naddresses = [\"198.18.2.9\"]\nports = \"20000-20999\"");
    let agent = Agent::start_with(&hosts, &configuration)?;
    agent.apply_yaml(&in_mode("fullnat"))?.succeeded()?;
    let nginx = Nginx::start(&hosts)?;
    let site = Site {
        agent,
        nginx,
        hosts,
    };
    let load = site.load().keep_alive(6).start(&site.hosts.client)?;
    await_until(SOON, "6 flows", || load.totals().flows() == 6)?;
    let flows = site.agent.json("flows")?;
    assert_eq!(flows["total"], 6, "a second entry is no flow: {flows}");
    for flow in flows["items"].as_array().unwrap() {
        assert_eq!(flow["mode"], "fullnat");
        let v4 = flow["backend"].as_str().unwrap().starts_with("198.18");
        let translated: std::net::SocketAddr = flow["translated"].as_str().unwrap().parse()?;
        assert!((20_000..=20_999).contains(&translated.port()), "{flow}");
        let expected = if v4 { "198.18.2.9" } else { "2001:db8:2::1" };
        assert_eq!(translated.ip().to_string(), expected);
        assert!(flow["client"].is_string(), "{flow}");
    }
    // What lies in the table: two entries a flow.
    await_until(SOON, "a scan", || {
        let status = site.agent.json("status");
        status.is_ok_and(|status| status["flowTable"]["entries"] == 12)
    })?;

    // Another mode is for new flows: the old ones go on, and the tables hold both.
    site.agent.apply_yaml(&in_mode("dnat"))?.succeeded()?;
    site.load()
        .one_shot(4)
        .requests(40)
        .run_to_end(&site.hosts.client)?
        .assert_nothing_lost();
    let service = site.agent.service("web")?;
    let states: Vec<(&str, &str)> = service["tracks"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|track| track["backends"].as_array().unwrap())
        .map(|backend| {
            let word = |name: &str| backend[name].as_str().unwrap();
            (word("mode"), word("state"))
        })
        .collect();
    assert!(states.contains(&("fullnat", "deleting")), "{states:?}");
    assert!(states.contains(&("dnat", "ready")), "{states:?}");
    load.stop()?.assert_nothing_lost();
    Ok(())
}

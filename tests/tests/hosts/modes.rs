//! How XDP is attached.

use anyhow::Result;
use lab::{Agent, BRIEF, Configuration, Hosts, Nginx, Service, Site};

/// The mode in which `status` says each interface is attached.
fn attached(site: &Site) -> Result<Vec<(String, String)>> {
    let status = site.agent.json("status")?;
    let interfaces = status["interfaces"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("none").to_owned();
    Ok(interfaces
        .iter()
        .map(|one| (text(&one["name"]), text(&one["xdpMode"])))
        .collect())
}

fn pair(first: &str, second: &str) -> (String, String) {
    (first.into(), second.into())
}

#[test]
fn generic_mode_forwards_and_says_that_it_is_generic() -> Result<()> {
    let service = Service::web(&[("blue", "50%"), ("green", "50%")]).with(BRIEF);
    let site = Site::configured(&Configuration::new().xdp_mode("generic"), &service)?;
    let load = site.load().keep_alive(8).start(&site.hosts.client)?;
    let new = site
        .load()
        .one_shot(8)
        .requests(200)
        .run_to_end(&site.hosts.client)?;
    new.assert_nothing_lost();
    site.agent.change("cutover web --to green")?;
    load.stop()?.assert_nothing_lost();

    assert_eq!(
        attached(&site)?,
        [pair("eth0", "generic"), pair("eth1", "generic")]
    );
    let conditions = site.agent.json("status")?["conditions"].to_string();
    assert!(conditions.contains("GenericMode"), "{conditions}");
    Ok(())
}

#[test]
fn auto_mode_is_native_where_the_driver_can() -> Result<()> {
    let service = Service::web(&[("blue", "100%")]);
    let site = Site::configured(&Configuration::new().xdp_mode("auto"), &service)?;
    assert_eq!(
        attached(&site)?,
        [pair("eth0", "native"), pair("eth1", "native")]
    );
    site.load()
        .one_shot(4)
        .requests(40)
        .run_to_end(&site.hosts.client)?
        .assert_nothing_lost();
    Ok(())
}

#[test]
fn native_mode_is_in_the_driver() -> Result<()> {
    let site = Site::web(&[("blue", "100%")])?;
    for interface in ["eth0", "eth1"] {
        let link = site
            .hosts
            .balancer
            .exec(&format!("ip -details link show dev {interface}"))?;
        assert!(
            link.contains("xdp") && !link.contains("xdpgeneric"),
            "{link}"
        );
    }
    Ok(())
}

#[test]
fn a_changed_list_of_interfaces_attaches_and_detaches_the_difference_at_the_next_start()
-> Result<()> {
    let both = Configuration::new();
    let mut site = Site::configured(&both, &Service::web(&[("blue", "100%")]))?;
    let has_xdp = |site: &Site, interface: &str| -> Result<bool> {
        Ok(site
            .hosts
            .balancer
            .exec(&format!("ip link show dev {interface}"))?
            .contains("xdp"))
    };
    site.agent
        .reconfigure(&both.clone().interfaces(&["eth0"]))?;
    site.agent.restart()?;
    assert!(has_xdp(&site, "eth0")? && !has_xdp(&site, "eth1")?);
    site.agent.reconfigure(&both)?;
    site.agent.restart()?;
    assert!(has_xdp(&site, "eth0")? && has_xdp(&site, "eth1")?);
    site.load()
        .one_shot(4)
        .requests(40)
        .run_to_end(&site.hosts.client)?
        .assert_nothing_lost();
    Ok(())
}

#[test]
fn twenty_interfaces_carry_the_program_and_half_of_them_after_a_change() -> Result<()> {
    let hosts = Hosts::new()?;
    let names: Vec<String> = (1..=18).map(|number| format!("more{number}")).collect();
    for name in &names {
        let peer = format!("{name}b");
        hosts
            .balancer
            .ip(&format!("link add {name} type veth peer name {peer}\n"))?;
        hosts.balancer.ip(&format!("link set {name} up\n"))?;
    }
    let mut all = vec!["eth0", "eth1"];
    all.extend(names.iter().map(String::as_str));
    let configuration = Configuration::new();
    let agent = Agent::start_with(&hosts, &configuration.clone().interfaces(&all))?;
    agent.apply(&Service::web(&[("blue", "100%")]))?;
    let nginx = Nginx::start(&hosts)?;
    let mut site = Site {
        agent,
        nginx,
        hosts,
    };
    let expected =
        |names: &[&str]| -> Vec<_> { names.iter().map(|name| pair(name, "native")).collect() };
    assert_eq!(attached(&site)?, expected(&all));
    let half = &all[..10];
    site.agent.reconfigure(&configuration.interfaces(half))?;
    site.agent.restart()?;
    assert_eq!(attached(&site)?, expected(half));
    for (place, name) in all.iter().enumerate() {
        let link = site
            .hosts
            .balancer
            .exec(&format!("ip link show dev {name}"))?;
        assert_eq!(link.contains("xdp"), place < 10, "{link}");
    }
    site.load()
        .one_shot(4)
        .requests(40)
        .run_to_end(&site.hosts.client)?
        .assert_nothing_lost();
    Ok(())
}

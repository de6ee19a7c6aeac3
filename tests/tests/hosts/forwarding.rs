//! Both families, both protocols, and what is none of the splitter's business.

use std::net::IpAddr;

use anyhow::Result;
use lab::{BACKENDS, Load, Service, Site, UdpEcho, VIP_V4, VIP_V6, ping};

#[test]
fn a_service_answers_over_ipv4_and_over_ipv6() -> Result<()> {
    let site = Site::web(&[("blue", "50%"), ("green", "50%")])?;
    for vip in [VIP_V4, VIP_V6] {
        let totals = Load::at(vip)
            .one_shot(4)
            .requests(100)
            .run_to_end(&site.hosts.client)?;
        totals.assert_nothing_lost();
        assert!(
            totals.flows_of("blue") > 0 && totals.flows_of("green") > 0,
            "{vip}: {:?}",
            totals.new_flows
        );
        assert_eq!(totals.flows_of("canary"), 0);
    }
    Ok(())
}

#[test]
fn a_udp_service_answers_over_ipv4_and_over_ipv6() -> Result<()> {
    let service = Service::named("echo", &[("blue", "50%"), ("green", "50%")]);
    let site = Site::serving(
        &service
            .listener(VIP_V4, 7, "udp")
            .listener(VIP_V6, 7, "udp"),
    )?;
    let _echo = UdpEcho::start(&site.hosts, 7)?;
    for vip in [VIP_V4, VIP_V6] {
        let totals = Load::at(vip)
            .port(7)
            .udp_one_shot(4)
            .requests(100)
            .run_to_end(&site.hosts.client)?;
        totals.assert_nothing_lost();
        assert!(
            totals.flows_of("blue") > 0 && totals.flows_of("green") > 0,
            "{vip}: {:?}",
            totals.new_flows
        );
    }
    Ok(())
}

#[test]
fn every_backend_of_a_track_gets_its_part() -> Result<()> {
    let site = Site::web(&[("blue", "100%")])?;
    let totals = site
        .load()
        .one_shot(4)
        .requests(400)
        .run_to_end(&site.hosts.client)?;
    totals.assert_nothing_lost();
    let of = |name: &str| {
        totals
            .new_flows
            .iter()
            .filter(|((_, one), _)| one == name)
            .map(|(_, count)| count)
            .sum::<u64>()
    };
    // Half each, and five standard deviations of 10 beside it.
    assert!(
        (150..=250).contains(&of("blue-1")),
        "{:?}",
        totals.new_flows
    );
    assert_eq!(of("blue-1") + of("blue-2"), 400);
    Ok(())
}

#[test]
fn echo_requests_to_a_vip_are_answered_while_the_agent_is_attached() -> Result<()> {
    let site = Site::web(&[("blue", "100%")])?;
    ping(&site.hosts.client, VIP_V4)?;
    ping(&site.hosts.client, VIP_V6)?;
    Ok(())
}

#[test]
fn echo_requests_to_a_vip_that_no_interface_has_are_answered_too() -> Result<()> {
    let foreign: IpAddr = "198.18.7.7".parse()?;
    let site =
        Site::serving(&Service::named("far", &[("blue", "100%")]).listener(foreign, 80, "tcp"))?;
    ping(&site.hosts.client, foreign)
}

#[test]
fn backends_are_reached_directly_as_without_the_splitter() -> Result<()> {
    let site = Site::web(&[("blue", "100%")])?;
    for backend in &BACKENDS {
        for address in [IpAddr::from(backend.v4), IpAddr::from(backend.v6)] {
            let totals = Load::at(address)
                .one_shot(1)
                .requests(3)
                .run_to_end(&site.hosts.client)?;
            totals.assert_nothing_lost();
            assert!(
                totals
                    .new_flows
                    .keys()
                    .all(|(_, name)| name == backend.name),
                "{:?}",
                totals.new_flows
            );
        }
    }
    Ok(())
}

#[test]
fn two_services_on_one_vip_keep_apart() -> Result<()> {
    let site = Site::web(&[("blue", "100%")])?;
    site.agent
        .apply(&Service::named("other", &[("green", "100%")]).listener(VIP_V4, 8080, "tcp"))?;
    // Green listens on port 80 only: the listener's port is the backend's unless told otherwise.
    let refused = Load::at(VIP_V4)
        .port(8080)
        .one_shot(1)
        .requests(1)
        .run_to_end(&site.hosts.client)?;
    assert_eq!(refused.failures, 1, "{refused:?}");
    assert!(
        refused.details[0].contains("refused"),
        "{:?}",
        refused.details
    );
    let totals = Load::at(VIP_V4)
        .one_shot(1)
        .requests(20)
        .run_to_end(&site.hosts.client)?;
    totals.assert_nothing_lost();
    assert_eq!(totals.flows_of("blue"), 20);
    Ok(())
}

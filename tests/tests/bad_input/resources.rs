//! Resources with a mistake in them: `apply` ends with 1 and names the place.

use anyhow::Result;
use lab::{Service, VIP_V4};

use super::{nothing_changes, site};

/// The service in force, as text to spoil.
fn good() -> String {
    Service::web(&[("blue", "50%"), ("green", "50%")]).to_yaml()
}

/// Replaces `right` by `wrong` in the good service, applies it, and expects a refusal that speaks of `words`.
fn assert_spoiled(right: &str, wrong: &str, words: &[&str]) -> Result<()> {
    let yaml = good();
    assert!(yaml.contains(right), "{right:?} isn't in\n{yaml}");
    let site = site()?;
    nothing_changes(&site, || {
        site.agent.apply_yaml(&yaml.replacen(right, wrong, 1))
    })?
    .assert_refused(1, words);
    Ok(())
}

#[test]
fn a_misspelt_field_is_refused_with_line_caret_and_a_suggestion() -> Result<()> {
    // 4 lines of head, 3 of listeners, then `mode` in line 8.
    assert_spoiled(
        "  mode: dnat",
        "  mod: dnat",
        &["mod", ":8:3:", "^", "mode"],
    )
}

#[test]
fn an_unknown_field_deep_inside_is_refused() -> Result<()> {
    assert_spoiled(
        "      weight: 50%",
        "      wheight: 50%",
        &["wheight", "^", "weight"],
    )
}

#[test]
fn weights_that_do_not_sum_to_100_are_refused() -> Result<()> {
    assert_spoiled("weight: 50%", "weight: 49%", &["99", "100"])
}

#[test]
fn a_weight_without_percent_sign_is_refused() -> Result<()> {
    assert_spoiled("weight: 50%", "weight: 50", &["50", "%"])
}

#[test]
fn a_weight_with_too_many_places_is_refused() -> Result<()> {
    assert_spoiled("weight: 50%", "weight: 50.0001%", &["50.0001"])
}

#[test]
fn a_weight_below_one_slot_is_refused() -> Result<()> {
    assert_spoiled("weight: 50%", "weight: 0.001%", &["0.001"])
}

#[test]
fn a_listener_without_a_backend_of_its_family_is_refused() -> Result<()> {
    let yaml: String = good()
        .lines()
        .filter(|line| !line.contains("2001:db8:2::1"))
        .map(|line| format!("{line}\n"))
        .collect();
    let site = site()?;
    nothing_changes(&site, || site.agent.apply_yaml(&yaml))?.assert_refused(1, &["blue", "IPv6"]);
    Ok(())
}

#[test]
fn a_backend_in_two_tracks_is_refused() -> Result<()> {
    assert_spoiled(
        "198.18.2.21",
        "198.18.2.11",
        &["198.18.2.11", "blue", "green"],
    )
}

#[test]
fn a_listener_twice_in_one_service_is_refused() -> Result<()> {
    assert_spoiled(
        "    - {vip: \"2001:db8:1::100\", port: 80, protocol: tcp}",
        "    - {vip: 198.18.1.100, port: 80, protocol: tcp}",
        &["198.18.1.100"],
    )
}

#[test]
fn a_listener_of_another_service_is_refused() -> Result<()> {
    let site = site()?;
    let other = Service::named("other", &[("canary", "100%")])
        .listener(VIP_V4, 80, "tcp")
        .to_yaml();
    nothing_changes(&site, || site.agent.apply_yaml(&other))?
        .assert_refused(1, &["198.18.1.100", "web"]);
    Ok(())
}

#[test]
fn an_unknown_protocol_is_refused_with_those_allowed() -> Result<()> {
    assert_spoiled("protocol: tcp", "protocol: sctp", &["sctp", "tcp", "udp"])
}

#[test]
fn a_port_of_zero_is_refused() -> Result<()> {
    assert_spoiled("port: 80", "port: 0", &["port"])
}

#[test]
fn an_address_that_is_none_is_refused() -> Result<()> {
    assert_spoiled("198.18.2.11", "198.18.2.256", &["198.18.2.256"])
}

#[test]
fn an_unknown_mode_is_refused_with_those_allowed() -> Result<()> {
    assert_spoiled(
        "mode: dnat",
        "mode: dsr",
        &["`dsr`", ":8:9:", "^^^", "dnat, fullnat, dsr-l2, ipip"],
    )
}

#[test]
fn an_unknown_fate_without_backends_is_refused_with_those_allowed() -> Result<()> {
    assert_spoiled(
        "  mode: dnat",
        "  mode: dnat\n  noBackend: refuse",
        &["`refuse`", ":9:14:", "drop, reset, unreachable"],
    )
}

#[test]
fn a_port_that_a_mode_cannot_change_is_refused_with_the_fix() -> Result<()> {
    for mode in ["dsr-l2", "ipip"] {
        let yaml = good()
            .replacen("mode: dnat", &format!("mode: {mode}"), 1)
            .replacen("\"198.18.2.11\"", "\"198.18.2.11\", port: 8080", 1);
        let site = site()?;
        let words = [
            "198.18.2.11:8080",
            "dialled at 80",
            mode,
            "leave the port out",
            "^^^^",
        ];
        nothing_changes(&site, || site.agent.apply_yaml(&yaml))?.assert_refused(1, &words);
    }
    Ok(())
}

#[test]
fn a_field_of_a_later_version_is_refused_as_such() -> Result<()> {
    assert_spoiled(
        "  mode: dnat",
        "  mode: dnat\n  healthChecks: []",
        &["healthChecks"],
    )
}

#[test]
fn another_api_version_is_refused() -> Result<()> {
    assert_spoiled(
        "apiVersion: splitter/v1",
        "apiVersion: splitter/v9",
        &["splitter/v9", "splitter/v1"],
    )
}

#[test]
fn text_that_is_no_yaml_is_refused() -> Result<()> {
    assert_spoiled("  listeners:", "  listeners: [", &["YAML", ":6:5:"])
}

#[test]
fn an_empty_file_is_refused() -> Result<()> {
    let site = site()?;
    nothing_changes(&site, || site.agent.apply_yaml(""))?.assert_refused(1, &[]);
    Ok(())
}

#[test]
fn a_missing_file_is_refused_by_name() -> Result<()> {
    let site = site()?;
    nothing_changes(&site, || site.agent.ctl("apply -f /nowhere/web.yaml"))?
        .assert_refused(1, &["/nowhere/web.yaml"]);
    Ok(())
}

#[test]
fn all_mistakes_are_told_at_once() -> Result<()> {
    let site = site()?;
    let yaml = good().replacen("mode: dnat", "mod: dnat", 1).replacen(
        "protocol: tcp",
        "protocol: sctp",
        1,
    );
    nothing_changes(&site, || site.agent.apply_yaml(&yaml))?.assert_refused(1, &["mod", "sctp"]);
    Ok(())
}

#![expect(clippy::unwrap_used, reason = "test code")]

mod errors;
mod round_trip;

use std::collections::BTreeMap;
use std::time::Duration;

use super::{parse, read};
use crate::model::{AffinityKey, Mode, NoBackend, Protocol, Service, Weight};

const FULL: &str = r#"# everything that there is
apiVersion: splitter/v1
kind: Service
metadata: {name: web, labels: {team: pay}}
spec:
  listeners:
    - {vip: 198.18.1.100, port: 80, protocol: tcp}
    - {vip: "2001:db8:1::100", port: 80, protocol: udp}
  mode: dnat
  release: shop
  affinity: {key: clientIP, prefix: {v4: 24, v6: 56}, salt: web-1, backend: flow}
  tracks:
    - name: blue
      version: 1.10
      weight: 95%
      backends:
        - {address: 198.18.2.11, port: 80, weight: 3}
        - {address: "2001:db8:2::11"}
    - name: green
      version: "1.9.0"
      weight: 5%
      slowStart: {duration: 60s, curve: linear}
      backends: [{address: 198.18.2.21, port: 80}, {address: "2001:db8:2::21", port: 80}]
  fallback: blue
  preview: {vip: 198.18.1.101, port: 80, protocol: tcp, track: green}
  routes:
    - {match: {source: [198.18.9.0/24, "2001:db8:9::/48"]}, track: green, reason: staff}
  flows: {tcpIdle: 2h, udpIdle: 90s, unconfirmed: 5s, closing: 1s 500ms}
  drain: {timeout: 10m, onTimeout: keep}
"#;

fn service(name: &str, port: u16, weights: [&str; 2]) -> String {
    let [blue, green] = weights;
    format!(
        "apiVersion: splitter/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  \
         listeners: [{{vip: 198.18.1.100, port: {port}, protocol: tcp}}]\n  tracks:\n  \
         - {{name: blue{blue}, backends: [{{address: 198.18.2.1}}]}}\n  \
         - {{name: green{green}, backends: [{{address: 198.18.2.2}}]}}\n"
    )
}

fn in_force(text: &str) -> BTreeMap<String, Service> {
    let services = parse(text, "in-force.yaml").unwrap();
    services.into_iter().map(|s| (s.name.clone(), s)).collect()
}

#[test]
fn the_example_that_is_installed_can_be_applied() {
    let example = include_str!("../../../packaging/web.yaml");
    let services = parse(example, "web.yaml").unwrap();
    assert_eq!(services[0].name, "web");
}

#[test]
fn every_mode_and_every_way_without_backends_is_read_and_written_back() {
    let text = FULL.replace(", port: 80}", "}");
    for (name, mode) in Mode::NAMES {
        for (word, no_backend) in NoBackend::NAMES {
            let text = text.replace("mode: dnat", &format!("mode: {name}\n  noBackend: {word}"));
            let read = parse(&text, "web.yaml").unwrap();
            assert_eq!((read[0].mode, read[0].no_backend), (mode, no_backend));
            let export = super::render(&read).unwrap();
            assert!(export.contains(&format!("  mode: {name}\n")), "{export}");
            assert!(
                export.contains(&format!("  noBackend: {word}\n")),
                "{export}"
            );
            assert_eq!(parse(&export, "export").unwrap(), read);
        }
    }
}

#[test]
fn every_field_is_read() {
    let services = parse(FULL, "web.yaml").unwrap();
    let [web] = &services[..] else {
        panic!("{services:?}");
    };
    assert_eq!(web.name, "web");
    assert_eq!((web.mode, web.no_backend), (Mode::Dnat, NoBackend::Drop));
    assert_eq!(web.labels["team"], "pay");
    assert_eq!(web.listeners[1].protocol, Protocol::Udp);
    assert_eq!(web.listeners[1].to_string(), "[2001:db8:1::100]:80/udp");
    assert_eq!(web.release.as_deref(), Some("shop"));
    assert_eq!(web.affinity.key, AffinityKey::ClientIp);
    assert_eq!((web.affinity.prefix_v4, web.affinity.prefix_v6), (24, 56));
    assert_eq!(web.affinity.salt.as_deref(), Some("web-1"));
    assert_eq!(web.tracks[0].version.as_deref(), Some("1.10"));
    assert_eq!(web.tracks[0].backends[0].weight, 3);
    assert_eq!(web.tracks[0].backends[1].port, None);
    assert_eq!(
        web.tracks[1].weight,
        Some(Weight::from_millis(5_000).unwrap())
    );
    assert_eq!(web.flows.tcp_idle, Duration::from_secs(7_200));
    assert_eq!(web.flows.closing, Duration::from_millis(1_500));
    assert_eq!(web.drain.timeout, Duration::from_secs(600));
}

#[test]
fn what_is_left_out_has_its_default() {
    let services = parse(&service("web", 80, ["", ""]), "web.yaml").unwrap();
    let web = &services[0];
    assert_eq!(web.affinity, crate::model::Affinity::default());
    assert_eq!(web.flows, crate::model::FlowTimes::default());
    assert_eq!(web.drain, crate::model::DrainPolicy::default());
    assert_eq!(web.tracks[0].weight, None);
    assert_eq!(web.tracks[0].backends[0].weight, 1);
}

#[test]
fn a_text_holds_several_documents_and_empty_ones_are_skipped() {
    let weights = [", weight: 50%", ", weight: 50%"];
    let (one, two) = (service("a", 80, weights), service("b", 81, weights));
    let text = format!("---\n# nothing\n---\n{one}---\n{two}---\n");
    let names: Vec<String> = parse(&text, "x")
        .unwrap()
        .into_iter()
        .map(|s| s.name)
        .collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn anchors_and_aliases_are_written_out() {
    let text = FULL.replace(
        "backends: [{address: 198.18.2.21, port: 80}, {address: \"2001:db8:2::21\", port: 80}]",
        "backends: [&a {address: 198.18.2.21, port: 80}, {address: \"2001:db8:2::21\", port: &p 80}]",
    );
    assert_eq!(parse(&text, "x").unwrap(), parse(FULL, "x").unwrap());
    let text = text
        .replace("unconfirmed: 5s", "unconfirmed: &t 5s")
        .replace("udpIdle: 90s", "udpIdle: 5s");
    let aliased = text.replace("closing: 1s 500ms", "closing: *t");
    assert_eq!(
        parse(&aliased, "x").unwrap()[0].flows.closing,
        Duration::from_secs(5)
    );
}

#[test]
fn a_quoted_merge_sign_is_a_key_like_any_other() {
    let text = FULL.replace("{team: pay}", "{\"<<\": pay}");
    assert_eq!(parse(&text, "x").unwrap()[0].labels["<<"], "pay");
}

#[test]
fn weights_that_are_left_out_are_those_in_force() {
    let before = in_force(&service("web", 80, [", weight: 75%", ", weight: 25%"]));
    let file = read(&service("web", 80, ["", ""]), "web.yaml").unwrap();
    let resolved = file.resolve(&before).unwrap();
    let weights: Vec<String> = resolved[0]
        .weights()
        .unwrap()
        .iter()
        .map(|(_, w)| w.to_string())
        .collect();
    assert_eq!(weights, ["75", "25"]);
    let error = file.resolve(&BTreeMap::new()).unwrap_err().to_string();
    assert!(
        error.contains("web.yaml:7:5: service web: spec.tracks: no weights are given"),
        "{error}"
    );
}

#[test]
fn a_text_is_checked_together_with_what_is_in_force() {
    let weights = [", weight: 50%", ", weight: 50%"];
    let before = in_force(&service("zeta", 80, weights));
    let file = read(&service("web", 80, weights), "web.yaml").unwrap();
    let error = file.resolve(&before).unwrap_err().to_string();
    assert!(error.contains("web.yaml:5:15: service web: spec.listeners[0]: listener 198.18.1.100:80/tcp overlaps: it is in the services web, zeta"), "{error}");
    let other = read(&service("web", 81, weights), "web.yaml").unwrap();
    assert!(other.resolve(&before).is_ok());
}

#[test]
fn a_weight_that_is_kept_needs_backends_of_each_family_that_is_dialled_now() {
    let before = in_force(&service("web", 80, [", weight: 50%", ", weight: 50%"]));
    let text =
        service("web", 80, ["", ""]).replace("backends: [{address: 198.18.2.2}]", "backends: []");
    let error = read(&text, "web.yaml")
        .unwrap()
        .resolve(&before)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(
            "web.yaml:8:29: service web: spec.tracks[1].backends: track `green` takes new flows"
        ),
        "{error}"
    );
}

#![expect(clippy::unwrap_used, reason = "test code")]

//! What is said about texts that are wrong.

use super::super::parse;
use super::{FULL, service};

/// All that is wrong with a text, as it is shown.
fn wrong(text: &str) -> String {
    parse(text, "web.yaml").unwrap_err().to_string()
}

/// The full text with a part of it replaced; what is wrong then.
fn with(from: &str, to: &str) -> String {
    assert!(FULL.contains(from), "{from}");
    wrong(&FULL.replacen(from, to, 1))
}

fn count(text: &str) -> usize {
    text.matches("  fix: ").count()
}

#[test]
fn a_misspelt_field_is_shown_with_line_caret_and_what_was_meant() {
    assert_eq!(
        with("      weight: 95%", "      wieght: 95%"),
        "web.yaml:15:7: spec.tracks[0].wieght: `wieght` is not a known field; known: name, \
         version, weight, slowStart, backends\n\
         \x20 15 |       wieght: 95%\n\
         \x20    |       ^^^^^^\n\
         \x20 fix: did you mean `weight`?\n"
    );
}

#[test]
fn unknown_fields_are_refused_everywhere() {
    for (from, to, known) in [
        (
            "kind: Service",
            "kind: Service\nstatus: 1",
            "apiVersion, kind, metadata, spec",
        ),
        ("{name: web,", "{name: web, uid: 1,", "name, labels"),
        ("mode: dnat", "colour: red", "listeners, mode, release"),
        (
            "port: 80, protocol: tcp}",
            "port: 80, protocol: tcp, tls: 1}",
            "vip, port, protocol",
        ),
        (
            "{key: clientIP,",
            "{kee: clientIP,",
            "key, prefix, salt, backend",
        ),
        ("{v4: 24,", "{ipv4: 24,", "v4, v6"),
        (
            "port: 80, weight: 3}",
            "port: 80, priority: 3}",
            "address, port, weight",
        ),
        (
            "tcpIdle: 2h",
            "tcpIdel: 2h",
            "tcpIdle, udpIdle, unconfirmed, closing",
        ),
        (
            "timeout: 10m",
            "deadline: 10m",
            "timeout, onTimeout, closeSpread",
        ),
    ] {
        let text = with(from, to);
        assert_eq!(count(&text), 1, "{text}");
        assert!(
            text.contains("is not a known field; known: ") && text.contains(known),
            "{text}"
        );
    }
}

#[test]
fn a_network_that_is_none_is_shown_with_what_to_write() {
    for (source, fix) in [
        ("198.18.9.7", "write 198.18.9.7/32 for the one address"),
        ("198.18.9.0/33", "write a network such as 198.18.9.0/24"),
        ("198.18.9.1/24", "write 198.18.9.0/24 for the network"),
    ] {
        let text = with("198.18.9.0/24", source);
        assert_eq!(count(&text), 1, "{text}");
        assert!(text.contains(fix) && text.contains("source[0]"), "{text}");
    }
}

#[test]
fn what_comes_later_is_told_apart_from_what_is_unknown() {
    for (from, to) in [
        ("mode: dnat", "healthChecks: []"),
        ("weight: 95%", "weight: 95%\n      minHealthy: 50%"),
        ("kind: Service", "kind: Rollout"),
        ("kind: Service", "kind: AnalysisTemplate"),
    ] {
        let text = with(from, to);
        assert_eq!(count(&text), 1, "{text}");
        assert!(text.contains("is not there yet"), "{text}");
    }
}

#[test]
fn a_port_that_a_mode_cannot_change_is_shown_with_its_caret() {
    let text = wrong(&FULL.replacen("mode: dnat", "mode: ipip", 1).replacen(
        "198.18.2.21, port: 80",
        "198.18.2.21, port: 8080",
        1,
    ));
    assert_eq!(
        text,
        "web.yaml:23:47: service web: spec.tracks[1].backends[0].port: backend 198.18.2.21:8080 has port 8080, and the \
         service is dialled at 80: in mode ipip packets keep their port, so a backend's port is the listener's\n\
         \x20 23 |       backends: [{address: 198.18.2.21, port: 8080}, {address: \"2001:db8:2::21\", port: 80}]\n\
         \x20    |                                               ^^^^\n\
         \x20 fix: leave the port out, or use mode `dnat` or `fullnat`\n"
    );
}

#[test]
fn words_that_are_unknown_are_refused_with_those_allowed() {
    for (from, to, allowed) in [
        ("splitter/v1", "splitter/v2", "allowed: splitter/v1"),
        ("kind: Service", "kind: Servise", "did you mean `Service`?"),
        ("mode: dnat", "mode: snat", "did you mean `dnat`?"),
        (
            "mode: dnat",
            "mode: dsr",
            "allowed: dnat, fullnat, dsr-l2, ipip",
        ),
        (
            "mode: dnat",
            "noBackend: refuse",
            "allowed: drop, reset, unreachable",
        ),
        ("protocol: tcp", "protocol: sctp", "allowed: tcp, udp"),
        ("key: clientIP", "key: clientip", "did you mean `clientIP`?"),
        (
            "onTimeout: keep",
            "onTimeout: explode",
            "allowed: keep, reset, resteer",
        ),
    ] {
        let text = with(from, to);
        assert!(
            text.contains("is not known") && text.contains(allowed),
            "{text}"
        );
    }
}

#[test]
fn values_of_the_wrong_kind_or_range_are_refused() {
    for (from, to, why) in [
        (
            "port: 80, protocol",
            "port: 0, protocol",
            "`0` is not a whole number from 1 to 65535",
        ),
        (
            "port: 80, protocol",
            "port: 65536, protocol",
            "from 1 to 65535",
        ),
        (
            "port: 80, protocol",
            "port: http, protocol",
            "`http` is not a whole number",
        ),
        (
            "port: 80, protocol",
            "port: +80, protocol",
            "`+80` is not a whole number",
        ),
        (
            "port: 80, protocol",
            "port: [80], protocol",
            "a list where a single value is expected",
        ),
        (
            "vip: 198.18.1.100",
            "vip: 198.18.1.300",
            "`198.18.1.300` is not an IPv4 or IPv6 address",
        ),
        (
            "vip: 198.18.1.100",
            "vip: 198.18.1.0/24",
            "without port or prefix",
        ),
        (
            "vip: 198.18.1.100",
            "vip: 127.0.0.1",
            "is a loopback address",
        ),
        ("v4: 24", "v4: 33", "from 0 to 32"),
        ("v6: 56", "v6: 129", "from 0 to 128"),
        (
            "port: 80, weight: 3",
            "port: 80, weight: 0",
            "drain the backend",
        ),
        (
            "port: 80, weight: 3",
            "port: 80, weight: 1001",
            "from 1 to 1000",
        ),
        ("tcpIdle: 2h", "tcpIdle: 2", "`2` is not a time"),
        ("tcpIdle: 2h", "tcpIdle: soon", "`soon` is not a time"),
        ("tcpIdle: 2h", "tcpIdle: 8d", "8d is not from 1s to 7d"),
        ("timeout: 10m", "timeout: 31d", "31d is not from 1s to 30d"),
        ("weight: 95%", "weight: 95", "write 95%"),
        ("weight: 95%", "weight: 95 %", "write 95%"),
        ("weight: 95%", "weight: 94.9999%", "at most 3 decimals"),
        ("weight: 95%", "weight: 195%", "more than 100%"),
        (
            "weight: 95%",
            "weight: 90%",
            "the weights sum to 95%: blue=90%, green=5%",
        ),
        ("name: blue", "name: Blue", "`Blue` is not a DNS label"),
        (
            "labels: {team: pay}",
            "labels: pay",
            "a single value where a map is expected",
        ),
        ("name: web,", "nom: web,", "`name` is missing"),
    ] {
        let text = with(from, to);
        assert!(text.contains(why), "{why}: {text}");
        assert!(
            text.lines().any(|line| line.trim_end().ends_with('^')),
            "{text}"
        );
    }
}

#[test]
fn what_must_be_there_is_asked_for() {
    let text = wrong("apiVersion: splitter/v1\nkind: Service\nmetadata:\nspec: {}\n");
    for field in ["metadata", "spec.listeners", "spec.tracks"] {
        assert!(text.contains(&format!("{field}: `")), "{text}");
    }
    assert!(wrong("").contains("there is no resource in it"));
    assert!(wrong("# nothing\n---\n---\n").contains("there is no resource in it"));
    assert!(wrong("- a\n").contains("a list where a map is expected"));
}

#[test]
fn everything_wrong_in_all_documents_is_reported_at_once() {
    let mut text = FULL
        .replace("weight: 95%", "wieght: 95%")
        .replace("v4: 24", "v4: 99");
    text.push_str("---\n");
    text.push_str(&service("api", 0, ["", ""]));
    text.push_str("---\n");
    text.push_str(&service("shop", 81, [", weight: 10%", ", weight: 20%"]));
    text.push_str("---\nkind: [\n---\n");
    text.push_str(&service("shop", 81, [", weight: 10%", ", weight: 90%"]));
    let text = wrong(&text);
    for line in [
        "web.yaml:15:7: spec.tracks[0].wieght",
        "web.yaml:11:42: spec.affinity.prefix.v4: `99`",
        "web.yaml:35:41: spec.listeners[0].port: `0`",
        "service shop: spec.tracks[1].weight: the weights sum to 30%",
        "this is not YAML",
        "there are two services `shop` in this text",
    ] {
        assert!(text.contains(line), "{line} not in: {text}");
    }
    assert_eq!(count(&text), 6, "{text}");
}

#[test]
fn what_is_wrong_between_services_points_at_the_value() {
    let weights = [", weight: 50%", ", weight: 50%"];
    let text = format!(
        "{}---\n{}",
        service("a", 80, weights),
        service("b", 80, weights)
    );
    assert_eq!(
        wrong(&text),
        "web.yaml:14:15: service b: spec.listeners[0]: listener 198.18.1.100:80/tcp overlaps: it \
         is in the services a, b\n\
         \x20 14 |   listeners: [{vip: 198.18.1.100, port: 80, protocol: tcp}]\n\
         \x20    |               ^\n\
         \x20 fix: a listener belongs to one service: take it out of the others, or use another \
         VIP or port\n"
    );
}

#[test]
fn a_backend_in_two_tracks_points_at_the_second() {
    let text = with(
        "address: 198.18.2.21, port: 80",
        "address: 198.18.2.11, port: 80",
    );
    assert!(
        text.starts_with("web.yaml:23:18: service web: spec.tracks[1].backends[0]:"),
        "{text}"
    );
    assert!(
        text.contains("198.18.2.11:80/tcp is in two tracks, `blue` and `green`"),
        "{text}"
    );
}

#[test]
fn a_listener_without_a_backend_of_its_family_is_refused() {
    let text = with(", {address: \"2001:db8:2::21\", port: 80}", "");
    assert!(
        text.contains(
            "spec.tracks[1].backends: track `green` takes new flows, but has no IPv6 backend"
        ),
        "{text}"
    );
}

#[test]
fn a_field_given_twice_is_refused() {
    let text = with("weight: 95%", "weight: 95%\n      weight: 5%");
    assert!(
        text.contains("web.yaml:16:7: `weight` is given twice: first on line 15"),
        "{text}"
    );
}

#[test]
fn yaml_that_this_reader_does_not_take_is_refused() {
    for (from, to, why) in [
        (
            "weight: 95%",
            "weight: !pct 95%",
            "the tag `!pct` is not known",
        ),
        ("weight: 95%", "weight: 95%\n      <<: {a: 1}", "merge keys"),
        (
            "mode: dnat",
            "? [a, b]\n  : dnat",
            "the key of an entry is a list",
        ),
        ("mode: dnat", "mode: *nowhere", "this is not YAML"),
        ("mode: dnat", "mode: dnat\n\trelease: x", "this is not YAML"),
    ] {
        let text = with(from, to);
        assert!(text.contains(why), "{why}: {text}");
    }
}

#[test]
fn a_text_that_explodes_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let before = level - 1;
        let alias = format!("*a{before}, ").repeat(10);
        text.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
    }
    assert!(wrong(&text).contains("more than 250000 values"));
    let deep = format!("a: {}1{}", "[".repeat(100), "]".repeat(100));
    assert!(wrong(&deep).contains("nested more than 32 deep"));
}

/// As long as the agent takes.
const LONG: usize = 1 << 20;

#[test]
fn thousands_of_mistakes_in_one_long_line_are_told_in_bounded_room() {
    let fields: String = (0..5_000).map(|n| format!("k{n}: 1, ")).collect();
    let text = format!("{{{fields}{}}}", " ".repeat(LONG - fields.len()));
    let found = parse(&text, "x").unwrap_err();
    assert_eq!(found.iter().count(), 101, "the last one counts the rest");
    let kept: usize = found
        .iter()
        .filter_map(|one| one.source_line.as_deref())
        .map(str::len)
        .sum();
    assert!(kept <= 100 * 100, "{kept} bytes of source are kept");
    let told = found.to_string();
    assert!(told.len() < 100_000, "{} bytes", told.len());
    assert!(
        told.contains("k0") && told.contains("more are wrong"),
        "{told}"
    );
}

#[test]
fn a_key_of_any_length_is_not_repeated_whole() {
    let text = format!("? {}\n: 1\n", "k".repeat(LONG / 4));
    let told = wrong(&text);
    assert!(
        told.contains("is not a known field") || told.contains("kkk..."),
        "{told}"
    );
    assert!(told.len() < 20_000, "{} bytes", told.len());
}

#[test]
fn long_values_that_aliases_multiply_are_refused_by_their_bytes() {
    let long = "x".repeat(LONG / 4);
    let text = format!("a: &a {long}\nb: [{}]\n", "*a, ".repeat(1_000));
    let told = wrong(&text);
    assert!(told.contains("bytes in all, aliases written out"), "{told}");
}

#[test]
fn anchors_around_anchors_count_for_what_they_keep() {
    let values = "x, ".repeat(100_000);
    let anchors: String = (0..20).map(|n| format!("&a{n} [")).collect();
    let text = format!("a: {anchors}{values}{}\n", "]".repeat(20));
    assert!(wrong(&text).contains("more than 250000 values"));
}

#[test]
fn many_different_keys_and_anchors_are_read_in_no_time() {
    // Quadratic work on as many would take minutes.
    let keys: String = (0..60_000).map(|n| format!("k{n}: &a{n} 1\n")).collect();
    assert!(wrong(&keys).contains("more are wrong"));
}

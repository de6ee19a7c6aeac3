//! `explain` and `which`, over the tables that a writer has filled.

use super::*;
use crate::api::types::ExplainQuery;

const BY_CLIENT: &str = "
apiVersion: splitter/v1
kind: Service
metadata: {name: web}
spec:
  listeners: [{vip: 198.18.1.100, port: 80, protocol: tcp}]
  affinity: {key: clientIP, backend: clientIP}
  tracks:
    - {name: blue, weight: 90%, backends: [{address: 198.18.2.11, port: 80}, {address: 198.18.2.12, port: 80}]}
    - {name: green, weight: 10%, backends: [{address: 198.18.2.21, port: 80}]}
  fallback: blue
  preview: {vip: 198.18.1.101, port: 80, protocol: tcp, track: green}
  routes:
    - {match: {source: [198.18.9.0/24]}, track: green, reason: staff}
";

fn by_client() -> Under {
    let mut writer = web();
    apply(&mut writer, BY_CLIENT);
    with_hops(&writer);
    writer
}

fn apply(writer: &mut Under, yaml: &str) -> Vec<Change> {
    run(
        writer,
        Command::Apply {
            yaml: yaml.into(),
            origin: "test".into(),
        },
    )
}

/// A way to every backend, as if the kernel had told of it.
fn with_hops(writer: &Under) {
    for (id, _, _) in writer.world.backend_ids.iter() {
        let hop = splitter_ebpf::abi::Hop::new([2; 6], [4; 6], 1);
        writer
            .plane
            .tables()
            .set_hop(id, hop, splitter_ebpf::abi::Path::default());
    }
}

fn explain(writer: &Under, client: &str, to: &str) -> crate::api::types::Explanation {
    let query = ExplainQuery {
        client: client.parse().unwrap(),
        to: to.parse().unwrap(),
        protocol: "tcp".into(),
    };
    writer.explain(&query).unwrap()
}

#[test]
fn a_route_is_named_with_its_reason_and_beats_the_weights() {
    let writer = by_client();
    let told = explain(&writer, "198.18.9.7:1000", "198.18.1.100:80");
    assert_eq!(
        (told.verdict.as_str(), told.by.as_deref()),
        ("forward", Some("route"))
    );
    assert_eq!(told.track.as_deref(), Some("green"));
    assert_eq!(told.backend, Some("198.18.2.21:80".parse().unwrap()));
    assert!(told.why[0].contains("route 1 (staff)"), "{:?}", told.why);
}

#[test]
fn a_packet_that_nobody_wants_is_told_what_there_is() {
    let writer = by_client();
    let told = explain(&writer, "198.18.9.7:1000", "198.18.1.100:81");
    assert_eq!(
        (told.verdict.as_str(), told.reason.as_str()),
        ("pass", "foreign")
    );
    assert_eq!(told.service, None);
    let why = told.why.join("; ");
    assert!(
        why.contains("no service listens at 198.18.1.100:81/tcp"),
        "{why}"
    );
    assert!(why.contains("there is 198.18.1.100:80/tcp"), "{why}");
}

#[test]
fn a_pinned_flow_is_followed_and_its_state_and_age_are_said() {
    let mut writer = web();
    with_hops(&writer);
    // The key of a client 0.0.0.7 in memory order, as `pin` makes it.
    pin(&writer, 1000, 1, State::Established);
    let client = splitter_ebpf::wire::WireAddress::v4(7).to_ip(Family::V4);
    let client = std::net::SocketAddr::new(client, 1000).to_string();
    run(&mut writer, cutover("green"));
    let told = explain(&writer, &client, "198.18.1.100:80");
    assert_eq!(
        (told.reason.as_str(), told.by.as_deref()),
        ("pinned", Some("pin"))
    );
    assert_eq!((told.track.as_deref(), told.slot), (Some("blue"), None));
    let pin = told.pin.unwrap();
    assert!(pin.followed && !pin.draining, "{pin:?}");
    assert_eq!(
        (pin.state.as_str(), pin.track.as_str()),
        ("Established", "blue")
    );
}

#[test]
fn a_flow_that_is_over_or_cut_makes_place_for_a_new_one() {
    for state in [State::Closing, State::ResetNew, State::Cut] {
        let mut writer = web();
        with_hops(&writer);
        pin(&writer, 1000, 1, state);
        run(&mut writer, cutover("green"));
        let client = splitter_ebpf::wire::WireAddress::v4(7).to_ip(Family::V4);
        let client = std::net::SocketAddr::new(client, 1000).to_string();
        let told = explain(&writer, &client, "198.18.1.100:80");
        assert_eq!(
            (told.reason.as_str(), told.track.as_deref()),
            ("new_flow", Some("green")),
            "{state:?}"
        );
        assert!(!told.pin.unwrap().followed);
        assert!(told.why[0].contains("it is over"), "{:?}", told.why);
    }
}

#[test]
fn without_a_backend_the_fallback_or_what_becomes_of_it_is_said() {
    let mut writer = by_client();
    let what = crate::api::types::DrainTarget::Backend {
        address: "198.18.2.21".parse().unwrap(),
        port: 80,
    };
    run(
        &mut writer,
        Command::Drain {
            service: "web".into(),
            what,
            timeout: None,
            on_timeout: None,
            spread: None,
        },
    );
    // Once packets that were in flight are done.
    scans(&mut writer);
    let told = explain(&writer, "198.18.9.7:1000", "198.18.1.100:80");
    assert_eq!((told.track.as_deref(), told.fallback), (Some("blue"), true));
    assert!(
        told.why
            .iter()
            .any(|why| why == "the fallback, track blue, takes it"),
        "{:?}",
        told.why
    );
    let told = explain(&writer, "198.18.9.7:1000", "198.18.1.101:80");
    assert_eq!(
        (told.reason.as_str(), told.by.as_deref()),
        ("no_backend", Some("preview"))
    );
    assert!(
        told.why
            .iter()
            .any(|why| why == "a preview never falls back"),
        "{:?}",
        told.why
    );
    let kinds: Vec<_> = writer.conditions.keys().copied().collect();
    assert!(
        kinds.contains(&crate::api::types::ConditionKind::FallbackTaken),
        "{kinds:?}"
    );
    assert!(
        !kinds.contains(&crate::api::types::ConditionKind::NoBackend),
        "{kinds:?}"
    );
}

#[test]
fn a_backend_without_a_way_is_said_to_have_none() {
    let writer = web();
    let told = explain(&writer, "198.18.9.7:1000", "198.18.1.100:80");
    assert_eq!(
        (told.verdict.as_str(), told.reason.as_str()),
        ("drop", "no_next_hop")
    );
    assert_eq!(told.backend, None);
}

#[test]
fn which_wants_clients_that_keep_their_track() {
    let writer = web();
    let error = writer
        .which("198.18.9.7".parse().unwrap(), "web")
        .unwrap_err();
    assert!(
        error
            .message
            .contains("splitterctl explain 198.18.9.7:40000 198.18.1.100:80"),
        "{}",
        error.message
    );
    assert_eq!(error.code.exit_code(), 1);
}

#[test]
fn which_names_the_very_weight_at_which_the_client_moves() {
    let mut writer = by_client();
    for host in 1..40 {
        let client = std::net::IpAddr::from([198, 18, 8, host]);
        let told = writer.which(client, "web").unwrap();
        let moves = told.moves.unwrap();
        assert_ne!(moves.to, told.track);
        assert!(told.backend.is_some());
        let met = |writer: &mut Under, weight: &str| {
            let weights = vec![(moves.to.clone(), format!("{weight}%"))];
            run(
                writer,
                Command::SetWeight {
                    target: target(),
                    weights,
                    ramp: None,
                },
            );
            let met = writer.which(client, "web").unwrap().track;
            run(
                writer,
                Command::Undo {
                    target: target(),
                    existing: Existing::Keep,
                    to_generation: None,
                },
            );
            met
        };
        assert_eq!(met(&mut writer, &moves.at), moves.to);
        let at: crate::model::Weight = format!("{}%", moves.at).parse().unwrap();
        let below = crate::model::Weight::from_millis(at.millis() - 1).unwrap();
        if !below.is_under_one_slot() {
            assert_eq!(met(&mut writer, &below.to_string()), told.track);
        }
    }
    let routed = writer.which("198.18.9.7".parse().unwrap(), "web").unwrap();
    assert_eq!(
        (routed.by.as_str(), routed.reason.as_deref(), routed.moves),
        ("route", Some("staff"), None)
    );
}

#[test]
fn a_route_whose_track_drains_is_passed_over_and_no_weight_is_named_meanwhile() {
    let mut writer = by_client();
    let all = "    - {match: {source: [198.18.0.0/16]}, track: blue, reason: all}\n";
    apply(&mut writer, &format!("{BY_CLIENT}{all}"));
    let drain = Command::Drain {
        service: "web".into(),
        what: crate::api::types::DrainTarget::Track("green".into()),
        timeout: None,
        on_timeout: None,
        spread: None,
    };
    run(&mut writer, drain);
    let told = explain(&writer, "198.18.9.7:1000", "198.18.1.100:80");
    assert_eq!(
        (told.by.as_deref(), told.track.as_deref()),
        (Some("route"), Some("blue"))
    );
    assert!(told.why[0].contains("route 2 (all)"), "{:?}", told.why);
    assert!(
        told.why[1].contains("a route to track green matches too"),
        "{:?}",
        told.why
    );
    let which = |client: &str| writer.which(client.parse().unwrap(), "web").unwrap();
    assert_eq!(which("198.18.9.7").reason.as_deref(), Some("all"));
    let weighed = which("198.19.0.7");
    assert_eq!(
        (weighed.by.as_str(), weighed.track.as_str(), weighed.moves),
        ("weights", "blue", None)
    );
}

#[test]
fn which_names_a_backend_only_where_the_client_keeps_it() {
    let mut writer = by_client();
    let client = "198.18.9.7".parse().unwrap();
    assert!(writer.which(client, "web").unwrap().backend.is_some());
    apply(&mut writer, &BY_CLIENT.replace(", backend: clientIP", ""));
    assert_eq!(writer.which(client, "web").unwrap().backend, None);
}

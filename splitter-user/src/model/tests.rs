#![expect(clippy::unwrap_used, reason = "test code")]

mod ways;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn weight(text: &str) -> Option<Weight> {
    Some(text.parse().unwrap())
}

fn listener(vip: &str, port: u16) -> Listener {
    Listener {
        vip: ip(vip),
        port,
        protocol: Protocol::Tcp,
    }
}

fn backend(address: &str, port: u16) -> Backend {
    Backend {
        address: ip(address),
        port: (port > 0).then_some(port),
        weight: 1,
    }
}

fn track(name: &str, share: &str, backends: Vec<Backend>) -> Track {
    Track {
        name: name.to_owned(),
        version: None,
        weight: weight(share),
        slow_start: None,
        backends,
    }
}

fn service(name: &str) -> Service {
    Service {
        name: name.to_owned(),
        labels: BTreeMap::new(),
        listeners: vec![listener("198.18.1.100", 80)],
        mode: Mode::Dnat,
        release: None,
        affinity: Affinity::default(),
        tracks: vec![
            track("blue", "95%", vec![backend("198.18.2.11", 80)]),
            track("green", "5%", vec![backend("198.18.2.21", 80)]),
        ],
        fallback: None,
        no_backend: NoBackend::Drop,
        preview: None,
        routes: Vec::new(),
        flows: FlowTimes::default(),
        drain: DrainPolicy::default(),
    }
}

fn set(services: Vec<Service>) -> BTreeMap<String, Service> {
    services.into_iter().map(|s| (s.name.clone(), s)).collect()
}

/// The one problem of this service: where it is, and its whole text.
fn problem(change: impl FnOnce(&mut Service)) -> (Place, String) {
    let mut service = service("web");
    change(&mut service);
    only(validate_set(&set(vec![service])))
}

fn only(problems: Vec<Problem>) -> (Place, String) {
    assert_eq!(problems.len(), 1, "{problems:#?}");
    let place = problems[0].at.last().unwrap().place;
    (place, problems[0].to_string())
}

#[test]
fn weights_are_read_with_a_sign_and_written_without() {
    for (text, millis, shown) in [
        ("0%", 0, "0"),
        ("5%", 5_000, "5"),
        ("5.000%", 5_000, "5"),
        ("0.125%", 125, "0.125"),
        ("33.3%", 33_300, "33.3"),
        ("100%", 100_000, "100"),
    ] {
        let weight: Weight = text.parse().unwrap();
        assert_eq!(
            (weight.millis(), weight.to_string().as_str()),
            (millis, shown)
        );
    }
}

#[test]
fn weights_that_are_none_say_why() {
    for text in [
        "", "%", "5", "-5%", "+5%", ".5%", "5.%", "5 %", " 5%", "5%%", "five%", "5e1%",
    ] {
        assert_eq!(
            text.parse::<Weight>(),
            Err(WeightError::NotPercent),
            "{text}"
        );
    }
    assert_eq!("0.0001%".parse::<Weight>(), Err(WeightError::TooFine));
    for text in ["100.001%", "101%", "99999999999999999999%", "4294967295%"] {
        assert_eq!(text.parse::<Weight>(), Err(WeightError::OverFull), "{text}");
    }
}

#[test]
fn the_least_weight_is_the_least_that_is_a_whole_slot() {
    let slots = |weight: Weight| f64::from(weight.millis()) * 65_536.0 / 100_000.0;
    let under = Weight::from_millis(Weight::LEAST.millis() - 1).unwrap();
    assert!(slots(Weight::LEAST) >= 1.0 && slots(under) < 1.0);
    assert!(under.is_under_one_slot() && !Weight::LEAST.is_under_one_slot());
    assert!(!Weight::ZERO.is_under_one_slot());
}

#[test]
fn a_service_survives_the_store() {
    let service = service("web");
    let json = serde_json::to_string(&service).unwrap();
    assert_eq!(serde_json::from_str::<Service>(&json).unwrap(), service);
    assert!(serde_json::from_str::<Weight>("100001").is_err());
}

#[test]
fn addresses_are_shown_as_people_write_them() {
    assert_eq!(
        listener("198.18.1.100", 80).to_string(),
        "198.18.1.100:80/tcp"
    );
    assert_eq!(
        listener("2001:db8::1", 80).to_string(),
        "[2001:db8::1]:80/tcp"
    );
    assert_eq!(
        backend("2001:db8::1", 8080).to_string(),
        "[2001:db8::1]:8080"
    );
    assert_eq!(backend("2001:db8::1", 0).to_string(), "2001:db8::1");
}

#[test]
fn times_are_shown_in_the_units_that_people_write() {
    for (nanos, shown) in [
        (0, "0s"),
        (1, "1ns"),
        (1_500_000_000, "1s 500ms"),
        (90_000_000_000, "1m 30s"),
        (2_678_400_000_000_000, "31d"),
        (90_061_001_001_001, "1d 1h 1m 1s 1ms 1us 1ns"),
    ] {
        let time = Duration::from_nanos(nanos);
        assert_eq!(show_time(time), shown);
        assert_eq!(humantime::parse_duration(shown).unwrap(), time);
    }
}

#[test]
fn an_endpoint_has_the_listeners_port_unless_the_backend_names_one() {
    let v6 = listener("2001:db8::1", 443);
    let v4 = listener("198.18.1.100", 443);
    assert_eq!(
        backend("198.18.2.1", 0).endpoint_for(&v4).unwrap().port,
        443
    );
    assert_eq!(
        backend("198.18.2.1", 80).endpoint_for(&v4).unwrap().port,
        80
    );
    assert_eq!(backend("198.18.2.1", 80).endpoint_for(&v6), None);
}

#[test]
fn the_salt_is_the_services_own_or_the_releases_or_the_name() {
    let mut service = service("web");
    assert_eq!(service.salt(), "web");
    service.release = Some("shop".to_owned());
    assert_eq!(service.salt(), "shop");
    service.affinity.salt = Some("web-1".to_owned());
    assert_eq!(service.salt(), "web-1");
}

#[test]
fn a_good_set_has_no_problems() {
    let mut other = service("api");
    other.listeners[0].port = 81;
    assert_eq!(validate_set(&set(vec![service("web"), other])), []);
}

#[test]
fn names_are_dns_labels() {
    for name in ["web", "a", "9", "web-2", &"a".repeat(63)] {
        assert!(is_label(name), "{name}");
    }
    for name in ["", "Web", "-a", "a-", "a_b", "a.b", "ä", &"a".repeat(64)] {
        assert!(!is_label(name), "{name}");
    }
    let (place, text) = problem(|s| s.name = "Web".to_owned());
    assert_eq!(place, Place::Name);
    assert!(text.contains("`Web` is not a DNS label"), "{text}");
    let (place, _) = problem(|s| s.release = Some("a b".to_owned()));
    assert_eq!(place, Place::Release);
    let (place, _) = problem(|s| s.tracks[1].name = "x/y".to_owned());
    assert_eq!(place, Place::TrackName(1));
    let (place, _) = problem(|s| s.tracks[1].version = Some("1\n2".to_owned()));
    assert_eq!(place, Place::Version(1));
}

#[test]
fn addresses_must_be_unicast() {
    for (address, kind) in [
        ("0.0.0.0", "unspecified"),
        ("127.0.0.1", "loopback"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "broadcast"),
    ] {
        let (place, text) = problem(|s| s.listeners[0].vip = ip(address));
        assert_eq!(place, Place::Vip(0));
        assert!(text.contains(kind) && text.contains(address), "{text}");
    }
    for address in ["::", "::1", "ff02::1", "::ffff:198.18.1.1", "fe80::1"] {
        let mut service = service("web");
        service.listeners.push(listener("2001:db8::1", 80));
        for track in &mut service.tracks {
            track.backends.push(backend("2001:db8:2::1", 8080));
        }
        service.tracks[1].backends[1].address = ip(address);
        let (place, text) = only(validate_service(&service));
        assert_eq!(place, Place::Address(1, 1));
        assert!(text.contains("unicast"), "{text}");
    }
}

#[test]
fn ports_backend_weights_prefixes_and_times_have_bounds() {
    assert_eq!(problem(|s| s.listeners[0].port = 0).0, Place::Port(0));
    assert_eq!(
        problem(|s| s.tracks[0].backends[0].port = Some(0)).0,
        Place::BackendPort(0, 0)
    );
    for weight in [0, 1_001] {
        let (place, text) = problem(|s| s.tracks[0].backends[0].weight = weight);
        assert_eq!(place, Place::BackendWeight(0, 0));
        assert!(
            text.contains("from 1 to 1000") && text.contains("drain"),
            "{text}"
        );
    }
    assert_eq!(problem(|s| s.affinity.prefix_v4 = 33).0, Place::PrefixV4);
    assert_eq!(problem(|s| s.affinity.prefix_v6 = 129).0, Place::PrefixV6);
    let (place, text) = problem(|s| s.flows.closing = Duration::from_millis(10));
    assert_eq!(place, Place::Flow(FlowTime::Closing));
    assert!(text.contains("10ms is not from 1s to 7d"), "{text}");
    let (place, _) = problem(|s| s.flows.tcp_idle = Duration::from_secs(604_801));
    assert_eq!(place, Place::Flow(FlowTime::TcpIdle));
    let (place, _) = problem(|s| s.drain.timeout = Duration::from_secs(2_592_001));
    assert_eq!(place, Place::DrainTimeout);
}

#[test]
fn a_service_needs_listeners_and_tracks() {
    let (place, _) = problem(|s| s.listeners.clear());
    assert_eq!(place, Place::Listeners);
    let (place, text) = problem(|s| s.tracks.clear());
    assert_eq!(place, Place::Tracks);
    assert!(text.contains("from 1 to 8"), "{text}");
    let (place, text) = problem(|s| {
        for number in 0..7 {
            s.tracks.push(track(&format!("t{number}"), "0%", vec![]));
        }
    });
    assert_eq!(place, Place::Tracks);
    assert!(text.contains("9 tracks"), "{text}");
}

#[test]
fn weights_are_for_all_tracks_or_none_and_sum_to_everything() {
    let (place, text) = problem(|s| s.tracks[1].weight = None);
    assert_eq!(place, Place::Weight(1));
    assert!(text.contains("for all tracks or for none"), "{text}");
    let (place, text) = problem(|s| s.tracks[1].weight = weight("4.5%"));
    assert_eq!(place, Place::Weight(1));
    assert!(
        text.contains("sum to 99.5%") && text.contains("blue=95%, green=4.5%"),
        "{text}"
    );
    assert!(text.contains("add 0.5%"), "{text}");
    let (_, text) = problem(|s| s.tracks[1].weight = weight("100%"));
    assert!(
        text.contains("sum to 195%") && text.contains("take 95% away"),
        "{text}"
    );
    let (place, text) = problem(|s| {
        s.tracks[0].weight = weight("99.999%");
        s.tracks[1].weight = weight("0.001%");
    });
    assert_eq!(place, Place::Weight(1));
    assert!(
        text.contains("less than one slot") && text.contains("0.002%"),
        "{text}"
    );
    let mut none = service("web");
    none.tracks.iter_mut().for_each(|track| track.weight = None);
    assert_eq!(validate_service(&none), []);
}

#[test]
fn track_names_and_backends_are_not_repeated() {
    let (place, text) = problem(|s| s.tracks[1].name = "blue".to_owned());
    assert_eq!(place, Place::TrackName(1));
    assert!(text.contains("two tracks `blue`"), "{text}");
    let (place, text) = problem(|s| s.tracks[0].backends.push(backend("198.18.2.11", 0)));
    assert_eq!(place, Place::Backend(0, 1));
    assert!(
        text.contains("198.18.2.11:80/tcp is twice in track `blue`"),
        "{text}"
    );
    let (place, text) = problem(|s| s.tracks[1].backends.push(backend("198.18.2.11", 80)));
    assert_eq!(place, Place::Backend(1, 1));
    assert!(text.contains("in two tracks, `blue` and `green`"), "{text}");
    let mut two_ports = service("web");
    two_ports.tracks[1].backends[0] = backend("198.18.2.11", 81);
    assert_eq!(validate_service(&two_ports), []);
}

#[test]
fn a_weighted_track_has_backends_of_every_family_that_is_dialled() {
    let (place, text) = problem(|s| s.tracks[1].backends.clear());
    assert_eq!(place, Place::Backends(1));
    assert!(
        text.contains("`green` takes new flows, but has no IPv4 backend"),
        "{text}"
    );
    let mut idle = service("web");
    idle.tracks = vec![
        track("blue", "100%", vec![backend("198.18.2.11", 80)]),
        track("green", "0%", vec![]),
    ];
    assert_eq!(validate_service(&idle), []);
    let (_, text) = problem(|s| {
        s.tracks.truncate(1);
        s.tracks[0].weight = None;
        s.tracks[0].backends.clear();
    });
    assert!(text.contains("`blue` takes new flows"), "{text}");
    let (place, text) = problem(|s| s.tracks[0].backends.push(backend("2001:db8::1", 80)));
    assert_eq!(place, Place::Address(0, 1));
    assert!(text.contains("is IPv6, but no listener"), "{text}");
}

#[test]
fn a_listener_belongs_to_one_service() {
    let (place, text) = problem(|s| s.listeners.push(s.listeners[0]));
    assert_eq!(place, Place::Listener(1));
    assert!(
        text.contains("198.18.1.100:80/tcp is twice in service `web`"),
        "{text}"
    );
    let mut other = service("api");
    for (t, address) in ["198.18.3.1", "198.18.3.2"].iter().enumerate() {
        other.tracks[t].backends[0].address = ip(address);
    }
    let (_, text) = only(validate_set(&set(vec![service("web"), other.clone()])));
    assert!(
        text.contains("overlaps: it is in the services api, web"),
        "{text}"
    );
    other.listeners[0].protocol = Protocol::Udp;
    assert_eq!(validate_set(&set(vec![service("web"), other])), []);
}

#[test]
fn a_backend_is_no_listener_of_any_service() {
    let mut other = service("api");
    other.listeners = vec![listener("198.18.2.11", 80)];
    other.tracks = vec![track("one", "100%", vec![backend("198.18.3.1", 0)])];
    let (place, text) = only(validate_set(&set(vec![service("web"), other.clone()])));
    assert_eq!(place, Place::Backend(0, 0));
    assert!(
        text.contains("198.18.2.11:80/tcp of service `web` is itself a listener of service `api`"),
        "{text}"
    );
    other.listeners[0].port = 81;
    assert_eq!(validate_set(&set(vec![service("web"), other])), []);
}

#[test]
fn a_backend_answers_for_at_most_four_listeners_of_the_host() {
    let services = |count: u16| {
        let services = (0..count).map(|number| {
            let mut service = service(&format!("web-{number}"));
            service.listeners[0].port = 8_000 + number;
            service.tracks.truncate(1);
            service.tracks[0].weight = weight("100%");
            service
        });
        set(services.collect())
    };
    assert_eq!(validate_set(&services(4)), []);
    let (place, text) = only(validate_set(&services(5)));
    assert_eq!(place, Place::Backend(0, 0));
    assert!(
        text.contains("198.18.2.11:80/tcp would answer for 5 listeners"),
        "{text}"
    );
    assert!(text.contains("at most 4"), "{text}");
}

#[test]
fn a_backend_that_clients_are_translated_for_answers_for_any_number() {
    for mode in [Mode::FullNat, Mode::DsrL2, Mode::Ipip] {
        let services = (0..9).map(|number| {
            let mut service = service(&format!("web-{number}"));
            service.mode = mode;
            service.listeners[0].port = 8_000 + number;
            for track in &mut service.tracks {
                track.backends[0].port = None;
            }
            if mode == Mode::FullNat {
                service.tracks[0].backends[0].port = Some(80);
            }
            service
        });
        assert_eq!(validate_set(&set(services.collect())), [], "{mode}");
    }
}

#[test]
fn where_packets_keep_their_port_a_backends_is_the_listeners() {
    for mode in [Mode::DsrL2, Mode::Ipip] {
        let (place, text) = problem(|s| {
            s.mode = mode;
            s.tracks[1].backends[0].port = Some(8080);
        });
        assert_eq!(place, Place::BackendPort(1, 0));
        for part in [
            "198.18.2.21:8080 has port 8080",
            "dialled at 80",
            mode.name(),
            "leave the port out",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let (_, text) = problem(|s| {
            s.mode = mode;
            s.listeners.push(listener("198.18.1.100", 443));
            s.tracks[1].backends[0].port = None;
        });
        assert!(text.contains("dialled at 80, 443"), "{text}");
        let mut several = service("web");
        several.mode = mode;
        several.listeners.push(listener("198.18.1.100", 443));
        several.listeners.push(listener("2001:db8::100", 8080));
        for track in &mut several.tracks {
            track.backends[0].port = None;
            track.backends.push(backend("2001:db8:2::1", 0));
        }
        several.tracks[0].backends[1] = backend("2001:db8:2::2", 8080);
        assert_eq!(validate_service(&several), [], "a port of its own family");
    }
    for mode in [Mode::Dnat, Mode::FullNat] {
        let mut other = service("web");
        other.mode = mode;
        other.tracks[1].backends[0].port = Some(8080);
        assert_eq!(validate_service(&other), [], "{mode}");
    }
}

#[test]
fn a_service_that_was_stored_before_there_were_modes_is_in_mode_dnat() {
    let mut json = serde_json::to_value(service("web")).unwrap();
    json.as_object_mut().unwrap().remove("mode");
    json.as_object_mut().unwrap().remove("no_backend");
    let read: Service = serde_json::from_value(json).unwrap();
    assert_eq!((read.mode, read.no_backend), (Mode::Dnat, NoBackend::Drop));
    for (name, mode) in Mode::NAMES {
        assert_eq!(serde_json::to_value(mode).unwrap(), name);
        assert_eq!(mode.name(), name);
    }
    for (name, no_backend) in NoBackend::NAMES {
        assert_eq!(serde_json::to_value(no_backend).unwrap(), name);
        assert_eq!(no_backend.name(), name);
    }
}

#[test]
fn the_hosts_limits_count_services_and_backends() {
    let services = set(vec![service("a"), service("b")]);
    assert_eq!(validate_limits(&services, 2, 4), []);
    let problems = validate_limits(&services, 1, 3);
    assert_eq!(problems.len(), 2);
    assert!(
        problems[0]
            .to_string()
            .contains("2 services in all: this host has room for 1")
    );
    assert!(problems[1].to_string().contains("limits.backends"));
}

#[test]
fn everything_is_reported_at_once() {
    let mut service = service("Web");
    service.listeners[0].port = 0;
    service.tracks[0].weight = weight("1%");
    service.tracks[1].backends[0].weight = 0;
    assert_eq!(validate_service(&service).len(), 4);
}

#[test]
fn more_pairs_of_listeners_and_backends_than_a_host_has_are_told_and_nothing_else_is_looked_at() {
    let wide = |name: &str| {
        let mut wide = service(name);
        wide.listeners = (1..=600)
            .map(|port| listener("198.18.1.100", port))
            .collect();
        wide.tracks[0].backends = (0..600).map(|_| backend("198.18.2.11", 80)).collect();
        wide
    };
    let told = [
        validate_service(&wide("a")),
        validate_set(&set(vec![wide("a"), wide("b")])),
    ];
    for problems in told {
        assert_eq!(problems.len(), 1);
        let text = problems[0].to_string();
        assert!(text.contains("at most 262144"), "{text}");
    }
}

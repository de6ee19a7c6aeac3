#![expect(clippy::unwrap_used, reason = "test code")]

//! What is exported can be applied.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use proptest::prelude::*;

use super::super::{parse, render};
use super::FULL;
use crate::model::{
    Affinity, AffinityKey, Backend, Curve, DrainPolicy, FlowTimes, Listener, Mode, NoBackend,
    OnTimeout, Preview, Protocol, Route, Service, SlowStart, Track, Weight, validate_set,
};

const EXPORTED: &str = r#"apiVersion: splitter/v1
kind: Service
metadata:
  name: web
  labels:
    team: pay
spec:
  listeners:
  - {vip: "198.18.1.100", port: 80, protocol: tcp}
  - {vip: "2001:db8:1::100", port: 80, protocol: udp}
  mode: dnat
  release: shop
  affinity:
    key: clientIP
    prefix: {v4: 24, v6: 56}
    salt: web-1
    backend: flow
  tracks:
  - name: blue
    version: "1.10"
    weight: 95%
    backends:
    - {address: "198.18.2.11", port: 80, weight: 3}
    - {address: "2001:db8:2::11", weight: 1}
  - name: green
    version: "1.9.0"
    weight: 5%
    slowStart: {duration: 1m, curve: linear}
    backends:
    - {address: "198.18.2.21", port: 80, weight: 1}
    - {address: "2001:db8:2::21", port: 80, weight: 1}
  fallback: blue
  noBackend: drop
  preview: {vip: "198.18.1.101", port: 80, protocol: tcp, track: green}
  routes:
  - {match: {source: ["198.18.9.0/24", "2001:db8:9::/48"]}, track: green, reason: "staff"}
  flows:
    tcpIdle: 2h
    udpIdle: 1m 30s
    unconfirmed: 5s
    closing: 1s 500ms
  drain:
    timeout: 10m
    onTimeout: keep
"#;

#[test]
fn an_export_reads_like_what_people_write() {
    let services = parse(FULL, "web.yaml").unwrap();
    let text = render(&services).unwrap();
    assert_eq!(text, EXPORTED);
}

fn label() -> impl Strategy<Value = String> {
    "[a-z]([a-z0-9-]{0,20}[a-z0-9])?"
}

/// Words that YAML could take for something else, and any other text without control characters.
fn text(most: usize) -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "null",
        "~",
        "yes",
        "true",
        "1.10",
        "0x1f",
        "1e3",
        ".inf",
        "- a",
        "a: b",
        "#x",
        "*a",
        "&a",
        "!t",
        "%",
        "@",
        "'",
        "\"",
        "{}",
        "[]",
        " a ",
        "a #b",
        "<<",
        "?",
        "|",
        ">",
        "2001:db8::1",
        "---",
        "...",
        "2026-01-01",
        "\u{feff}x",
        "é",
        "\u{2028}",
        "0o7",
        "12:30:45",
    ]);
    prop_oneof![
        odd.prop_map(str::to_owned),
        prop::collection::vec(any::<char>(), 1..most).prop_map(|chars| {
            let text: String = chars.into_iter().filter(|c| !c.is_control()).collect();
            if text.is_empty() {
                "x".to_owned()
            } else {
                text
            }
        }),
    ]
}

fn seconds(most: u64) -> impl Strategy<Value = Duration> {
    (1_000..=most * 1_000).prop_map(Duration::from_millis)
}

fn affinity() -> impl Strategy<Value = Affinity> {
    let both = prop_oneof![
        Just((AffinityKey::Flow, AffinityKey::Flow)),
        Just((AffinityKey::ClientIp, AffinityKey::Flow)),
        Just((AffinityKey::ClientIp, AffinityKey::ClientIp)),
    ];
    (both, 0..=32_u8, 0..=128_u8, prop::option::of(text(40))).prop_map(
        |((key, backend), prefix_v4, prefix_v6, salt)| Affinity {
            key,
            backend,
            prefix_v4,
            prefix_v6,
            salt,
        },
    )
}

fn mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(Mode::NAMES.map(|(_, mode)| mode).to_vec())
}

fn no_backend() -> impl Strategy<Value = NoBackend> {
    prop::sample::select(NoBackend::NAMES.map(|(_, no_backend)| no_backend).to_vec())
}

fn backend(address: IpAddr) -> impl Strategy<Value = Backend> {
    (prop::option::of(1..=u16::MAX), 1..=1_000_u32).prop_map(move |(port, weight)| Backend {
        address,
        port,
        weight,
    })
}

/// Tracks with weights of 100 % in all, or none; addresses differ by track and place.
fn tracks() -> impl Strategy<Value = Vec<Track>> {
    let backends = |t: u8| {
        let v4 = move |b| IpAddr::V4(Ipv4Addr::new(198, 18, 100 + t, b));
        let v6 = move |b| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, t.into(), 0, 0, 0, b));
        (1..5_u8, 1..5_u16).prop_flat_map(move |(fours, sixes)| {
            let all = (1..=fours).map(v4).chain((1..=sixes).map(v6));
            all.map(backend).collect::<Vec<_>>()
        })
    };
    let slow_start = || prop::option::of(seconds(3_600));
    let track = move |t: u8| (prop::option::of(text(60)), slow_start(), backends(t));
    (1..=8_u8, any::<bool>()).prop_flat_map(move |(count, weighted)| {
        (0..count)
            .map(track)
            .collect::<Vec<_>>()
            .prop_map(move |tracks| {
                let first = 100_000 - 1_001 * (u32::from(count) - 1);
                let weight = |t: usize| Weight::from_millis(if t == 0 { first } else { 1_001 });
                type Parts = (Option<String>, Option<Duration>, Vec<Backend>);
                let track = |(t, (version, slow_start, backends)): (usize, Parts)| Track {
                    name: format!("track-{t}"),
                    version,
                    weight: weighted.then(|| weight(t).unwrap()),
                    slow_start: slow_start.map(|duration| SlowStart {
                        duration,
                        curve: Curve::Linear,
                    }),
                    backends,
                };
                tracks.into_iter().enumerate().map(track).collect()
            })
    })
}

fn on_timeout() -> impl Strategy<Value = OnTimeout> {
    prop::sample::select(OnTimeout::NAMES.map(|(_, word)| word).to_vec())
}

/// Routes: networks, which of the tracks, why.
fn routes() -> impl Strategy<Value = Vec<(BTreeSet<IpNet>, prop::sample::Index, Option<String>)>> {
    let network = prop_oneof![
        (any::<u32>(), 0..=32_u8)
            .prop_map(|(bits, most)| IpNet::new(Ipv4Addr::from_bits(bits).into(), most)),
        (any::<u128>(), 0..=128_u8)
            .prop_map(|(bits, most)| IpNet::new(Ipv6Addr::from_bits(bits).into(), most)),
    ];
    let network = network.prop_map(|network| network.unwrap().trunc());
    let sources = prop::collection::btree_set(network, 1..4);
    prop::collection::vec(
        (
            sources,
            any::<prop::sample::Index>(),
            prop::option::of(text(40)),
        ),
        0..4,
    )
}

prop_compose! {
    fn service(name: String, place: u8)(
        labels in prop::collection::btree_map(text(60), text(200), 0..4),
        ports in prop::collection::btree_set(1..=u16::MAX, 1..=2),
        udp in any::<bool>(),
        release in prop::option::of(label()),
        affinity in affinity(),
        mode in mode(),
        no_backend in no_backend(),
        tracks in tracks(),
        fallback in prop::option::of(any::<prop::sample::Index>()),
        preview in prop::option::of((any::<prop::sample::Index>(), any::<bool>())),
        routes in routes(),
        times in (seconds(604_800), seconds(60), seconds(60), seconds(60)),
        timeout in seconds(2_592_000),
        closes in (on_timeout(), 0_u64..86_400),
    ) -> Service {
        let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
        let v4 = IpAddr::V4(Ipv4Addr::new(198, 19, 0, place));
        let v6 = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, place.into()));
        let dialled = |port| [v4, v6].map(|vip| Listener { vip, port, protocol });
        let mut tracks = tracks;
        for backend in tracks.iter_mut().flat_map(|track| &mut track.backends) {
            backend.address = moved(backend.address, place);
            if mode.is_one_way() {
                backend.port = None;
            }
        }
        // Of the other protocol, so that nobody else dials it; a one-way backend keeps the port.
        let first = ports.first().copied().unwrap_or(1);
        Service {
            name: name.clone(),
            labels,
            listeners: ports.into_iter().flat_map(dialled).collect(),
            mode,
            release,
            affinity,
            fallback: fallback.map(|any| any.get(&tracks).name.clone()),
            preview: preview.map(|(any, six)| Preview {
                listener: Listener {
                    vip: if six { v6 } else { v4 },
                    port: first,
                    protocol: if udp { Protocol::Tcp } else { Protocol::Udp },
                },
                track: any.get(&tracks).name.clone(),
            }),
            routes: routes
                .into_iter()
                .map(|(sources, any, reason)| Route {
                    sources: sources.into_iter().collect(),
                    track: any.get(&tracks).name.clone(),
                    reason,
                })
                .collect(),
            tracks,
            no_backend,
            flows: FlowTimes {
                tcp_idle: times.0,
                udp_idle: times.1,
                unconfirmed: times.2,
                closing: times.3,
            },
            drain: DrainPolicy {
                timeout,
                on_timeout: closes.0,
                close_spread: Duration::from_secs(closes.1),
            },
        }
    }
}

/// Each service has its own backends.
fn moved(address: IpAddr, place: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d + 10 * place))
        }
        IpAddr::V6(v6) => {
            let mut segments = v6.segments();
            segments[6] = place.into();
            IpAddr::V6(segments.into())
        }
    }
}

proptest! {
    #[test]
    fn an_export_reads_back_as_the_same_services(
        one in service("one".to_owned(), 1), two in service("two".to_owned(), 2),
    ) {
        let services = vec![one, two];
        let set: BTreeMap<_, _> = services.iter().map(|s| (s.name.clone(), s.clone())).collect();
        prop_assert_eq!(validate_set(&set), vec![]);
        let text = render(&services).unwrap();
        match parse(&text, "export") {
            Ok(read) => prop_assert_eq!(read, services),
            Err(error) => prop_assert!(false, "{}\n{}", error, text),
        }
    }

    #[test]
    fn no_text_makes_the_reader_fail_badly(text in ".{0,200}") {
        let _ = parse(&text, "any");
    }

    #[test]
    fn no_damage_makes_the_reader_fail_badly(at in 0..FULL.len(), with in "[\\[\\]{}:,&*%|>'\"\n -]{0,3}") {
        prop_assume!(FULL.is_char_boundary(at));
        let text = format!("{}{with}{}", &FULL[..at], &FULL[at..]);
        let _ = parse(&text, "damaged").map_err(|error| error.to_string());
        let _ = parse(&FULL[..at], "cut").map_err(|error| error.to_string());
    }
}

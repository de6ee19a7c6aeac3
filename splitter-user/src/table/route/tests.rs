#![expect(clippy::unwrap_used, reason = "test code")]

use proptest::prelude::*;
use splitter_ebpf::wire::Family as WireFamily;

use super::*;

type Rules = Vec<(Vec<IpNet>, u8)>;

fn nets(list: &[&str]) -> Vec<IpNet> {
    list.iter().map(|net| net.parse().unwrap()).collect()
}

fn compile(rules: &Rules) -> Spans {
    Spans::compile(rules.iter().map(|(nets, track)| (nets.as_slice(), *track)))
}

/// What the rules say, one after the other.
fn first_match(rules: &Rules, client: IpAddr) -> Option<u8> {
    let mut matching = rules
        .iter()
        .filter(|(nets, _)| nets.iter().any(|net| net.contains(&client)));
    matching.next().map(|(_, track)| *track)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn an_earlier_short_prefix_covers_later_long_ones() {
    let rules = vec![(nets(&["198.18.0.0/16"]), 1), (nets(&["198.18.9.0/24"]), 2)];
    let spans = compile(&rules);
    for (client, track) in [
        ("198.17.255.255", None),
        ("198.18.0.0", Some(1)),
        ("198.18.9.7", Some(1)),
        ("198.18.255.255", Some(1)),
        ("198.19.0.0", None),
    ] {
        assert_eq!(spans.find(ip(client)), track, "{client}");
    }
    assert_eq!(
        spans.iter().count(),
        3,
        "the covered rule cuts nothing: {spans:?}"
    );
}

#[test]
fn an_earlier_long_prefix_cuts_a_hole_into_a_later_short_one() {
    let rules = vec![(nets(&["198.18.9.0/24"]), 2), (nets(&["198.18.0.0/16"]), 1)];
    let spans = compile(&rules);
    for (client, track) in [
        ("198.18.8.255", Some(1)),
        ("198.18.9.0", Some(2)),
        ("198.18.9.255", Some(2)),
        ("198.18.10.0", Some(1)),
    ] {
        assert_eq!(spans.find(ip(client)), track, "{client}");
    }
}

#[test]
fn the_whole_space_and_its_two_ends_have_their_tracks() {
    let rules = vec![
        (nets(&["255.255.255.255/32", "::/128"]), 1),
        (
            nets(&["0.0.0.0/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"]),
            2,
        ),
    ];
    let spans = compile(&rules);
    for (client, track) in [
        ("0.0.0.0", Some(2)),
        ("255.255.255.255", Some(1)),
        ("::", Some(1)),
        ("::1", None),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some(2)),
    ] {
        let client = ip(client);
        assert_eq!(spans.find(client), track, "{client}");
        let cell = spans.table().find(client.into(), WireFamily::of(&client));
        assert_eq!(cell, track.map_or(0, |track| track + 1), "{client}");
    }
}

#[test]
fn routes_that_lead_nobody_anywhere_are_none() {
    assert_eq!(compile(&Vec::new()), Spans::default());
    assert!(compile(&vec![(Vec::new(), 1)]).is_empty());
}

#[test]
fn a_network_is_shadowed_if_earlier_rules_take_all_of_it_alone_or_together() {
    let rules = [
        nets(&["198.18.8.0/24"]),
        nets(&["198.18.9.0/24", "198.18.64.0/24"]),
        nets(&["198.18.8.0/23", "198.18.8.7/32"]),
        nets(&["198.18.0.0/16"]),
        nets(&["198.18.64.0/24", "2001:db8::/32"]),
    ];
    let rules: Vec<&[IpNet]> = rules.iter().map(Vec::as_slice).collect();
    let found: Vec<(usize, String, Vec<usize>)> = shadows(&rules)
        .into_iter()
        .map(|shadow| (shadow.route, shadow.source.to_string(), shadow.by))
        .collect();
    assert_eq!(
        found,
        [
            (2, "198.18.8.0/23".to_owned(), vec![0, 1]),
            (2, "198.18.8.7/32".to_owned(), vec![0]),
            (4, "198.18.64.0/24".to_owned(), vec![1]),
        ]
    );
}

#[test]
fn as_many_networks_as_are_allowed_fit_whatever_they_are() {
    // Every second one of neighbours that lie apart: two ends each.
    let apart =
        (0..127_u32).map(|n| IpNet::new(IpAddr::V4(Ipv4Addr::from_bits(n << 12 | 1 << 11)), 24));
    let rules: Rules = apart
        .zip(0..)
        .map(|(net, n)| (vec![net.unwrap()], n % 8))
        .collect();
    assert_eq!(rules.len(), splitter_ebpf::abi::ROUTE_SOURCES);
    let spans = compile(&rules);
    assert!(spans.v4.len() <= ROUTE_SPANS, "{}", spans.v4.len());
    let table = spans.table();
    for (nets, track) in &rules {
        assert_eq!(table.find(nets[0].addr().into(), WireFamily::V4), track + 1);
    }
}

/// Networks in a small corner, so that they nest and meet, and at the ends of the address space.
fn network() -> impl Strategy<Value = IpNet> {
    let v4 = (0..=0xffff_u32, 16..=32_u8).prop_map(|(low, most)| {
        IpNet::new(IpAddr::V4(Ipv4Addr::from_bits(0xc612_0000 | low)), most)
    });
    let v6 = (0..=0xffff_u128, 0..=128_u8).prop_map(|(low, most)| {
        IpNet::new(
            IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | low)),
            most,
        )
    });
    let ends = (any::<bool>(), 0..=32_u8).prop_map(|(last, most)| {
        let bits = if last { u32::MAX } else { 0 };
        IpNet::new(IpAddr::V4(Ipv4Addr::from_bits(bits)), most)
    });
    let wide_ends = (any::<bool>(), 0..=128_u8).prop_map(|(last, most)| {
        let bits = if last { u128::MAX } else { 0 };
        IpNet::new(IpAddr::V6(Ipv6Addr::from_bits(bits)), most)
    });
    prop_oneof![4 => v4, 2 => v6, 1 => ends, 1 => wide_ends]
        .prop_map(|network| network.unwrap().trunc())
}

fn rules() -> impl Strategy<Value = Rules> {
    prop::collection::vec((prop::collection::vec(network(), 1..4), 0..8_u8), 0..12)
}

/// Clients at the edges of every network, where something can be off by one, and anywhere.
fn clients(rules: &Rules, low: u32) -> Vec<IpAddr> {
    let mut clients = vec![
        IpAddr::V4(Ipv4Addr::from_bits(low)),
        IpAddr::V4(Ipv4Addr::from_bits(0xc612_0000 | (low & 0xffff))),
        IpAddr::V6(Ipv6Addr::from_bits(
            0x2001_0db8 << 96 | u128::from(low & 0xffff),
        )),
        IpAddr::V6(Ipv6Addr::from_bits(u128::from(low) << 97)),
    ];
    for net in rules.iter().flat_map(|(nets, _)| nets) {
        for end in [net.network(), net.broadcast()] {
            clients.push(end);
            clients.push(match end {
                IpAddr::V4(end) => Ipv4Addr::from_bits(end.to_bits().wrapping_sub(1)).into(),
                IpAddr::V6(end) => Ipv6Addr::from_bits(end.to_bits().wrapping_sub(1)).into(),
            });
            clients.push(match end {
                IpAddr::V4(end) => Ipv4Addr::from_bits(end.to_bits().wrapping_add(1)).into(),
                IpAddr::V6(end) => Ipv6Addr::from_bits(end.to_bits().wrapping_add(1)).into(),
            });
        }
    }
    clients
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn the_spans_are_the_first_match(rules in rules(), low in any::<u32>()) {
        let spans = compile(&rules);
        let table = spans.table();
        for client in clients(&rules, low) {
            let wanted = first_match(&rules, client);
            prop_assert_eq!(spans.find(client), wanted, "{}", client);
            let cell = table.find(client.into(), WireFamily::of(&client));
            prop_assert_eq!(cell, wanted.map_or(0, |track| track + 1), "{}", client);
        }
    }

    #[test]
    fn a_shadowed_network_can_go_and_no_other(rules in rules(), low in any::<u32>()) {
        let sources: Vec<&[IpNet]> = rules.iter().map(|(nets, _)| nets.as_slice()).collect();
        let shadows = shadows(&sources);
        let mut less = rules.clone();
        for shadow in &shadows {
            less[shadow.route].0.retain(|net| *net != shadow.source);
        }
        prop_assert_eq!(compile(&rules), compile(&less));
        for (route, (nets, _)) in rules.iter().enumerate() {
            for net in nets {
                let shadowed = shadows.iter().any(|s| (s.route, s.source) == (route, *net));
                let earlier = rules[..route].iter().flat_map(|(nets, _)| nets);
                let covered = earlier.clone().any(|other| other.contains(net));
                prop_assert!(shadowed || !covered, "{} is covered and not said to be", net);
                let reached = clients(&rules, low)
                    .into_iter()
                    .any(|client| net.contains(&client) && !earlier.clone().any(|other| other.contains(&client)));
                prop_assert!(!(shadowed && reached), "{} is said to be shadowed and is not", net);
            }
        }
    }
}

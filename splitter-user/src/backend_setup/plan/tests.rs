#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::*;
use crate::backend_setup::facts::{Decapsulator, Route, setting_of};
use crate::backend_setup::hints;
use crate::decap::{AttachMode, Rules, Unchecked, default_sources};
use crate::interface::Address;

fn link(index: u32, name: &str, mtu: u32) -> Link {
    Link {
        index,
        name: name.to_owned(),
        mtu,
        loopback: name == "lo",
    }
}

fn address(index: u32, text: &str, prefix: u8) -> Address {
    Address {
        index,
        address: text.parse().unwrap(),
        prefix,
    }
}

fn route(destination: &str, via: Option<&str>, device: &str) -> Route {
    Route {
        destination: destination.parse().unwrap(),
        via: via.map(|via| via.parse().unwrap()),
        device: device.to_owned(),
        protocol: 4,
        scope: if via.is_none() { 253 } else { 0 },
        source: None,
        priority: None,
        onlink: false,
        metrics: BTreeMap::new(),
        odd: None,
    }
}

/// A host with one interface, a default route a family and the kernel's own defaults.
fn host() -> Facts {
    let settings = ["lo", "eth0", "all", "default"]
        .into_iter()
        .flat_map(|name| {
            ["arp_ignore", "arp_announce", "rp_filter"].map(|s| (setting_of(name, s), 0))
        })
        .collect();
    Facts {
        links: vec![link(1, "lo", 65_536), link(2, "eth0", 1500)],
        addresses: vec![
            address(1, "127.0.0.1", 8),
            address(2, "198.18.2.11", 24),
            address(2, "2001:db8:2::11", 64),
            address(2, "fe80::1", 64),
        ],
        settings,
        routes: vec![
            route("0.0.0.0/0", Some("198.18.2.1"), "eth0"),
            route("::/0", Some("2001:db8:2::1"), "eth0"),
            route("198.18.2.0/24", None, "eth0"),
        ],
        decapsulator: None,
    }
}

fn wish(mode: Mode, vips: &[&str]) -> Wish {
    Wish {
        mode,
        vips: vips.iter().map(|vip| vip.parse().unwrap()).collect(),
        interface: None,
        sources: default_sources().to_vec(),
        addresses: Vec::new(),
        balancer: None,
        clients: Vec::new(),
        mtu: None,
        decapsulation: Decapsulation::Xdp,
        xdp_mode: AttachMode::Native,
        bpffs: "/sys/fs/bpf".into(),
        name: "splitter-decap".to_owned(),
    }
}

/// The commands of all changes.
fn commands(wish: &Wish, facts: &Facts) -> Vec<String> {
    let items = plan(wish, facts).unwrap();
    let changes = items.iter().filter_map(|item| match &item.need {
        Need::Change(change) => Some(change.commands()),
        _ => None,
    });
    changes.flatten().map(|words| words.join(" ")).collect()
}

/// What is left to a person.
fn by_hand(wish: &Wish, facts: &Facts) -> Vec<String> {
    let items = plan(wish, facts).unwrap();
    let by_hand = items.iter().filter_map(|item| match &item.need {
        Need::Person(how) => Some(format!("{}: {how}", item.what)),
        _ => None,
    });
    by_hand.collect()
}

const V4: &str = "198.18.1.100";
const V6: &str = "2001:db8:1::100";

#[test]
fn a_plain_host_gets_its_neighbours_silenced_before_the_vip_is_there() {
    assert_eq!(
        commands(&wish(Mode::DsrL2, &[V4, V6]), &host()),
        [
            "sysctl -w net.ipv4.conf.all.arp_ignore=1",
            "sysctl -w net.ipv4.conf.all.arp_announce=2",
            "ip addr add 198.18.1.100/32 dev lo",
            "ip addr add 2001:db8:1::100/128 dev lo preferred_lft 0 nodad",
        ]
    );
    assert_eq!(
        commands(&wish(Mode::DsrL2, &[V6]), &host()),
        ["ip addr add 2001:db8:1::100/128 dev lo preferred_lft 0 nodad"]
    );
}

#[test]
fn a_tunnel_needs_smaller_segments_and_somebody_who_takes_packets_out() {
    assert_eq!(
        commands(&wish(Mode::Ipip, &[V4, V6]), &host())[4..],
        [
            "ip -4 route change default via 198.18.2.1 dev eth0 proto static scope global advmss 1440",
            "ip -6 route change default via 2001:db8:2::1 dev eth0 proto static advmss 1400",
            "splitterd decap --once --interface eth0 --vip 198.18.1.100,2001:db8:1::100 --source \
             198.19.0.0/16,2001:db8:ffff::/64 --mode native --bpffs /sys/fs/bpf --name splitter-decap",
        ]
    );
    let kernel = Wish {
        decapsulation: Decapsulation::Kernel,
        ..wish(Mode::Ipip, &[V4, V6])
    };
    let mut strict = host();
    strict
        .settings
        .insert(setting_of("default", "rp_filter"), 1);
    assert_eq!(
        commands(&kernel, &strict)[6..],
        [
            "ip link add splitter-ipip type ipip local 198.18.2.11 remote any",
            "ip addr add 198.18.2.11/32 dev splitter-ipip",
            "ip link set splitter-ipip up",
            "sysctl -w net.ipv4.conf.splitter-ipip.rp_filter=2",
            "ip link add splitter-ip6tnl type ip6tnl mode ip6ip6 local 2001:db8:2::11 remote any",
            "ip link set splitter-ip6tnl up",
        ]
    );
}

#[test]
fn the_larger_of_all_and_the_interfaces_own_setting_counts() {
    // all, eth0: what is done about each parameter.
    let cases: [(&str, i64, i64, &[&str]); 11] = [
        ("rp_filter", 0, 0, &[]),
        ("rp_filter", 1, 0, &["net.ipv4.conf.eth0.rp_filter=2"]),
        ("rp_filter", 0, 1, &["net.ipv4.conf.eth0.rp_filter=2"]),
        ("rp_filter", 1, 2, &[]),
        ("rp_filter", 2, 1, &[]),
        ("arp_ignore", 0, 1, &["net.ipv4.conf.all.arp_ignore=1"]),
        ("arp_ignore", 2, 0, &[]),
        ("arp_ignore", 8, 0, &[]),
        ("arp_ignore", 3, 0, &["net.ipv4.conf.all.arp_ignore=1"]),
        ("arp_ignore", 1, 3, &["net.ipv4.conf.eth0.arp_ignore=1"]),
        ("arp_announce", 1, 2, &["net.ipv4.conf.all.arp_announce=2"]),
    ];
    for (name, all, own, expected) in cases {
        let mut facts = host();
        for good in [("arp_ignore", 1), ("arp_announce", 2)] {
            facts.settings.insert(setting_of("all", good.0), good.1);
        }
        facts.settings.insert(setting_of("all", name), all);
        facts.settings.insert(setting_of("eth0", name), own);
        let found: Vec<String> = commands(&wish(Mode::DsrL2, &[V4]), &facts)
            .into_iter()
            .filter_map(|command| command.strip_prefix("sysctl -w ").map(str::to_owned))
            .collect();
        assert_eq!(found, expected, "{name}: all {all}, eth0 {own}");
    }
}

#[test]
fn segments_follow_the_mtu_and_the_routes_to_clients() {
    let mut facts = host();
    facts.links = vec![link(1, "lo", 65_536), link(2, "eth0", 9000)];
    let second = Route {
        priority: Some(200),
        ..route("0.0.0.0/0", Some("198.18.2.2"), "eth0")
    };
    facts.routes.push(second);
    let wish = wish(Mode::Ipip, &[V4]);
    let routes = |wish: &Wish, facts: &Facts| -> Vec<String> {
        let found = commands(wish, facts).into_iter();
        found
            .filter_map(|c| c.strip_prefix("ip -4 route change ").map(str::to_owned))
            .collect()
    };
    assert_eq!(
        routes(&wish, &facts),
        [
            "default via 198.18.2.1 dev eth0 proto static scope global advmss 8940",
            "default via 198.18.2.2 dev eth0 proto static scope global metric 200 advmss 8940",
        ]
    );
    let near = Wish {
        clients: vec!["198.18.2.128/25".parse().unwrap()],
        mtu: Some(1450),
        ..wish.clone()
    };
    assert_eq!(
        routes(&near, &facts),
        ["198.18.2.0/24 dev eth0 proto static scope link advmss 1390"]
    );

    // What announces as little or less is well; more is not.
    for (advmss, expected) in [(8939, 0), (8940, 0), (8941, 1)] {
        let mut facts = host();
        facts.links = vec![link(1, "lo", 65_536), link(2, "eth0", 9000)];
        facts.routes[0].metrics.insert("advmss".to_owned(), advmss);
        assert_eq!(routes(&wish, &facts).len(), expected, "{advmss}");
    }
}

#[test]
fn routes_that_cannot_be_written_again_are_left_to_a_person() {
    let mut facts = host();
    facts.routes[0].odd = Some("has several next hops".to_owned());
    facts.routes.remove(1);
    let wish = Wish {
        interface: Some("eth0".to_owned()),
        ..wish(Mode::Ipip, &[V4, V6])
    };
    let found = by_hand(&wish, &facts);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].contains("several next hops") && found[0].contains("advmss 1440"),
        "{found:?}"
    );
    assert!(
        found[1].contains("::/0") && found[1].contains("--clients"),
        "{found:?}"
    );
}

#[test]
fn a_vip_in_the_wrong_place_is_left_to_a_person() {
    let mut facts = host();
    facts.addresses.push(address(1, V4, 24));
    let found = by_hand(&wish(Mode::DsrL2, &[V4]), &facts);
    assert!(
        found[0].contains("ip addr del 198.18.1.100/24 dev lo"),
        "{found:?}"
    );

    let mut facts = host();
    facts.addresses.push(address(2, V6, 128));
    let found = by_hand(&wish(Mode::DsrL2, &[V6]), &facts);
    assert!(
        found[0].contains("ip addr del 2001:db8:1::100/128 dev eth0"),
        "{found:?}"
    );
    // From another network nobody asks for it.
    assert_eq!(by_hand(&wish(Mode::Ipip, &[V6]), &facts), [""; 0]);
}

#[test]
fn an_attached_decapsulator_is_kept_or_left_to_a_person_but_not_taken_away() {
    let rules = |vip: &str| {
        Rules::new(Unchecked {
            vips: vec![vip.parse().unwrap()],
            sources: default_sources().to_vec(),
            locals: ["198.18.2.11", "2001:db8:2::11"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
        })
        .unwrap()
    };
    let wish = wish(Mode::Ipip, &[V4]);
    let mut facts = host();
    // The rules, the interface, whether it runs; commands, and things for a person.
    let cases = [
        (V4, "eth0", true, 0, 0),
        (V4, "eth0", false, 0, 0),
        // Elsewhere, or for another VIP: not taken away unasked.
        (V4, "eth1", false, 0, 1),
        ("198.18.1.9", "eth0", false, 0, 1),
        ("198.18.1.9", "eth0", true, 0, 1),
    ];
    for (vip, interface, running, changes, hands) in cases {
        facts.decapsulator = Some(Decapsulator {
            rules: rules(vip),
            interfaces: vec![interface.to_owned()],
            running,
        });
        let found = commands(&wish, &facts);
        let found = found
            .iter()
            .filter(|command| command.starts_with("splitterd"));
        assert_eq!(found.count(), changes, "{vip} {interface} {running}");
        assert_eq!(
            by_hand(&wish, &facts).len(),
            hands,
            "{vip} {interface} {running}"
        );
    }
    // For less than is asked for now: replaced.
    facts.decapsulator = Some(Decapsulator {
        rules: rules(V4),
        interfaces: vec!["eth0".to_owned()],
        running: false,
    });
    let both = super::super::Wish {
        vips: [V4, "198.18.1.9"].map(|vip| vip.parse().unwrap()).to_vec(),
        ..wish
    };
    let more = commands(&both, &facts);
    assert!(more.iter().any(|command| command.starts_with("splitterd")));
}

#[test]
fn the_interface_is_found_by_the_way_to_the_balancer() {
    let mut facts = host();
    facts.links.push(link(3, "eth1", 1500));
    facts.routes.push(route("198.18.3.0/24", None, "eth1"));
    let towards = |balancer: Option<&str>| Wish {
        balancer: balancer.map(|text| text.parse().unwrap()),
        ..wish(Mode::Ipip, &[V4])
    };
    let found = |wish: &Wish| commands(wish, &facts).pop().unwrap();
    assert!(found(&towards(None)).contains("--interface eth0"));
    assert!(found(&towards(Some("198.18.3.1"))).contains("--interface eth1"));

    facts.routes.clear();
    let error = plan(&towards(None), &facts).unwrap_err().to_string();
    assert!(
        error.contains("--interface") && error.contains("--balancer"),
        "{error}"
    );
}

#[test]
fn every_change_turned_round_twice_is_itself_and_says_other_commands_back() {
    for wish in [
        wish(Mode::Ipip, &[V4, V6]),
        Wish {
            decapsulation: Decapsulation::Kernel,
            ..wish(Mode::Ipip, &[V4, V6])
        },
    ] {
        for item in plan(&wish, &host()).unwrap() {
            if let Need::Change(change) = item.need {
                let back = change.inverse();
                assert_eq!(back.inverse(), change);
                assert_eq!(back.subject(), change.subject());
                assert_ne!(back.commands(), change.commands());
                let (before, after) = change.sides();
                assert_eq!(back.sides(), (after, before));
            }
        }
    }
}

#[test]
fn of_two_changes_of_one_thing_the_first_before_and_the_last_after_remain() {
    let setting = |from, to| Change::Setting {
        key: "net.ipv4.conf.all.arp_ignore".to_owned(),
        from,
        to,
    };
    assert_eq!(setting(1, 2).since(&setting(0, 1)), setting(0, 2));
}

#[test]
fn hints_tell_what_to_write_for_the_next_boot() {
    let wish = wish(Mode::Ipip, &[V4, V6]);
    let text = hints(&wish, &plan(&wish, &host()).unwrap()).concat();
    for part in [
        "net.ipv4.conf.all.arp_announce = 2",
        "Address=198.18.1.100/32",
        "Address=2001:db8:1::100/128",
        "TCPAdvertisedMaximumSegmentSize=1440",
        "DECAP=\"--interface eth0 --vip 198.18.1.100,2001:db8:1::100 --source 198.19.0.0/16,2001:db8:ffff::/64 --mode native\"",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn answers_of_dnat_have_to_pass_the_balancer() {
    let via = |balancer: &str, clients: &[&str]| Wish {
        balancer: Some(balancer.parse::<IpAddr>().unwrap()),
        clients: clients.iter().map(|net| net.parse().unwrap()).collect(),
        ..wish(Mode::Dnat, &[])
    };
    assert_eq!(by_hand(&via("198.18.2.1", &[]), &host()), [""; 0]);
    assert_eq!(by_hand(&via("2001:db8:2::1", &[]), &host()), [""; 0]);
    let found = by_hand(&via("198.18.2.9", &[]), &host());
    assert!(found[0].contains("leads via 198.18.2.1"), "{found:?}");
    let found = by_hand(&via("198.18.2.1", &["198.18.2.0/25"]), &host());
    assert!(found[0].contains("by no router"), "{found:?}");
}

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::{Finding, Inputs, local_findings};
use crate::sandbox::{self, Peer, ip, sysctl};

fn inputs(interfaces: &[&str], vips: &[&str]) -> Inputs {
    Inputs {
        interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        vips: vips.iter().map(|vip| vip.parse().unwrap()).collect(),
        ..Inputs::default()
    }
}

fn look(inputs: &Inputs, check: &str) -> Finding {
    let findings = local_findings(inputs);
    let found = findings.iter().find(|finding| finding.check == check);
    found
        .cloned()
        .unwrap_or_else(|| panic!("no {check} in {findings:#?}"))
}

#[track_caller]
fn bad(finding: &Finding, words: &str, fix: Option<&str>) {
    assert!(
        !finding.ok && finding.message.contains(words),
        "{finding:?}"
    );
    assert_eq!(finding.fix.as_deref(), fix);
}

#[track_caller]
fn good(finding: &Finding, words: &str) {
    assert!(finding.ok && finding.message.contains(words), "{finding:?}");
}

/// `front` towards clients, in 198.18.1.0/24 and 2001:db8:1::/64.
fn on_a_host(test: impl FnOnce() + Send) {
    sandbox::network(|| {
        let clients = Peer::new();
        clients.cable("front", "client");
        ip("addr add 198.18.1.1/24 dev front");
        ip("addr add 2001:db8:1::1/64 dev front nodad");
        test();
    });
}

#[test]
fn a_host_without_a_configuration_is_looked_at_too() {
    sandbox::network(|| {
        let checks: Vec<_> = local_findings(&Inputs::default())
            .into_iter()
            .map(|finding| finding.check)
            .collect();
        assert_eq!(
            checks,
            [
                "kernel",
                "jit",
                "privileges",
                "bpffs",
                "ipv4 forwarding",
                "ipv6 forwarding"
            ]
        );
    });
}

#[test]
fn an_address_that_clients_are_translated_to_has_to_be_found_by_backends() {
    on_a_host(|| {
        let inputs = Inputs {
            nat: vec!["198.18.1.9".parse().unwrap()],
            ..inputs(&["front"], &[])
        };
        let fix = "ip addr add 198.18.1.9/32 dev lo";
        bad(
            &look(&inputs, "nat 198.18.1.9"),
            "backends on front ask for it by ARP, and nobody answers",
            Some(fix),
        );
        ip(fix.strip_prefix("ip ").unwrap());
        good(&look(&inputs, "nat 198.18.1.9"), "find it by ARP");
    });
}

#[test]
fn vlans_of_attached_interfaces_say_where_their_packets_leave() {
    use super::vlans;
    use crate::interface::Interface;
    use crate::nexthop::{Layer, Tag};
    let interface = |index: u32, name: &str, tag: Option<(u32, u16, Layer)>| Interface {
        index,
        name: name.to_owned(),
        mac: None,
        mtu: 1_500,
        running: true,
        loopback: false,
        kind: None,
        link: None,
        tag: tag.map(|(parent, id, layer)| Tag {
            parent: Some(parent),
            id,
            layer,
        }),
        xdp: None,
    };
    let all = [
        interface(2, "front", None),
        interface(3, "other", None),
        interface(4, "front.10", Some((2, 10, Layer::Customer))),
        interface(5, "qinq", Some((4, 11, Layer::Customer))),
        interface(6, "ad", Some((2, 12, Layer::Service))),
        interface(7, "other.10", Some((3, 10, Layer::Customer))),
    ];
    let found = vlans::findings(&all[..1], &all);
    let said: Vec<_> = found
        .iter()
        .map(|f| (f.check.as_str(), f.message.as_str()))
        .collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(
        said[0],
        ("vlan front.10", "packets leave by front with the tag 10")
    );
    assert!(
        said[1].0 == "vlan qinq" && said[1].1.contains("QinQ"),
        "{said:?}"
    );
    assert!(
        said[2].0 == "vlan ad" && said[2].1.contains("802.1ad"),
        "{said:?}"
    );
}

#[test]
fn an_ipv4_vip_in_the_clients_subnet_needs_an_address_and_the_command_helps() {
    on_a_host(|| {
        let inputs = inputs(&["front"], &["198.18.1.100"]);
        let fix = "ip addr add 198.18.1.100/32 dev lo";
        bad(
            &look(&inputs, "vip 198.18.1.100"),
            "nobody answers",
            Some(fix),
        );
        ip(fix.strip_prefix("ip ").unwrap());
        good(&look(&inputs, "vip 198.18.1.100"), "find it by ARP");

        sysctl("ipv4/conf/all/arp_ignore", "1");
        let fix = "ip addr add 198.18.1.100/32 dev front";
        bad(&look(&inputs, "vip 198.18.1.100"), "arp_ignore", Some(fix));
        ip(fix.strip_prefix("ip ").unwrap());
        good(&look(&inputs, "vip 198.18.1.100"), "find it by ARP");
    });
}

#[test]
fn an_ipv6_vip_in_the_clients_subnet_has_to_be_on_the_interface_they_ask() {
    on_a_host(|| {
        let inputs = inputs(&["front"], &["2001:db8:1::100"]);
        let fix = "ip -6 addr add 2001:db8:1::100/128 dev front nodad";
        bad(
            &look(&inputs, "vip 2001:db8:1::100"),
            "nobody answers",
            Some(fix),
        );
        ip("addr add 2001:db8:1::100/128 dev lo");
        bad(
            &look(&inputs, "vip 2001:db8:1::100"),
            "its own alone",
            Some(fix),
        );
        ip("addr del 2001:db8:1::100/128 dev lo");
        ip(fix.strip_prefix("ip ").unwrap());
        good(&look(&inputs, "vip 2001:db8:1::100"), "neighbour discovery");
    });
}

#[test]
fn a_vip_in_nobody_s_subnet_needs_none() {
    on_a_host(|| {
        let inputs = inputs(&["front"], &["198.18.200.1", "2001:db8:200::1"]);
        good(&look(&inputs, "vip 198.18.200.1"), "routers");
        good(&look(&inputs, "vip 2001:db8:200::1"), "routers");
        ip("addr add 198.18.200.1/32 dev lo");
        good(&look(&inputs, "vip 198.18.200.1"), "routers");
    });
}

#[test]
fn forwarding_is_asked_for_the_families_that_are_served() {
    on_a_host(|| {
        sysctl("ipv4/ip_forward", "0");
        sysctl("ipv6/conf/all/forwarding", "0");
        let both = inputs(&["front"], &["198.18.200.1", "2001:db8:200::1"]);
        bad(
            &look(&both, "ipv4 forwarding"),
            "is off",
            Some("sysctl -w net.ipv4.ip_forward=1"),
        );
        bad(
            &look(&both, "ipv6 forwarding"),
            "is off",
            Some("sysctl -w net.ipv6.conf.all.forwarding=1"),
        );
        sysctl("ipv4/ip_forward", "1");
        sysctl("ipv6/conf/all/forwarding", "1");
        good(&look(&both, "ipv4 forwarding"), "is on");
        good(&look(&both, "ipv6 forwarding"), "is on");
        sysctl("ipv4/conf/front/forwarding", "0");
        bad(
            &look(&both, "ipv4 forwarding"),
            "off on front",
            Some("sysctl -w net.ipv4.conf.front.forwarding=1"),
        );
        sysctl("ipv4/conf/front/forwarding", "1");
        good(&look(&both, "ipv4 forwarding"), "is on");

        let one = inputs(&["front"], &["198.18.200.1"]);
        assert!(
            local_findings(&one)
                .iter()
                .all(|finding| finding.check != "ipv6 forwarding")
        );
    });
}

#[test]
fn interfaces_that_are_unknown_or_down_are_found() {
    on_a_host(|| {
        let inputs = inputs(&["front", "bcak", "lo"], &[]);
        good(&look(&inputs, "interface front"), "driver veth");
        bad(
            &look(&inputs, "interface bcak"),
            "there is no interface",
            None,
        );
        bad(&look(&inputs, "interface lo"), "loopback", None);
        ip("link set dev front down");
        bad(
            &look(&inputs, "interface front"),
            "is down",
            Some("ip link set dev front up"),
        );
    });
}

#[test]
fn the_other_end_of_a_veth_has_to_take_frames_of_a_program() {
    on_a_host(|| {
        let finding = look(&inputs(&["front"], &[]), "veth front");
        good(&finding, "another network namespace");
        assert!(finding.fix.unwrap().contains("gro on"));

        ip("link add here type veth peer name there");
        ip("link set dev here up");
        ip("link set dev there up");
        let finding = look(&inputs(&["here"], &[]), "veth here");
        bad(
            &finding,
            "has GRO off",
            Some("ethtool -K there gro on tx off"),
        );
    });
}

#[test]
fn strict_filters_and_unequal_sizes_are_told_without_being_wrong() {
    on_a_host(|| {
        ip("link add here type veth peer name there");
        ip("link set dev here mtu 9000");
        sysctl("ipv4/conf/all/rp_filter", "0");
        sysctl("ipv4/conf/front/rp_filter", "1");
        sysctl("ipv4/conf/here/rp_filter", "2");
        let inputs = inputs(&["front", "here"], &[]);
        good(&look(&inputs, "reverse path filter"), "strict on front");
        good(
            &look(&inputs, "mtu"),
            "here takes 9000 octets and front only 1500",
        );
    });
}

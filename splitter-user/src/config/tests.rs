#![expect(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use super::*;

fn good(text: &str) -> Config {
    Config::parse(text, "splitterd.toml").unwrap()
}

/// All that is wrong with a text, as it is shown.
fn wrong(text: &str) -> String {
    Config::parse(text, "splitterd.toml")
        .unwrap_err()
        .to_string()
}

#[test]
fn everything_but_interfaces_has_a_default() {
    let config = good("interfaces = [\"eth0\"]");
    assert_eq!(config.interfaces, ["eth0"]);
    assert_eq!(config.xdp_mode, XdpMode::Native);
    assert_eq!(config.name, "splitter");
    assert_eq!(config.socket, Path::new("/run/splitter/splitterd.sock"));
    assert_eq!(config.state_dir, Path::new("/var/lib/splitter"));
    assert_eq!(config.bpffs, Path::new("/sys/fs/bpf"));
    assert_eq!(config.resources, Path::new("/etc/splitter/resources.d"));
    assert_eq!(config.metrics.listen.to_string(), "127.0.0.1:9901");
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.limits.new_flows_per_second, 0);
    assert_eq!(config.nat.addresses, [] as [std::net::IpAddr; 0]);
    assert_eq!(config.nat.ports, 10_240..=32_767);
    let tunnel = &config.tunnel;
    assert_eq!(tunnel.outer_source_v4.to_string(), "198.19.0.0/16");
    assert_eq!(tunnel.outer_source_v6.to_string(), "2001:db8:ffff::/64");
    assert_eq!(config.warnings(), [] as [&str; 0]);
}

#[test]
fn every_key_is_read() {
    let config = good(
        r#"
        interfaces = ["eth0", "eth1"]
        xdp_mode = "auto"
        name = "two"
        socket = "/tmp/x/NAME.sock/NAME/s"
        state_dir = "/srv/state"
        bpffs = "/mnt/bpf"
        resources = "/srv/resources"
        [metrics]
        listen = "[::1]:1"
        [limits]
        services = 4096
        backends = 0xffff
        flows = 64_000_000
        new_flows_per_second = 50_000
        [nat]
        addresses = ["198.18.2.9", "2001:db8:2::9"]
        ports = "20000-29999"
        [tunnel]
        outer_source_v4 = "198.19.128.0/20"
        outer_source_v6 = "2001:db8:aaaa::/112"
        "#,
    );
    assert_eq!(config.interfaces, ["eth0", "eth1"]);
    assert_eq!(config.xdp_mode, XdpMode::Auto);
    assert_eq!(config.socket, Path::new("/tmp/x/NAME.sock/two/s"));
    assert_eq!(config.state_dir, Path::new("/srv/state"));
    assert_eq!(config.bpffs, Path::new("/mnt/bpf"));
    assert_eq!(config.resources, Path::new("/srv/resources"));
    assert_eq!(config.metrics.listen.to_string(), "[::1]:1");
    assert_eq!(
        config.limits,
        Limits {
            services: 4_096,
            backends: 65_535,
            flows: 64_000_000,
            new_flows_per_second: 50_000
        }
    );
    assert_eq!(config.nat.ports, 20_000..=29_999);
    assert_eq!(
        config.nat.of_family(crate::model::Family::V6),
        ["2001:db8:2::9".parse::<std::net::IpAddr>().unwrap()]
    );
    let tunnel = &config.tunnel;
    assert_eq!(tunnel.outer_source_v4.to_string(), "198.19.128.0/20");
    assert_eq!(tunnel.outer_source_v6.to_string(), "2001:db8:aaaa::/112");
}

#[test]
fn the_name_is_in_the_defaults_of_the_paths() {
    let config = good("interfaces = [\"eth0\"]\nname = \"two\"");
    assert_eq!(config.socket, Path::new("/run/two/splitterd.sock"));
    assert_eq!(config.state_dir, Path::new("/var/lib/two"));
}

#[test]
fn an_error_shows_line_caret_and_fix() {
    assert_eq!(
        wrong("interfaces = [\"eth0\"]\nxdp_mode = \"nativ\"\n"),
        "splitterd.toml:2:12: xdp_mode: `nativ` is not a mode; allowed: native, generic, auto\n\
         \x20 2 | xdp_mode = \"nativ\"\n\
         \x20   |            ^^^^^^^\n\
         \x20 fix: did you mean \"native\"?\n"
    );
}

#[test]
fn an_unknown_key_is_refused_with_the_known_ones() {
    let text = wrong("interfaces = [\"eth0\"]\nstatedir = \"/x\"\n[limits]\nflow = 1\n");
    assert!(text.contains(":2:1: statedir: `statedir` is not a known key; known: interfaces, xdp_mode, name, socket, state_dir"), "{text}");
    assert!(text.contains("did you mean `state_dir`?"), "{text}");
    assert!(
        text.contains(
            ":4:1: limits.flow: `flow` is not a known key; known: services, backends, flows"
        ),
        "{text}"
    );
}

#[test]
fn roles_are_read_and_the_highest_of_a_user_and_its_groups_counts() {
    let config = good(
        "interfaces = [\"eth0\"]\n[roles]\nviewer = [\"gid:100\", \"uid:7\"]\noperator = [\"uid:7\"]\nadmin = [\"gid:27\"]\n",
    );
    let roles = &config.roles;
    assert_eq!(roles.of(0, []), Some(Role::Admin), "root");
    assert_eq!(roles.of(1000, [1000, 100]), Some(Role::Viewer));
    assert_eq!(roles.of(7, [100]), Some(Role::Operator));
    assert_eq!(roles.of(7, [100, 27]), Some(Role::Admin));
    assert_eq!(roles.of(100, [7]), None, "a group is no user");
    assert!(good("interfaces = [\"eth0\"]\n[roles]\n").roles.is_empty());
}

#[test]
fn a_role_that_is_unknown_or_names_nobody_is_refused() {
    let text = wrong("interfaces = [\"eth0\"]\n[roles]\nadmim = [\"uid:7\"]\n");
    assert!(text.contains("did you mean `admin`?"), "{text}");
    for holder in [
        "root",
        "uid:root",
        "uid:-1",
        "uid:4294967296",
        "user:7",
        "7",
    ] {
        let text = wrong(&format!(
            "interfaces = [\"eth0\"]\n[roles]\nadmin = [\"{holder}\"]\n"
        ));
        assert!(text.contains("names neither a user nor a group"), "{text}");
        assert!(text.contains("roles.admin[0]"), "{text}");
    }
}

#[test]
fn interfaces_are_needed_and_checked() {
    assert!(wrong("").contains("`interfaces` is missing"));
    assert!(wrong("interfaces = []").contains("at least one is needed"));
    assert!(wrong("interfaces = \"eth0\"").contains("this is a list"));
    assert!(wrong("interfaces = [1]").contains("write it in double quotes"));
    assert!(wrong("interfaces = [\"eth0\", \"eth0\"]").contains("`eth0` is given twice"));
    assert!(wrong("interfaces = [\"lo\"]").contains("loopback"));
    let long = wrong("interfaces = [\"abcdefghijklmnop\"]");
    assert!(long.contains("interfaces[0]: `abcdefghijklmnop`") && long.contains("1 to 15 bytes"));
    for name in ["", "..", "a/b", "a b", "a:1"] {
        let text = wrong(&format!("interfaces = [\"{name}\"]"));
        assert!(text.contains("cannot be an interface"), "{text}");
    }
}

#[test]
fn values_out_of_bounds_name_the_bounds() {
    for (limits, bounds) in [
        ("services = 0", "from 1 to 4096"),
        ("services = 4097", "from 1 to 4096"),
        ("backends = 65_536", "from 1 to 65535"),
        ("backends = -1", "from 1 to 65535"),
        ("new_flows_per_second = -1", "from 0 to 1000000000"),
        ("flows = 999", "from 1000 to 64000000"),
        ("flows = 99999999999999999999", "from 1000 to 64000000"),
    ] {
        let text = wrong(&format!("interfaces = [\"eth0\"]\n[limits]\n{limits}\n"));
        assert!(text.contains(bounds), "{text}");
        assert!(text.contains("splitterd.toml:3:"), "{text}");
    }
    let text = wrong("interfaces = [\"eth0\"]\n[limits]\nflows = \"many\"\n");
    assert!(text.contains("whole number"), "{text}");
}

#[test]
fn names_and_paths_are_safe() {
    for name in ["", "..", "a/b", "-x", "a b", "ä", &"a".repeat(33)] {
        let text = wrong(&format!("interfaces = [\"eth0\"]\nname = \"{name}\""));
        assert!(text.contains("cannot name an instance"), "{text}");
    }
    let text = wrong("interfaces = [\"eth0\"]\nstate_dir = \"state\"");
    assert!(text.contains("`state` is not an absolute path"), "{text}");
    let long = "a".repeat(107);
    let text = wrong(&format!("interfaces = [\"eth0\"]\nsocket = \"/{long}\""));
    assert!(text.contains("108 bytes: at most 107"), "{text}");
    let text = wrong("interfaces = [\"eth0\"]\n[metrics]\nlisten = \"9901\"");
    assert!(text.contains("`9901` is not an address and port"), "{text}");
    let text = wrong("interfaces = [\"eth0\"]\nmetrics = 1");
    assert!(text.contains("write [metrics]"), "{text}");
}

#[test]
fn everything_is_reported_at_once_in_the_order_of_the_text() {
    let found = Config::parse(
        "xdp_mode = \"fast\"\nname = \"..\"\nbogus = 1\n[metrics]\nlisten = 5\n[roles]\nroot = 1\n",
        "x",
    )
    .unwrap_err();
    let lines: Vec<_> = found.iter().map(|d| d.at.map(|at| at.line)).collect();
    assert_eq!(lines, [Some(1), Some(2), Some(3), Some(5), Some(7), None]);
}

#[test]
fn what_is_no_toml_is_reported_with_its_line() {
    let text = wrong("interfaces = [\"eth0\"]\nname = splitter\nsocket = \n");
    assert!(
        text.contains("splitterd.toml:2:8: this is not TOML"),
        "{text}"
    );
    assert!(text.contains("splitterd.toml:3:"), "{text}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::from_path(Path::new("/nonexistent/splitterd.toml")).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/splitterd.toml"));
}

#[test]
fn addresses_and_ports_of_nat_are_checked() {
    let nat = |line: &str| wrong(&format!("interfaces = [\"eth0\"]\n[nat]\n{line}\n"));
    for (line, words) in [
        ("addresses = [\"198.18.2\"]", "`198.18.2` is not an IPv4"),
        ("addresses = [\"198.18.2.9/32\"]", "without port or prefix"),
        (
            "addresses = [\"224.0.0.1\"]",
            "224.0.0.1 is a multicast address",
        ),
        ("addresses = [\"127.0.0.1\"]", "a loopback address"),
        ("addresses = [\"fe80::1\"]", "a link-local address"),
        (
            "addresses = [\"198.18.2.9\", \"198.18.2.9\"]",
            "198.18.2.9 is given twice",
        ),
        ("addresses = \"198.18.2.9\"", "this is a list"),
        ("ports = \"\"", "`` is not a range of ports"),
        ("ports = \"10240\"", "write it like \"10240-32767\""),
        ("ports = \"0-5\"", "from 1 to 65535"),
        ("ports = \"9-5\"", "the first not above the last"),
        ("ports = \"1-65536\"", "from 1 to 65535"),
        ("port = \"1-2\"", "known: addresses, ports"),
    ] {
        let text = nat(line);
        assert!(text.contains(words), "{line}: {text}");
        assert!(text.contains("splitterd.toml:3:"), "{text}");
        assert!(text.contains("  fix: "), "{text}");
    }
    let many = |count: u8, family: &str| {
        let list: Vec<String> = (1..=count).map(|n| format!("\"{family}{n}\"")).collect();
        format!(
            "interfaces = [\"eth0\"]\n[nat]\naddresses = [{}]\n",
            list.join(", ")
        )
    };
    assert_eq!(good(&many(15, "198.18.2.")).nat.addresses.len(), 15);
    for family in ["198.18.2.", "2001:db8::"] {
        let text = wrong(&many(16, family));
        assert!(text.contains("at most 15 of a family"), "{text}");
    }
}

#[test]
fn networks_of_the_tunnel_are_checked() {
    let tunnel = |line: &str| wrong(&format!("interfaces = [\"eth0\"]\n[tunnel]\n{line}\n"));
    for (line, words) in [
        (
            "outer_source_v4 = \"198.19.0.0\"",
            "is not a network of this family",
        ),
        (
            "outer_source_v4 = \"2001:db8::/64\"",
            "is not a network of this family",
        ),
        (
            "outer_source_v6 = \"198.19.0.0/16\"",
            "is not a network of this family",
        ),
        ("outer_source_v4 = \"198.19.0.1/16\"", "198.19.0.0"),
        (
            "outer_source_v6 = \"2001:db8::1/64\"",
            "bits set beyond its prefix",
        ),
        ("outer_source_v4 = \"224.0.0.0/8\"", "a multicast address"),
        ("outer_source_v4 = \"128.0.0.0/1\"", "the broadcast address"),
        ("outer_source_v4 = \"0.0.0.0/0\"", "the unspecified address"),
        ("outer_source_v6 = \"ff00::/8\"", "a multicast address"),
        ("outer_source_v6 = \"fe80::/64\"", "a link-local address"),
        (
            "outer_source = \"198.19.0.0/16\"",
            "known: outer_source_v4, outer_source_v6",
        ),
    ] {
        let text = tunnel(line);
        assert!(text.contains(words), "{line}: {text}");
        assert!(text.contains("splitterd.toml:3:"), "{text}");
    }
}

#[test]
fn a_tunnel_without_bits_to_vary_is_warned_of() {
    let warnings =
        |line: &str| good(&format!("interfaces = [\"eth0\"]\n[tunnel]\n{line}\n")).warnings();
    for (line, bits) in [
        ("outer_source_v4 = \"198.19.0.0/28\"", None),
        ("outer_source_v4 = \"198.19.0.0/29\"", Some("only 3 bits")),
        ("outer_source_v4 = \"198.19.0.1/32\"", Some("only 0 bits")),
        ("outer_source_v6 = \"2001:db8::/32\"", None),
        ("outer_source_v6 = \"2001:db8::/124\"", None),
        ("outer_source_v6 = \"2001:db8::8/125\"", Some("only 3 bits")),
        ("outer_source_v6 = \"2001:db8::8/128\"", Some("only 0 bits")),
    ] {
        let found = warnings(line);
        assert_eq!(found.len(), usize::from(bits.is_some()), "{found:?}");
        assert!(bits.is_none_or(|bits| found[0].contains(bits)), "{found:?}");
    }
}

#[test]
fn the_program_gets_a_prefix_and_the_mask_of_what_stays() {
    let wire = |v4: &str, v6: &str| {
        Tunnel {
            outer_source_v4: v4.parse().unwrap(),
            outer_source_v6: v6.parse().unwrap(),
        }
        .wire()
    };
    let default = Tunnel::default().wire();
    assert_eq!(default, wire("198.19.0.0/16", "2001:db8:ffff::/64"));
    assert_eq!(default.prefix_v4, u32::from_ne_bytes([198, 19, 0, 0]));
    assert_eq!(default.mask_v4, u32::from_ne_bytes([255, 255, 0, 0]));
    assert_eq!(default.mask_v6, 0, "the whole last word varies");
    let narrow = wire("198.19.0.7/32", "2001:db8::1:0/112");
    assert_eq!(narrow.mask_v4, u32::MAX);
    assert_eq!(narrow.mask_v6, u32::from_ne_bytes([255, 255, 0, 0]));
    assert_eq!(
        narrow.prefix_v6.0[3],
        u32::from_ne_bytes([0, 1, 0, 0]),
        "in packet order"
    );
}

#[test]
fn the_example_that_is_installed_shows_the_defaults() {
    let example = include_str!("../../../packaging/splitterd.toml");
    // What is commented out without a space is the default.
    let shown: Vec<&str> = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => rest,
            _ => line,
        })
        .collect();
    let shown = good(&shown.join("\n"));
    assert_eq!(shown, good("interfaces = [\"eth0\", \"eth1\"]"));
    assert_eq!(shown, good(example));
}

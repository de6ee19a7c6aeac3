//! `splitterctl backend-setup`: what it changes, what it leaves alone, and the way back.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use anyhow::Result;
use lab::{BackendHost, Namespace, await_some};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
const VIP: &str = "--vip 198.18.1.100,2001:db8:1::100";
const SETTINGS: [&str; 4] = [
    "all/arp_ignore",
    "all/arp_announce",
    "eth0/rp_filter",
    "all/rp_filter",
];

/// A backend's host and its neighbour, with a default route each; strict reverse-path filters.
struct Segment {
    neighbour: Namespace,
    backend: BackendHost,
}

impl Segment {
    fn new() -> Result<Self> {
        let (neighbour, host) = (Namespace::new("neighbour")?, Namespace::new("backend")?);
        for namespace in [&neighbour, &host] {
            for scope in ["all", "default"] {
                namespace.sysctl(&format!("ipv6/conf/{scope}/accept_dad"), "0")?;
            }
        }
        neighbour.exec(&format!(
            "ip link add eth0 type veth peer name eth0 netns {}",
            host.name()
        ))?;
        neighbour.ip("link set eth0 up\n\
             addr add 198.18.2.1/24 dev eth0\n\
             addr add 198.18.1.1/24 dev eth0\n\
             addr add 2001:db8:2::1/64 dev eth0 nodad\n\
             addr add 2001:db8:1::1/64 dev eth0 nodad\n")?;
        host.ip("link set eth0 up\n\
             addr add 198.18.2.11/24 dev eth0\n\
             addr add 2001:db8:2::11/64 dev eth0 nodad\n\
             route add default via 198.18.2.1 dev eth0 proto static metric 100 initcwnd 12\n\
             route add default via 2001:db8:2::1 dev eth0 proto static metric 1024\n")?;
        for scope in ["all", "eth0"] {
            host.sysctl(&format!("ipv4/conf/{scope}/rp_filter"), "1")?;
        }
        let backend = BackendHost::new(&host)?;
        Ok(Self { neighbour, backend })
    }

    fn host(&self) -> &Namespace {
        self.backend.host()
    }

    /// Everything that the setup may change, as the host says it.
    fn state(&self) -> Result<Vec<String>> {
        let mut state = Vec::new();
        for setting in SETTINGS {
            state.push(
                self.host()
                    .exec(&format!("cat /proc/sys/net/ipv4/conf/{setting}"))?,
            );
        }
        for line in [
            "ip -o addr show dev lo",
            "ip -4 route show",
            "ip -6 route show default",
        ] {
            state.push(self.host().exec(line)?);
        }
        let links: Value = serde_json::from_str(&self.host().exec("ip -j link show eth0")?)?;
        state.push(links[0]["xdp"]["mode"].to_string());
        Ok(state)
    }

    /// Whether the neighbour gets an answer when it asks who has `address`.
    fn answers_for(&self, address: &str) -> Result<bool> {
        self.neighbour.ip("neigh flush dev eth0\n")?;
        let address: IpAddr = address.parse()?;
        let any = if address.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        self.neighbour
            .enter(|| UdpSocket::bind(any)?.send_to(b"?", (address, 9)))?;
        // It asks three times, a second apart.
        await_some(SOON, "the neighbour to know", || {
            let line = format!("ip neigh show {address} dev eth0");
            let table = self.neighbour.exec(&line).ok()?;
            let known = table.contains("lladdr");
            (known || table.contains("FAILED")).then_some(known)
        })
    }
}

#[test]
fn a_dsr_backend_has_the_vip_and_answers_no_neighbour_for_it() -> Result<()> {
    let segment = Segment::new()?;
    let before = segment.state()?;
    let line = format!("--mode dsr-l2 {VIP}");

    // Without it an IPv4 VIP on the loopback is answered for on every interface.
    segment.host().ip("addr add 198.18.1.100/32 dev lo\n")?;
    assert!(segment.answers_for("198.18.1.100")?);
    segment.host().ip("addr del 198.18.1.100/32 dev lo\n")?;

    // Printed only: nothing is done.
    let printed = segment.backend.setup(&line)?.succeeded()?.stdout;
    assert_eq!(segment.state()?, before);

    segment
        .backend
        .setup(&format!("{line} --apply"))?
        .succeeded()?;
    let after = segment.state()?;
    assert_eq!(after[..4], ["1\n", "2\n", "2\n", "1\n"]);
    assert!(after[4].contains("198.18.1.100/32") && after[4].contains("2001:db8:1::100/128"));
    assert!(
        after[4].contains("deprecated"),
        "no source address: {}",
        after[4]
    );
    assert_eq!(after[5..], before[5..], "routes are as they were");
    for vip in ["198.18.1.100", "2001:db8:1::100"] {
        assert!(!segment.answers_for(vip)?, "{vip}");
    }
    for own in ["198.18.2.11", "2001:db8:2::11"] {
        assert!(segment.answers_for(own)?, "{own}");
    }

    segment.backend.setup("--undo")?.succeeded()?;
    assert_eq!(segment.state()?, before);

    // What was printed does the same.
    segment
        .host()
        .command("sh")
        .args(["-c", &printed])
        .status()?;
    assert_eq!(segment.state()?, after);
    Ok(())
}

#[test]
fn an_ipip_backend_takes_packets_out_of_tunnels_and_leaves_them_room() -> Result<()> {
    let segment = Segment::new()?;
    let before = segment.state()?;
    let line = format!("--mode ipip {VIP} --interface eth0 --xdp-mode generic --apply");
    segment.backend.setup(&line)?.succeeded()?;
    let after = segment.state()?;
    assert!(
        after[5].contains("default via 198.18.2.1 dev eth0 proto static metric 100"),
        "{}",
        after[5]
    );
    assert!(
        after[5].contains("advmss 1440") && after[5].contains("initcwnd 12"),
        "{}",
        after[5]
    );
    assert!(after[6].contains("advmss 1400"), "{}", after[6]);
    assert_ne!(after[7], before[7], "XDP is attached");

    // A second time there is nothing to do.
    let steps = segment.backend.steps(&line)?;
    assert!(
        steps.len() >= 8 && steps.iter().all(|(_, state)| state == "asItShould"),
        "{steps:?}"
    );
    assert_eq!(segment.state()?, after);

    // A VIP more, and a narrower path: only that is changed, and all of it goes back.
    let more = line.replace("--vip ", "--vip 198.18.1.101,") + " --mtu 1400";
    let changed: Vec<String> = segment
        .backend
        .steps(&more)?
        .into_iter()
        .filter(|(_, state)| state == "done")
        .map(|(what, _)| what)
        .collect();
    assert_eq!(
        changed,
        [
            "198.18.1.101 on lo",
            "route default, metric 100",
            "route default, metric 1024",
            "decapsulator splitter-decap on eth0"
        ]
    );
    assert!(segment.state()?[5].contains("advmss 1340"));
    segment.backend.setup("--undo")?.succeeded()?;
    assert_eq!(segment.state()?, before);
    let again = segment.backend.setup("--undo")?.succeeded()?;
    assert!(
        again.stderr.contains("nothing to take back"),
        "{}",
        again.stderr
    );
    Ok(())
}

#[test]
fn undo_leaves_what_somebody_else_has_changed_since() -> Result<()> {
    let segment = Segment::new()?;
    segment
        .backend
        .setup(&format!("--mode dsr-l2 {VIP} --apply"))?
        .succeeded()?;
    segment.host().sysctl("ipv4/conf/all/arp_ignore", "2")?;
    segment.host().ip("addr del 198.18.1.100/32 dev lo\n")?;
    let answer = segment.backend.setup("--undo")?;
    assert_eq!(answer.code, 5, "{}{}", answer.stdout, answer.stderr);
    assert!(
        answer
            .stdout
            .contains("BY HAND net.ipv4.conf.all.arp_ignore: it is 2"),
        "{}",
        answer.stdout
    );
    let state = segment.state()?;
    assert_eq!(state[..4], ["2\n", "0\n", "1\n", "1\n"]);
    assert!(!state[4].contains("198.18.1.100") && !state[4].contains("2001:db8:1::100"));
    Ok(())
}

#[test]
fn a_setup_that_fails_half_way_says_so_and_can_be_taken_back() -> Result<()> {
    let segment = Segment::new()?;
    let before = segment.state()?;
    let foreign = lab::ForeignXdp::attach(segment.host(), "eth0")?;
    let answer = segment
        .backend
        .setup(&format!("--mode ipip {VIP} --interface eth0 --apply"))?;
    answer.assert_refused(1, &["eth0", "another XDP program"]);
    assert!(
        answer.stdout.contains("done    198.18.1.100 on lo"),
        "{}",
        answer.stdout
    );
    segment.backend.setup("--undo")?.succeeded()?;
    drop(foreign);
    assert_eq!(segment.state()?, before);
    Ok(())
}

#[test]
fn what_a_person_has_to_decide_is_said_and_not_done() -> Result<()> {
    let segment = Segment::new()?;
    segment.host().ip("addr add 198.18.1.100/24 dev eth0\n")?;
    let before = segment.state()?;
    let answer = segment
        .backend
        .setup("--mode dsr-l2 --vip 198.18.1.100 --apply")?;
    assert_eq!(answer.code, 5, "{}{}", answer.stdout, answer.stderr);
    assert!(
        answer
            .stdout
            .contains("ip addr del 198.18.1.100/24 dev eth0"),
        "{}",
        answer.stdout
    );

    let answer = segment
        .backend
        .setup("--mode dnat --balancer 198.18.2.2 --apply")?;
    assert_eq!(answer.code, 5, "{}", answer.stdout);
    assert!(
        answer.stdout.contains("leads via 198.18.2.1"),
        "{}",
        answer.stdout
    );
    assert_eq!(segment.state()?[4..], before[4..]);
    segment
        .backend
        .setup("--mode dnat --balancer 198.18.2.1 --apply")?
        .succeeded()?;
    segment
        .backend
        .setup("--mode fullnat --apply")?
        .succeeded()?;
    Ok(())
}

#[test]
fn wrong_command_lines_are_refused_with_what_to_write() -> Result<()> {
    let segment = Segment::new()?;
    let before = segment.state()?;
    let rows: [(&str, &[&str]); 8] = [
        ("", &["--mode"]),
        ("--mode dsr-l2 --apply", &["dsr-l2", "--vip"]),
        ("--mode dnat", &["--balancer"]),
        ("--mode ipip --vip 127.0.0.1", &["127.0.0.1", "unicast"]),
        (
            "--mode ipip --vip 198.18.1.100 --interface eth7",
            &["eth7", "eth0"],
        ),
        (
            "--mode ipip --vip 198.18.1.100 --interface lo",
            &["loopback"],
        ),
        ("--mode ipip --vip 198.18.1.100 --mtu 500", &["500", "596"]),
        (
            "--mode ipip --vip 198.18.1.100 --source 2001:db8::/64",
            &["198.18.1.100", "--source"],
        ),
    ];
    for (line, words) in rows {
        segment.backend.setup(line)?.assert_refused(1, words);
    }
    // This kernel has no tunnel devices: what was done before is kept for --undo.
    let kernel = format!("--mode ipip {VIP} --decapsulation kernel --apply");
    let answer = segment.backend.setup(&kernel)?;
    if answer.code != 0 {
        answer.assert_refused(1, &["splitter-ipip", "--decapsulation xdp"]);
    }
    segment.backend.setup("--undo")?.succeeded()?;
    assert_eq!(segment.state()?, before);
    Ok(())
}

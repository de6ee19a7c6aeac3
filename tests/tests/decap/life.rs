//! The decapsulator's process comes and goes; the program stays until it is told to go.

use std::net::{IpAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::{BackendHost, ChildGuard, ForeignXdp, Namespace, await_some, await_until};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
const VIP: &str = "--vip 198.18.1.100,2001:db8:1::100";

/// A host with `eth0`, and `far` at the other end of its cable.
fn host() -> Result<BackendHost> {
    let host = Namespace::new("backend")?;
    host.sysctl("ipv6/conf/default/accept_dad", "0")?;
    host.ip("link add eth0 type veth peer name far\n\
         link set far up\n\
         link set eth0 up\n\
         addr add 198.18.2.11/24 dev eth0\n\
         addr add 2001:db8:2::11/64 dev eth0 nodad\n")?;
    BackendHost::new(&host)
}

/// Starts the process and waits until its program is attached with the rules that it was given.
fn start(host: &BackendHost, line: &str, vips: &Value) -> Result<ChildGuard> {
    let process = host.spawn_decap(line)?;
    await_until(SOON, "the decapsulator to be attached", || {
        host.status().is_ok_and(|status| status["vips"] == *vips)
    })?;
    Ok(process)
}

/// Sends a frame from the far end to all nodes.
fn shout(host: &BackendHost) -> Result<()> {
    let index = host.host().exec("cat /proc/net/dev_mcast")?;
    let index = index
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|words| words.get(1) == Some(&"far"))
        .context("no interface far")?[0]
        .parse()?;
    let all = SocketAddrV6::new("ff02::1".parse()?, 9, 0, index);
    host.host()
        .enter(|| UdpSocket::bind("[::]:0")?.send_to(b"!", all))?;
    Ok(())
}

fn program_on(host: &BackendHost, interface: &str) -> Result<Option<u64>> {
    let links = host.host().exec(&format!("ip -j link show {interface}"))?;
    let links: Value = serde_json::from_str(&links)?;
    Ok(links[0]["xdp"]["prog"]["id"].as_u64())
}

#[test]
fn a_stopped_or_killed_process_leaves_the_program_attached_and_the_next_one_replaces_it()
-> Result<()> {
    let host = host()?;
    let both = json!(["198.18.1.100", "2001:db8:1::100"]);
    let process = start(&host, &format!("--interface eth0 {VIP}"), &both)?;
    process.stop(SOON)?;
    let first = program_on(&host, "eth0")?.unwrap();
    assert_eq!(host.status()?["interfaces"], json!({"eth0": "native"}));

    // Counted on, with other rules, by another program over the same link.
    let seen = await_some(SOON, "frames to be counted", || {
        shout(&host).ok()?;
        host.counted("not_tunnelled").ok().filter(|seen| *seen > 0)
    })?;
    let process = start(
        &host,
        "--interface eth0 --vip 198.18.1.101 --source 198.19.0.0/24",
        &json!(["198.18.1.101"]),
    )?;
    let second = program_on(&host, "eth0")?.unwrap();
    assert_ne!(first, second);
    assert!(host.counted("not_tunnelled")? >= seen);
    let status = host.status()?;
    assert_eq!(status["sources"], json!(["198.19.0.0/24"]));
    // Of IPv6, which has no VIP now, nothing is kept.
    assert_eq!(status["addresses"], json!(["198.18.2.11"]));

    process.kill9()?;
    assert_eq!(program_on(&host, "eth0")?, Some(second));
    host.decap("--detach")?.succeeded()?;
    assert_eq!(program_on(&host, "eth0")?, None);
    host.decap("--detach")?
        .assert_refused(1, &["no decapsulator is attached"]);
    host.decap("--status")?
        .assert_refused(1, &["no decapsulator is attached"]);
    Ok(())
}

#[test]
fn once_attaches_and_ends() -> Result<()> {
    let host = host()?;
    let answer = host
        .decap(&format!("--interface eth0 {VIP} --mode generic --once"))?
        .succeeded()?;
    assert!(answer.stderr.contains("generic mode"), "{}", answer.stderr);
    assert!(
        answer.stderr.contains("does not have the VIP"),
        "{}",
        answer.stderr
    );
    assert_eq!(host.status()?["interfaces"], json!({"eth0": "generic"}));
    // From generic to native, and to another interface: what is no longer named is let go.
    host.decap(&format!("--interface far {VIP} --once"))?
        .succeeded()?;
    assert_eq!(host.status()?["interfaces"], json!({"far": "native"}));
    assert_eq!(program_on(&host, "eth0")?, None);
    Ok(())
}

#[test]
fn a_second_process_and_a_detach_beside_one_are_refused_with_its_pid() -> Result<()> {
    let host = host()?;
    let both = json!(["198.18.1.100", "2001:db8:1::100"]);
    let line = format!("--interface eth0 {VIP}");
    let process = start(&host, &line, &both)?;
    let pid = process.pid().to_string();
    for line in [&line, "--detach"] {
        host.decap(line)?.assert_refused(1, &["locked", &pid]);
    }
    assert!(program_on(&host, "eth0")?.is_some());
    // Another name is another one; on the same interface the first is in its way.
    host.decap(&format!("{line} --once --name other"))?
        .assert_refused(1, &["eth0", "another XDP program"]);
    host.decap("--status --name other")?
        .assert_refused(1, &["no decapsulator"]);
    process.stop(SOON)
}

#[test]
fn a_foreign_program_is_refused_and_nothing_is_left_behind() -> Result<()> {
    let host = host()?;
    let foreign = ForeignXdp::attach(host.host(), "far")?;
    host.decap(&format!("--interface eth0,far {VIP}"))?
        .assert_refused(1, &["far", "another XDP program"]);
    assert_eq!(program_on(&host, "eth0")?, None);
    host.decap("--status")?
        .assert_refused(1, &["no decapsulator is attached"]);
    drop(foreign);
    host.decap(&format!("--interface eth0,far {VIP} --once"))?
        .succeeded()?;
    assert_eq!(
        host.status()?["interfaces"],
        json!({"eth0": "native", "far": "native"})
    );
    Ok(())
}

#[test]
fn wrong_command_lines_are_refused_with_what_to_write() -> Result<()> {
    let host = host()?;
    let rows: [(&str, &[&str]); 9] = [
        ("", &["--interface", "--vip"]),
        ("--interface eth0", &["--vip"]),
        (
            "--interface fornt --vip 198.18.1.1",
            &["fornt", "eth0", "far"],
        ),
        ("--interface lo --vip 198.18.1.1", &["loopback"]),
        ("--interface eth0 --vip 198.18.1", &["198.18.1"]),
        (
            "--interface eth0 --vip 224.0.0.1",
            &["224.0.0.1", "unicast"],
        ),
        (
            "--interface eth0 --vip 198.18.1.1 --source 198.19.1.0/16",
            &["198.19.0.0/16"],
        ),
        (
            "--interface eth0 --vip 198.18.1.1 --source 0.0.0.0/0",
            &["0.0.0.0/0", "anybody"],
        ),
        (
            "--interface eth0 --vip 2001:db8::1 --source 198.19.0.0/16",
            &["2001:db8::1", "--source"],
        ),
    ];
    for (line, words) in rows {
        host.decap(line)?.assert_refused(1, words);
    }
    assert_eq!(program_on(&host, "eth0")?, None);
    Ok(())
}

#[test]
fn a_running_process_follows_new_addresses_and_interfaces_that_come_back() -> Result<()> {
    let host = host()?;
    let both = json!(["198.18.1.100", "2001:db8:1::100"]);
    let process = start(&host, &format!("--interface eth0 {VIP}"), &both)?;
    host.host().ip("addr add 198.18.2.12/24 dev eth0\n")?;
    await_some(SOON, "the new address to be known", || {
        let status = host.status().ok()?;
        let known = status["addresses"].as_array()?;
        known.contains(&json!("198.18.2.12")).then_some(())
    })?;

    host.host().ip("link del eth0\n")?;
    assert_eq!(host.decap("--status")?.code, 1, "an interface has gone");
    host.host().ip("link add eth0 type veth peer name far\nlink set eth0 up\naddr add 198.18.2.11/24 dev eth0\naddr add 2001:db8:2::11/64 dev eth0 nodad\n")?;
    await_until(SOON, "the interface to carry the program again", || {
        host.status()
            .is_ok_and(|status| status["interfaces"] == json!({"eth0": "native"}))
    })?;
    let address: IpAddr = "198.18.2.11".parse()?;
    assert!(
        host.status()?["addresses"]
            .to_string()
            .contains(&address.to_string())
    );
    process.stop(SOON)
}

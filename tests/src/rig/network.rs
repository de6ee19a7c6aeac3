use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Puts this thread into a network of its own, without routes: where test runs enter, and what
/// `bpf_fib_lookup` asks.
///
/// # Errors
/// What the kernel says.
pub fn isolate() -> Result<()> {
    // SAFETY: a network namespace is a thread's own affair; nothing that threads share is unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
        .context("a network of its own: run this as root")
}

/// Gives this thread's network a route to clients in 198.19.0.0/16 and 2001:db8:c::/48, over a veth to
/// a neighbour whose address is known. Returns the veth's index.
///
/// # Errors
/// What ip(8) says.
pub fn route_to_clients() -> Result<u32> {
    let script = "ip link set lo up && ip link add clients type veth peer name far && \
        ip link set clients address 02:b0:00:00:00:02 && ip link set clients up && ip link set far up && \
        ip address add 198.18.255.1/16 dev clients && ip address add 2001:db8::ff:1/64 dev clients nodad && \
        ip neighbour add 198.18.255.2 lladdr 02:c0:00:00:00:02 dev clients nud permanent && \
        ip neighbour add 2001:db8::ff:2 lladdr 02:c0:00:00:00:02 dev clients nud permanent && \
        ip route add 198.19.0.0/16 via 198.18.255.2 && ip route add 2001:db8:c::/48 via 2001:db8::ff:2 && \
        echo 1 > /proc/sys/net/ipv4/ip_forward && echo 1 > /proc/sys/net/ipv6/conf/all/forwarding && \
        ip -o link show clients | cut -d: -f1";
    // `/proc/sys/net` shows the network of whoever opens it.
    let output = Command::new("sh")
        .args(["-c", script])
        .output()
        .context("run ip(8)")?;
    ensure!(
        output.status.success(),
        "no network with a route to clients: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Lets no more than `mtu` bytes a packet over the veth of [`route_to_clients`].
///
/// # Errors
/// What ip(8) says.
pub fn limit_clients(mtu: u16) -> Result<()> {
    let mtu = mtu.to_string();
    let output = Command::new("ip")
        .args(["link", "set", "clients", "mtu", &mtu])
        .output()
        .context("run ip(8)")?;
    ensure!(
        output.status.success(),
        "no MTU of {mtu}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

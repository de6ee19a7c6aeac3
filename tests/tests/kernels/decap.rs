//! Kernel tunnels, at either end: what they send our decapsulator takes out, and what sets them up on a
//! backend's host.

use anyhow::{Context as _, Result};
use lab::{BACKENDS, OUTER_SOURCE_V4, OUTER_SOURCE_V6, VIP_V4, VIP_V6};

use crate::decap::traffic::{DATAGRAMS, Tunnelled};

/// Octets of a transfer: qemu's translated CPUs are slow.
const TRANSFER: usize = 2_000_000;

/// Hosts whose balancer sends through the kernel's own devices. The one of IPv6 puts a tunnel
/// encapsulation limit into every packet, as Linux does unless it is told not to.
fn sent_by_the_kernel() -> Result<Tunnelled> {
    let tunnelled = Tunnelled::prepare()?;
    let [backend, ..] = BACKENDS;
    tunnelled.hosts.balancer.ip(&format!(
        "addr add {OUTER_SOURCE_V4}/32 dev lo\n\
         addr add {OUTER_SOURCE_V6}/128 dev lo nodad\n\
         link add out4 type ipip local {OUTER_SOURCE_V4} remote {}\n\
         link add out6 type ip6tnl mode ip6ip6 local {OUTER_SOURCE_V6} remote {}\n\
         link set out4 up\n\
         link set out6 up\n\
         route add {VIP_V4}/32 dev out4\n\
         route add {VIP_V6}/128 dev out6\n",
        backend.v4, backend.v6
    ))?;
    Ok(tunnelled)
}

fn exchange(tunnelled: &Tunnelled) -> Result<()> {
    for vip in [VIP_V4, VIP_V6] {
        tunnelled
            .echo(vip, TRANSFER)
            .with_context(|| format!("TCP at {vip}"))?;
        tunnelled
            .datagrams(vip)
            .with_context(|| format!("UDP at {vip}"))?;
    }
    Ok(())
}

#[test]
fn the_decapsulator_takes_out_what_the_kernels_tunnels_send() -> Result<()> {
    for mode in ["native", "generic"] {
        let tunnelled = sent_by_the_kernel()?;
        let line = format!(
            "--mode ipip --vip {VIP_V4},{VIP_V6} --interface eth0 --xdp-mode {mode} --apply"
        );
        tunnelled.backend.setup(&line)?.succeeded()?;
        exchange(&tunnelled).with_context(|| format!("{mode} mode"))?;
        for counter in ["decapsulated_v4", "decapsulated_v6"] {
            assert!(
                tunnelled.backend.counted(counter)? > u64::from(DATAGRAMS),
                "{counter}"
            );
        }
        for counter in ["malformed", "outer_options", "unwritable"] {
            assert_eq!(tunnelled.backend.counted(counter)?, 0, "{counter}");
        }
    }
    Ok(())
}

#[test]
fn backend_setup_makes_kernel_tunnels_that_take_packets_out_and_takes_them_away_again() -> Result<()>
{
    let tunnelled = sent_by_the_kernel()?;
    let backend = &tunnelled.backend;
    // The filter that newer devices start with drops what comes out of a tunnel.
    backend.host().sysctl("ipv4/conf/default/rp_filter", "1")?;
    let line = format!(
        "--mode ipip --vip {VIP_V4},{VIP_V6} --interface eth0 --decapsulation kernel --apply"
    );
    backend.setup(&line)?.succeeded()?;
    let steps = backend.steps(&line)?;
    assert!(
        steps.iter().all(|(_, state)| state == "asItShould"),
        "{steps:?}"
    );
    exchange(&tunnelled)?;

    backend.setup("--undo")?.succeeded()?;
    let links = backend.host().exec("ip -o link show")?;
    assert!(!links.contains("splitter-ip"), "{links}");
    Ok(())
}

//! Tunnel devices of the kernel as the other end of mode `ipip`.

use anyhow::{Context as _, Result};
use lab::{VIP_V4, VIP_V6};

use super::scene::{Scene, Way};

/// Packets that a device has taken in.
fn received(scene: &Scene, device: &str) -> Result<u64> {
    let table = scene.hosts.backends.exec("cat /proc/net/dev")?;
    let start = format!("{device}:");
    let line = table
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(&start))
        .with_context(|| format!("no device {device}"))?;
    let packets = line.split_whitespace().nth(1).context("no packets")?;
    Ok(packets.parse()?)
}

#[test]
fn a_tunnel_device_of_the_kernel_takes_out_what_ipip_sends() -> Result<()> {
    let scene = Scene::with_splitter(Way::Tunneled)?;
    for (vip, device) in [(VIP_V4, "tunnel4"), (VIP_V6, "tunnel6")] {
        let before = received(&scene, device)?;
        for port in 40_000..40_008 {
            let mut connection = scene.connect(vip, port)?;
            for _ in 0..4 {
                connection.ask()?;
            }
            scene.datagram(vip, port)?;
        }
        // Of each connection a SYN, an ACK and four lines; of each datagram itself.
        let packets = received(&scene, device)? - before;
        assert!(packets >= 8 * 7, "{device} has taken in {packets} packets");
    }
    Ok(())
}

//! Wires that carry 9000 bytes.

use anyhow::Result;
use lab::{Blob, Configuration, MB, Mode, Topology, VIP_V4, VIP_V6, echo};

use super::{ECHOES, ModeSite};

fn carry_jumbo_frames(mode: Mode, xdp: &str) -> Result<()> {
    let topology = match mode {
        Mode::Ipip => Topology::routed(mode)
            .inside_mtu(9100)
            .without_room_for_tunnel(),
        _ => Topology::routed(mode),
    };
    let configuration = Configuration::new().xdp_mode(xdp);
    let site = ModeSite::new(topology.mtu(9000), mode, &configuration)?;
    let blob = Blob::new(10 * MB)?;
    for vip in [VIP_V4, VIP_V6] {
        let up = site.upload(&blob, vip)?;
        assert!(up.segment > 8_900, "{up:?}");
        site.download(&blob, vip)?;
    }
    for target in ECHOES {
        // Around the sizes at which a frame needs more than one page.
        echo(
            &site.hosts.client,
            target,
            &[3_500, 4_000, 4_100, 8_900],
            100,
        )?;
    }
    Ok(())
}

#[test]
fn dnat_carries_jumbo_frames() -> Result<()> {
    carry_jumbo_frames(Mode::Dnat, "native")
}

#[test]
fn dnat_carries_jumbo_frames_in_generic_mode() -> Result<()> {
    carry_jumbo_frames(Mode::Dnat, "generic")
}

#[test]
fn fullnat_carries_jumbo_frames() -> Result<()> {
    carry_jumbo_frames(Mode::FullNat, "native")
}

#[test]
fn dsr_l2_carries_jumbo_frames() -> Result<()> {
    carry_jumbo_frames(Mode::DsrL2, "native")
}

#[test]
fn ipip_carries_jumbo_frames() -> Result<()> {
    carry_jumbo_frames(Mode::Ipip, "native")
}

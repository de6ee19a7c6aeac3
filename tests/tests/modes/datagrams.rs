//! Datagrams that do not fit a packet: sent in fragments, echoed in fragments.

use anyhow::Result;
use lab::{Configuration, Mode, SOLE, Topology, echo};

use super::{ECHOES, ModeSite};

/// One byte too many for one packet of 1500 bytes, and on to nearly the largest datagram there is.
const LENGTHS: [usize; 5] = [1_473, 3_000, 9_000, 20_000, 60_000];

/// Fragments of both families and both directions, with datagrams that fit a packet between them.
fn carry_fragments(mode: Mode, xdp: &str) -> Result<()> {
    // Fragments of IPv4 may not be fragmented again, and nobody tells their senders: a tunnel needs wires that carry it.
    let topology = match mode {
        Mode::Ipip => Topology::routed(mode).inside_mtu(1600),
        _ => Topology::routed(mode),
    };
    let site = ModeSite::new(topology, mode, &Configuration::new().xdp_mode(xdp))?;
    for target in ECHOES {
        // Each length is the first packet of a flow once, and one amid others once.
        for &length in &LENGTHS {
            let backend = echo(&site.hosts.client, target, &[length, 100, length], 30)?;
            assert_eq!(backend, SOLE.name, "{length} bytes");
        }
    }
    site.assert_met("fragment_followed")?;
    assert_eq!(site.agent.verdicts("fragment")?, 0, "fragments got lost");
    Ok(())
}

#[test]
fn dnat_carries_fragments() -> Result<()> {
    carry_fragments(Mode::Dnat, "native")
}

#[test]
fn dnat_carries_fragments_in_generic_mode() -> Result<()> {
    carry_fragments(Mode::Dnat, "generic")
}

#[test]
fn fullnat_carries_fragments() -> Result<()> {
    carry_fragments(Mode::FullNat, "native")
}

#[test]
fn dsr_l2_carries_fragments() -> Result<()> {
    carry_fragments(Mode::DsrL2, "native")
}

#[test]
fn ipip_carries_fragments() -> Result<()> {
    carry_fragments(Mode::Ipip, "native")
}

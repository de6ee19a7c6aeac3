//! IPv4 options and IPv6 extension headers that hosts put into packets.

use anyhow::Result;
use lab::{Configuration, Extra, Mode, SOLE, Topology, exchange, with_extra};

use super::{ECHOES, ModeSite};

fn carry_options(mode: Mode) -> Result<()> {
    let topology = Topology::routed(mode);
    let site = ModeSite::new(topology, mode, &Configuration::new())?;
    let [v4, v6] = ECHOES;
    for (target, extra) in [
        (v4, Extra::NoOperations),
        (v6, Extra::DestinationOptions),
        (v6, Extra::HopByHop),
    ] {
        let socket = with_extra(&site.hosts.client, target, extra)?;
        let backend = exchange(&socket, &[8, 100, 1300], 50)?;
        assert_eq!(backend, SOLE.name, "{extra:?}");
    }
    Ok(())
}

#[test]
fn dnat_carries_options_and_extension_headers() -> Result<()> {
    carry_options(Mode::Dnat)
}

#[test]
fn fullnat_carries_options_and_extension_headers() -> Result<()> {
    carry_options(Mode::FullNat)
}

#[test]
fn dsr_l2_carries_options_and_extension_headers() -> Result<()> {
    carry_options(Mode::DsrL2)
}

#[test]
fn ipip_carries_options_and_extension_headers() -> Result<()> {
    carry_options(Mode::Ipip)
}

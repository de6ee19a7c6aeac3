//! Large transfers, verified by digests, and datagrams, verified one by one.

use anyhow::Result;
use lab::{Blob, Configuration, MB, Mode, SOLE, Topology, VIP_V4, VIP_V6, echo, heavy, soak};

use super::{ECHOES, ModeSite};

/// From the least there is to what just fits.
const LENGTHS: [usize; 5] = [8, 9, 100, 1000, 1400];

/// How XDP is attached, and what is worth sending through it: generic XDP copies every packet.
struct Attached {
    xdp: &'static str,
    bytes: u64,
    datagrams: u64,
}

fn native() -> Attached {
    Attached {
        xdp: "native",
        bytes: 100 * MB,
        datagrams: soak(2_000, 100_000) as u64,
    }
}

fn generic() -> Attached {
    Attached {
        xdp: "generic",
        bytes: soak(20, 100) as u64 * MB,
        datagrams: soak(500, 20_000) as u64,
    }
}

/// Downloads, uploads and echoes over both families.
fn carry(topology: Topology, mode: Mode, attached: &Attached) -> Result<()> {
    let _turn = heavy()?;
    let configuration = Configuration::new().xdp_mode(attached.xdp);
    let site = ModeSite::new(topology, mode, &configuration)?;
    let blob = Blob::new(attached.bytes)?;
    for vip in [VIP_V4, VIP_V6] {
        let down = site.download(&blob, vip)?;
        let up = site.upload(&blob, vip)?;
        println!(
            "{} {}, {vip}: down {down}; up {up}",
            mode.name(),
            attached.xdp
        );
    }
    for target in ECHOES {
        let backend = echo(&site.hosts.client, target, &LENGTHS, attached.datagrams)?;
        assert_eq!(backend, SOLE.name);
    }
    assert_eq!(site.agent.drops()?, [""; 0], "nothing is to be dropped");
    Ok(())
}

/// A test for each mode: name, mode.
macro_rules! carries {
    ($($name:ident: $topology:expr, $mode:expr, $attached:expr;)+) => {
        $(#[test]
        fn $name() -> Result<()> {
            carry($topology, $mode, &$attached)
        })+
    };
}

carries! {
    dnat_carries_large_files_and_datagrams: Topology::routed(Mode::Dnat), Mode::Dnat, native();
    fullnat_carries_large_files_and_datagrams: Topology::routed(Mode::FullNat), Mode::FullNat, native();
    dsr_l2_carries_large_files_and_datagrams: Topology::routed(Mode::DsrL2), Mode::DsrL2, native();
    ipip_carries_large_files_and_datagrams: Topology::routed(Mode::Ipip), Mode::Ipip, native();
    dnat_carries_them_in_generic_mode: Topology::routed(Mode::Dnat), Mode::Dnat, generic();
    fullnat_carries_them_in_generic_mode: Topology::routed(Mode::FullNat), Mode::FullNat, generic();
    dsr_l2_carries_them_in_generic_mode: Topology::routed(Mode::DsrL2), Mode::DsrL2, generic();
    ipip_carries_them_in_generic_mode: Topology::routed(Mode::Ipip), Mode::Ipip, generic();
    a_one_armed_host_carries_dnat: Topology::one_armed(Mode::Dnat), Mode::Dnat, short();
    a_one_armed_host_carries_fullnat: Topology::one_armed(Mode::FullNat), Mode::FullNat, short();
    a_one_armed_host_carries_dsr_l2: Topology::one_armed(Mode::DsrL2), Mode::DsrL2, short();
    a_one_armed_host_carries_ipip: Topology::one_armed(Mode::Ipip), Mode::Ipip, short();
}

/// Natively, and not as much.
fn short() -> Attached {
    Attached {
        bytes: 20 * MB,
        datagrams: 200,
        ..native()
    }
}

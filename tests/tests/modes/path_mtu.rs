//! Ways that are narrower than what their senders believe: each is told by an ICMP error that passes the balancer, or
//! is its own. Where that goes wrong a transfer hangs, for nothing else rescues it (`tcp_mtu_probing` is off).

use anyhow::Result;
use lab::{Blob, Configuration, MB, Mode, Topology, VIP_V4, VIP_V6};

use super::ModeSite;

/// Enough for a window that grows beyond what may have come by in smaller packets.
fn blob() -> Result<Blob> {
    Blob::new(2 * MB)
}

fn site(topology: Topology, mode: Mode, xdp: &str) -> Result<ModeSite> {
    ModeSite::new(topology, mode, &Configuration::new().xdp_mode(xdp))
}

/// The router before the client refuses the backend's large packets, and tells the VIP.
fn narrow_before_the_client(mode: Mode, xdp: &str) -> Result<()> {
    let blob = blob()?;
    let site = site(
        Topology::routed(mode).narrow_towards_client(1300),
        mode,
        xdp,
    )?;
    for vip in [VIP_V4, VIP_V6] {
        site.download(&blob, vip)?;
    }
    site.assert_met("icmp_error_followed")
}

/// The wire behind the balancer is too narrow, and the balancer tells the client.
fn narrow_behind_the_balancer(mode: Mode, xdp: &str) -> Result<()> {
    let blob = blob()?;
    // Behind a tunnel's outer header 1280 bytes must be left: IPv6 knows no smaller MTU (RFC 8200 section 5).
    let site = site(Topology::routed(mode).inside_mtu(1400), mode, xdp)?;
    for vip in [VIP_V4, VIP_V6] {
        site.upload(&blob, vip)?;
        site.download(&blob, vip)?;
    }
    site.assert_met("too_big")
}

/// A router further on refuses the client's large packets, and tells whom it takes for their sender.
fn narrow_before_the_backend(mode: Mode, xdp: &str) -> Result<()> {
    let blob = blob()?;
    let site = site(
        Topology::routed(mode).narrow_towards_backends(1300),
        mode,
        xdp,
    )?;
    for vip in [VIP_V4, VIP_V6] {
        let up = site.upload(&blob, vip)?;
        assert!(up.segment < 1300, "{vip}: {up:?}");
    }
    site.assert_met("icmp_error_followed")
}

/// A test for each case, mode and way of attaching.
macro_rules! cases {
    ($($name:ident: $case:ident, $mode:expr, $xdp:literal;)+) => {
        $(#[test]
        fn $name() -> Result<()> {
            $case($mode, $xdp)
        })+
    };
}

cases! {
    dnat_tells_the_backend_of_a_narrow_way_to_the_client: narrow_before_the_client, Mode::Dnat, "native";
    fullnat_tells_the_backend_of_a_narrow_way_to_the_client: narrow_before_the_client, Mode::FullNat, "native";
    dsr_l2_tells_the_backend_of_a_narrow_way_to_the_client: narrow_before_the_client, Mode::DsrL2, "native";
    ipip_tells_the_backend_of_a_narrow_way_to_the_client: narrow_before_the_client, Mode::Ipip, "native";
    dnat_tells_the_client_of_a_narrow_wire_behind_the_balancer: narrow_behind_the_balancer, Mode::Dnat, "native";
    fullnat_tells_the_client_of_a_narrow_wire_behind_the_balancer: narrow_behind_the_balancer, Mode::FullNat, "native";
    dsr_l2_tells_the_client_of_a_narrow_wire_behind_the_balancer: narrow_behind_the_balancer, Mode::DsrL2, "native";
    ipip_tells_the_client_of_a_narrow_wire_behind_the_balancer: narrow_behind_the_balancer, Mode::Ipip, "native";
    dnat_tells_the_client_of_a_narrow_way_to_the_backend: narrow_before_the_backend, Mode::Dnat, "native";
    fullnat_tells_the_client_of_a_narrow_way_to_the_backend: narrow_before_the_backend, Mode::FullNat, "native";
    dnat_tells_the_backend_in_generic_mode: narrow_before_the_client, Mode::Dnat, "generic";
    ipip_tells_the_backend_in_generic_mode: narrow_before_the_client, Mode::Ipip, "generic";
    fullnat_tells_the_client_in_generic_mode: narrow_before_the_backend, Mode::FullNat, "generic";
}

/// Nobody but the balancer knows of the outer header.
fn no_room_for_the_outer_header(topology: Topology, xdp: &str) -> Result<()> {
    let blob = blob()?;
    let site = site(topology.without_room_for_tunnel(), Mode::Ipip, xdp)?;
    // Less the headers and the time stamps of TCP.
    for (vip, mtu, headers) in [(VIP_V4, 1480, 52), (VIP_V6, 1460, 72)] {
        let up = site.upload(&blob, vip)?;
        assert_eq!(up.segment, mtu - headers, "{vip}");
    }
    site.assert_met("too_big")
}

#[test]
fn ipip_tells_the_client_that_the_outer_header_needs_room() -> Result<()> {
    no_room_for_the_outer_header(Topology::routed(Mode::Ipip), "native")
}

#[test]
fn ipip_tells_the_client_so_in_generic_mode() -> Result<()> {
    no_room_for_the_outer_header(Topology::routed(Mode::Ipip), "generic")
}

#[test]
fn a_one_armed_host_tells_the_client_so() -> Result<()> {
    no_room_for_the_outer_header(Topology::one_armed(Mode::Ipip), "native")
}

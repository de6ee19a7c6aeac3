//! Ways that are narrower than what their senders believe: each is told by an ICMP error that passes the balancer, or
//! is its own. Where that goes wrong a transfer hangs, for nothing else rescues it (`tcp_mtu_probing` is off).

use anyhow::Result;
use lab::{Blob, Configuration, MB, Mode, Topology, VIP_V4, VIP_V6};

use super::ModeSite;

/// Enough for a window that grows beyond what may have come by in smaller packets.
fn blob() -> Result<Blob> {
    Blob::new(2 * MB)
}

fn site(topology: Topology, mode: Mode) -> Result<ModeSite> {
    ModeSite::new(topology, mode, &Configuration::new())
}

/// The router before the client refuses the backend's large packets, and tells the VIP.
fn narrow_before_the_client(mode: Mode) -> Result<()> {
    let blob = blob()?;
    let site = site(Topology::routed(mode).narrow_towards_client(1300), mode)?;
    for vip in [VIP_V4, VIP_V6] {
        site.download(&blob, vip)?;
    }
    site.assert_met("icmp_error_followed")
}

/// The wire behind the balancer is too narrow, and the balancer tells the client.
fn narrow_behind_the_balancer(mode: Mode) -> Result<()> {
    let blob = blob()?;
    // Behind a tunnel's outer header 1280 bytes must be left: IPv6 knows no smaller MTU (RFC 8200 section 5).
    let site = site(Topology::routed(mode).inside_mtu(1400), mode)?;
    for vip in [VIP_V4, VIP_V6] {
        site.upload(&blob, vip)?;
        site.download(&blob, vip)?;
    }
    site.assert_met("too_big")
}

/// A router further on refuses the client's large packets, and tells whom it takes for their sender.
fn narrow_before_the_backend(mode: Mode) -> Result<()> {
    let blob = blob()?;
    let site = site(Topology::routed(mode).narrow_towards_backends(1300), mode)?;
    for vip in [VIP_V4, VIP_V6] {
        let up = site.upload(&blob, vip)?;
        assert!(up.segment < 1300, "{vip}: {up:?}");
    }
    site.assert_met("icmp_error_followed")
}

/// A test for each case and mode.
macro_rules! cases {
    ($($name:ident: $case:ident, $mode:expr;)+) => {
        $(#[test]
        fn $name() -> Result<()> {
            $case($mode)
        })+
    };
}

cases! {
    dnat_tells_the_backend_of_a_narrow_way_to_the_client: narrow_before_the_client, Mode::Dnat;
    fullnat_tells_the_backend_of_a_narrow_way_to_the_client: narrow_before_the_client, Mode::FullNat;
    dsr_l2_tells_the_backend_of_a_narrow_way_to_the_client: narrow_before_the_client, Mode::DsrL2;
    ipip_tells_the_backend_of_a_narrow_way_to_the_client: narrow_before_the_client, Mode::Ipip;
    dnat_tells_the_client_of_a_narrow_wire_behind_the_balancer: narrow_behind_the_balancer, Mode::Dnat;
    fullnat_tells_the_client_of_a_narrow_wire_behind_the_balancer: narrow_behind_the_balancer, Mode::FullNat;
    dsr_l2_tells_the_client_of_a_narrow_wire_behind_the_balancer: narrow_behind_the_balancer, Mode::DsrL2;
    ipip_tells_the_client_of_a_narrow_wire_behind_the_balancer: narrow_behind_the_balancer, Mode::Ipip;
    dnat_tells_the_client_of_a_narrow_way_to_the_backend: narrow_before_the_backend, Mode::Dnat;
    fullnat_tells_the_client_of_a_narrow_way_to_the_backend: narrow_before_the_backend, Mode::FullNat;
}

#[test]
fn ipip_tells_the_client_that_the_outer_header_needs_room() -> Result<()> {
    let topology = Topology::routed(Mode::Ipip).without_room_for_tunnel();
    let blob = blob()?;
    let site = site(topology, Mode::Ipip)?;
    // Less the headers and the time stamps of TCP.
    for (vip, mtu, headers) in [(VIP_V4, 1480, 52), (VIP_V6, 1460, 72)] {
        let up = site.upload(&blob, vip)?;
        assert_eq!(up.segment, mtu - headers, "{vip}");
    }
    site.assert_met("too_big")
}

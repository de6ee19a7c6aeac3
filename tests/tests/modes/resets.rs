//! Idle connections whose backend is quarantined, or whose service is deleted at once: both ends are told, in
//! every mode, over both families.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use lab::{Configuration, Idle, IdleEnd, Mode, SOLE, Service, Topology, VIP_V4, VIP_V6};

use super::ModeSite;

/// Where something answers that never says anything.
const DUMB: u16 = 9_000;
/// Connections of each family.
const COUNT: usize = 24;
/// Five rounds of prods, a second apart, and some more.
const PATIENCE: Duration = Duration::from_secs(15);

fn reset_idle(mode: Mode) -> Result<()> {
    let site = ModeSite::new(Topology::routed(mode), mode, &Configuration::new())?;
    let track = lab::track_of(SOLE.name);
    let mut service = Service::named("dumb", &[(track, "100%")]).mode(mode);
    for vip in [VIP_V4, VIP_V6] {
        service = service.listener(vip, DUMB, "tcp");
    }
    site.agent.apply(&service)?.succeeded()?;
    let [v4, v6] = own_addresses(&site)?;
    for (vip, from) in [(VIP_V4, v4), (VIP_V6, v6)] {
        let at = SocketAddr::new(vip, DUMB);
        let (client, backends) = (&site.hosts.client, &site.hosts.backends);
        for verb in [
            &format!("quarantine dumb {track}"),
            "delete service dumb --now",
        ] {
            let idle = Idle::open(client, backends, &[at], &[from], COUNT)?;
            assert!(idle.next(Duration::from_millis(200)).is_none(), "too soon");
            site.agent.ctl(verb)?.succeeded()?;
            let ended = idle.await_ended(2 * COUNT, PATIENCE)?;
            for end in [IdleEnd::Client, IdleEnd::Backend] {
                let reset = ended.iter().filter(|one| one.end == end);
                let reset = reset.filter(|one| one.reset).count();
                assert_eq!(reset, COUNT, "{mode:?} {vip} {verb} {end:?}: {ended:?}");
            }
            if verb.starts_with("quarantine") {
                let ready = format!("ready dumb {track}");
                site.agent.ctl(&ready)?.succeeded()?;
            } else {
                site.agent.apply(&service)?.succeeded()?;
            }
        }
    }
    site.assert_met("flow_cut")
}

/// An address of the client's of each family, as it dials the VIPs.
fn own_addresses(site: &ModeSite) -> Result<[IpAddr; 2]> {
    let own = |vip: IpAddr| -> Result<IpAddr> {
        site.hosts.client.enter(|| {
            let any = if vip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = std::net::UdpSocket::bind(any)?;
            socket.connect((vip, DUMB))?;
            Ok(socket.local_addr()?.ip())
        })
    };
    Ok([own(VIP_V4)?, own(VIP_V6)?])
}

#[test]
fn both_ends_of_idle_connections_are_reset_in_dnat() -> Result<()> {
    reset_idle(Mode::Dnat)
}

#[test]
fn both_ends_of_idle_connections_are_reset_in_fullnat() -> Result<()> {
    reset_idle(Mode::FullNat)
}

#[test]
fn both_ends_of_idle_connections_are_reset_in_dsr_l2() -> Result<()> {
    reset_idle(Mode::DsrL2)
}

#[test]
fn both_ends_of_idle_connections_are_reset_in_ipip() -> Result<()> {
    reset_idle(Mode::Ipip)
}

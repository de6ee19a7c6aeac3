//! A service changes its mode while connections are at work.

use std::net::IpAddr;

use anyhow::Result;
use lab::{BRIEF, Held, Mode, SOON, Service, Site, VIP_V4, VIP_V6, await_until, heavy, soak};

fn service(mode: Mode) -> Service {
    Service::web(&[("blue", "50%"), ("green", "50%")])
        .mode(mode)
        .with(BRIEF)
}

/// As whom a server sees the client through `vip`.
fn seen_as(site: &Site, vip: IpAddr) -> Result<IpAddr> {
    Ok(Held::open(&site.hosts.client, vip)?.seen_as()?.ip())
}

#[test]
fn a_change_of_mode_fails_and_moves_no_connection() -> Result<()> {
    let _turn = heavy()?;
    let site = Site::serving(&service(Mode::Dnat))?;
    let keep_alive = site.load().keep_alive(32).start(&site.hosts.client)?;
    let one_shot = site.load().one_shot(16).start(&site.hosts.client)?;
    await_until(SOON, "32 open connections", || {
        keep_alive.totals().flows() == 32
    })?;
    // Opened in dnat, asked at the end.
    let mut oldest = Held::open(&site.hosts.client, VIP_V4)?;

    for round in 0..soak(3, 30) {
        for mode in [Mode::FullNat, Mode::Dnat] {
            site.agent.apply(&service(mode))?;
            for (vip, translated) in [(VIP_V4, "198.18.2.1"), (VIP_V6, "2001:db8:2::1")] {
                let seen = seen_as(&site, vip)?;
                assert_eq!(
                    seen == translated.parse::<IpAddr>()?,
                    mode == Mode::FullNat,
                    "in {} a server sees {seen} at {vip}",
                    mode.name()
                );
            }
            let lost = keep_alive.totals().and(&one_shot.totals());
            assert!(
                lost.nothing_lost(),
                "in round {round}, after the change to {}: {:#?}",
                mode.name(),
                lost.details
            );
            // Every connection has been at work in this mode.
            let asked = keep_alive.totals().requests;
            await_until(SOON, "requests in this mode", || {
                keep_alive.totals().requests >= asked + 320
            })?;
        }
    }

    let (keep_alive, one_shot) = (keep_alive.stop()?, one_shot.stop()?);
    println!("keep-alive: {keep_alive}\none request each: {one_shot}");
    keep_alive.assert_nothing_lost();
    one_shot.assert_nothing_lost();
    assert_eq!(keep_alive.flows(), 32, "a connection was opened anew");
    assert_eq!(oldest.seen_as()?, oldest.client()?);
    Ok(())
}

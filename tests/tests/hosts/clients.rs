//! Affinity clientIP: who meets which track.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Result;
use lab::{BRIEF, Load, Service, Site, VIP_V4, heavy};

const CLIENTS: u8 = 200;

/// A site with affinity clientIP, and the addresses of its clients.
fn site(tracks: &[(&str, &str)]) -> Result<(Site, Vec<IpAddr>)> {
    let service = Service::web(tracks)
        .with("affinity: {key: clientIP}")
        .with(BRIEF);
    let site = Site::serving(&service)?;
    let clients = site.hosts.add_clients(CLIENTS)?;
    Ok((site, clients))
}

/// Lets every client connect four times, and returns the one track that each met.
fn tracks_met(site: &Site, clients: &[IpAddr]) -> Result<BTreeMap<IpAddr, String>> {
    let requests = clients.len() as u64 * 4;
    let totals = Load::at(VIP_V4)
        .from_clients(clients)
        .one_shot(1)
        .requests(requests)
        .run_to_end(&site.hosts.client)?;
    totals.assert_nothing_lost();
    let met = totals.tracks_by_client();
    assert_eq!(met.len(), clients.len());
    met.into_iter()
        .map(|(client, tracks)| match tracks.as_slice() {
            [track] => Ok((client, track.clone())),
            several => anyhow::bail!("{client} met {several:?}"),
        })
        .collect()
}

#[test]
fn affinity_client_ip_keeps_each_client_on_one_track() -> Result<()> {
    let _turn = heavy()?;
    let (site, clients) = site(&[("blue", "50%"), ("green", "30%"), ("canary", "20%")])?;
    let met = tracks_met(&site, &clients)?;
    for track in ["blue", "green", "canary"] {
        assert!(
            met.values().any(|one| one == track),
            "none of {CLIENTS} clients met {track}"
        );
    }
    // Again, with other ports.
    assert_eq!(tracks_met(&site, &clients)?, met);
    Ok(())
}

#[test]
fn a_growing_canary_keeps_every_client_it_has() -> Result<()> {
    let _turn = heavy()?;
    let (site, clients) = site(&[("blue", "95%"), ("canary", "5%")])?;
    let mut before = tracks_met(&site, &clients)?;
    for percent in [25, 50] {
        site.agent
            .change(&format!("set-weight web canary={percent}%"))?;
        let now = tracks_met(&site, &clients)?;
        for (client, track) in &before {
            assert!(
                track != "canary" || now[client] == "canary",
                "{client} left the growing canary at {percent} %"
            );
        }
        before = now;
    }
    assert!(before.values().any(|track| track == "canary"));
    Ok(())
}

#[test]
fn undo_returns_every_client_to_the_track_it_came_from() -> Result<()> {
    let _turn = heavy()?;
    let (site, clients) = site(&[("blue", "50%"), ("green", "30%"), ("canary", "20%")])?;
    let (before, digest) = (tracks_met(&site, &clients)?, site.split()?.1);
    site.agent
        .change("set-weight web blue=10% green=45% canary=45%")?;
    assert_ne!(site.split()?.1, digest);
    site.agent.change("undo web")?;
    assert_eq!(site.split()?.1, digest);
    assert_eq!(tracks_met(&site, &clients)?, before);
    Ok(())
}

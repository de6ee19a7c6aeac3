//! What the demo plays on: the hosts, the agent, the load, and what was seen so far.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{
    BRIEF, Change, Configuration, Load, Running, SOON, Service, Site, Totals, VIP_V4, VIP_V6,
};
use serde_json::Value;

use crate::screen::{Screen, bar, grouped};

/// The tracks, in the order in which they are shown.
pub(crate) const TRACKS: [&str; 3] = ["blue", "green", "canary"];
/// Long-lived connections come in groups that end one after another.
const GROUPS: usize = 4;
const GROUP: usize = 12;
/// Workers that open a connection for each request.
const WORKERS: usize = 16;
/// Client addresses of theirs, so that no port comes round again while its last flow is remembered.
const CLIENTS: u8 = 64;

/// The stage and everything on it.
#[derive(Debug)]
pub(crate) struct Scene {
    // Loads end before the hosts do.
    /// Connections that stay open.
    long_lived: Vec<Running>,
    /// A connection for each request.
    new: Option<Running>,
    clients: Vec<std::net::IpAddr>,
    pub(crate) site: Site,
    /// Flips so far.
    pub(crate) flips: Vec<Duration>,
    /// Loads that have ended.
    ended: Totals,
}

impl Scene {
    /// Sets everything up and starts the load.
    pub(crate) fn open(screen: &mut Screen) -> Result<Self> {
        screen.heading("Three hosts in network namespaces, joined by veth pairs");
        for line in [
            "client                  balancer                       backends",
            "198.18.1.10     ----    198.18.1.1   198.18.2.1  ----  198.18.2.11, .12  blue    nginx",
            "2001:db8:1::10          splitterd, native XDP          198.18.2.21, .22  green   nginx",
            "                        VIP 198.18.1.100               198.18.2.31       canary  nginx",
            "                        VIP 2001:db8:1::100            and as many on IPv6",
        ] {
            screen.say(line);
        }
        let service =
            Service::web(&[("blue", "90%"), ("green", "5%"), ("canary", "5%")]).with(BRIEF);
        let mut site = Site::configured(&Configuration::new(), &service)?;
        site.agent = site.agent.quiet();
        let clients = site.hosts.add_clients(CLIENTS)?;
        let mut scene = Self {
            long_lived: Vec::new(),
            new: None,
            clients,
            site,
            flips: Vec::new(),
            ended: Totals::default(),
        };
        scene.start_load()?;
        Ok(scene)
    }

    /// Starts what isn't running: 48 long-lived connections, and 16 workers that open a new one for each request.
    pub(crate) fn start_load(&mut self) -> Result<()> {
        let client = &self.site.hosts.client;
        while self.long_lived.len() < GROUPS {
            let group = self
                .site
                .load()
                .keep_alive(GROUP)
                .pause(Duration::from_millis(20))
                .start(client)?;
            self.long_lived.push(group);
        }
        if self.new.is_none() {
            let load = Load::at(VIP_V4).and_at(VIP_V6).from_clients(&self.clients);
            self.new = Some(
                load.one_shot(WORKERS)
                    .pause(Duration::from_millis(5))
                    .start(client)?,
            );
        }
        lab::await_until(SOON, "the long-lived connections to be open", || {
            self.long_lived().flows() >= (GROUPS * GROUP) as u64
        })
    }

    /// Lets one group of long-lived connections finish; false when none is left.
    pub(crate) fn end_a_group(&mut self) -> Result<bool> {
        let Some(group) = self.long_lived.pop() else {
            return Ok(false);
        };
        let totals = group.stop()?;
        self.ended = std::mem::take(&mut self.ended).and(&totals);
        Ok(true)
    }

    /// Ends all load.
    pub(crate) fn end_load(&mut self) -> Result<()> {
        while self.end_a_group()? {}
        if let Some(new) = self.new.take() {
            let totals = new.stop()?;
            self.ended = std::mem::take(&mut self.ended).and(&totals);
        }
        Ok(())
    }

    /// The long-lived connections that are running.
    pub(crate) fn long_lived(&self) -> Totals {
        self.long_lived
            .iter()
            .fold(Totals::default(), |sum, group| sum.and(&group.totals()))
    }

    /// The connections for one request each.
    pub(crate) fn new_flows(&self) -> Totals {
        self.new.as_ref().map(Running::totals).unwrap_or_default()
    }

    /// Everything since the beginning.
    pub(crate) fn totals(&self) -> Totals {
        self.ended
            .clone()
            .and(&self.long_lived())
            .and(&self.new_flows())
    }

    /// Types a changing verb, and tells what it did.
    pub(crate) fn operate(&mut self, screen: &mut Screen, line: &str) -> Result<Change> {
        screen.command(&format!("splitterctl {line}"));
        let change = self.change(line)?;
        let moves: Vec<_> = TRACKS
            .iter()
            .filter(|track| change.before[**track] != change.after[**track])
            .map(|track| {
                format!(
                    "{track} {} -> {}",
                    percent(&change.before[track]),
                    percent(&change.after[track])
                )
            })
            .collect();
        let moves = if moves.is_empty() {
            "the weights stay as they are".to_owned()
        } else {
            moves.join(", ")
        };
        let flip = change
            .flip
            .map(|flip| format!(", flipped in {} ns", flip.as_nanos()))
            .unwrap_or_default();
        screen.say(format_args!(
            "generation {}: {moves}{flip}",
            change.generation
        ));
        Ok(change)
    }

    /// A changing verb without words.
    pub(crate) fn change(&mut self, line: &str) -> Result<Change> {
        let change = self.site.agent.change(line)?;
        self.flips.extend(change.flip);
        Ok(change)
    }

    /// The table of tracks: weights from the agent, the rest as the clients have seen it since `since`.
    pub(crate) fn table(&self, since: &Totals) -> Result<Vec<String>> {
        let service = self.site.agent.service("web")?;
        let tracks = service["tracks"]
            .as_array()
            .context("a service without tracks")?;
        let new = self.new_flows().since(since);
        let long_lived = self.long_lived();
        let mut lines = vec![
            "     track    weight    new connections, as the clients see them   long-lived"
                .to_owned(),
        ];
        for track in TRACKS {
            let one = tracks
                .iter()
                .find(|one| one["name"] == track)
                .with_context(|| format!("no track {track}"))?;
            let share = new.share_of(track);
            lines.push(format!(
                "     {track:<7} {:>8}    {} {:>6.1} % {:>8}   {:>10}",
                percent(&one["weight"]),
                bar(share),
                share * 100.0,
                grouped(new.flows_of(track)),
                long_lived.open_to(track)
            ));
        }
        let totals = self.totals();
        lines.push(format!(
            "     so far: {} requests, {} failed, {} flows moved",
            grouped(totals.requests),
            totals.failures,
            totals.moved
        ));
        Ok(lines)
    }

    /// Fails as soon as anything was lost.
    pub(crate) fn check(&self) -> Result<()> {
        let totals = self.totals();
        ensure!(
            totals.nothing_lost(),
            "{} requests failed and {} flows moved: {}",
            totals.failures,
            totals.moved,
            totals.details.join("; ")
        );
        Ok(())
    }
}

fn percent(weight: &Value) -> String {
    weight
        .as_str()
        .map_or_else(|| "none".to_owned(), |weight| format!("{weight} %"))
}

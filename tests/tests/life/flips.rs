//! Show 3: cutovers while very many flows live. None moves, none is reset, and the flip takes the same time however
//! many flows there are, and for many services as for one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::rig::Runner;
use lab::{Configuration, SOON, Service, Site, VIP_V4, await_until, heavy, soak};
use serde_json::Value;
use splitter_ebpf::flow::{ACK, SYN};

use crate::flood::{Sender, established};

/// How much longer a flip may take at the median: the clock that it is measured by is coarse beside one store.
const FLAT: u32 = 5;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Flows that were made by test runs of the attached program, and the backend of each.
struct Flows {
    sender: Sender,
    places: Vec<[u8; 6]>,
}

impl Flows {
    /// Establishes flows until there are so many.
    fn grow(&mut self, to: usize) -> Result<()> {
        for n in self.places.len()..to {
            let place = self.sender.request(established(n), SYN)?;
            self.sender.answer(established(n), place, SYN | ACK)?;
            self.sender.request(established(n), ACK)?;
            self.places.push(place);
        }
        Ok(())
    }

    /// How many of every `stride`th go elsewhere than they did.
    fn moved(&mut self, stride: usize) -> Result<usize> {
        let mut moved = 0;
        for (n, place) in self.places.iter().enumerate().step_by(stride) {
            moved += usize::from(self.sender.request(established(n), ACK)? != *place);
        }
        Ok(moved)
    }
}

/// Cuts over to and fro, beginning with green if all is at blue; says how long each flip took.
fn cut_over(site: &Site, count: usize) -> Result<Vec<Duration>> {
    let at_blue = site.agent.service("web")?["tracks"][0]["slots"] == 65_536;
    (0..count)
        .map(|number| {
            let to = ["green", "blue"][(number + usize::from(!at_blue)) % 2];
            let change = site.agent.change(&format!("cutover web --to {to}"))?;
            change.flip.with_context(|| format!("no flip to {to}"))
        })
        .collect()
}

#[test]
fn cutovers_move_and_reset_no_flow_and_take_the_same_time_with_many_flows() -> Result<()> {
    let _turn = heavy()?;
    let (few, many) = (1_000, soak(100_000, 1_000_000));
    let (live, cutovers) = (soak(20_000, 100_000), soak(60, 1_000));
    let configuration = Configuration::new()
        .with("[limits]")
        .with(&format!("flows = {}", many * 2));
    let service = Service::web(&[("blue", "100%"), ("green", "0%")]);
    let site = Site::configured(&configuration, &service)?;
    let load = site
        .load()
        .keep_alive(16)
        .pause(Duration::from_millis(2))
        .start(&site.hosts.client)?;
    await_until(SOON, "16 open connections", || load.totals().flows() == 16)?;
    let within = &site.hosts.balancer;
    let mut flows = within.enter(|| -> Result<_> {
        let sender = Sender::new(Runner::attached_to("eth0")?);
        let mut flows = Flows {
            sender,
            places: Vec::new(),
        };
        flows.grow(few)?;
        Ok(flows)
    })?;
    let with_few = median(cut_over(&site, 60)?);

    // Half of the live flows began on each track.
    within.enter(|| flows.grow(live / 2))?;
    cut_over(&site, 1)?;
    within.enter(|| flows.grow(live))?;
    for round in 0..cutovers {
        cut_over(&site, 1)?;
        let moved = within.enter(|| flows.moved(live / 500))?;
        ensure!(moved == 0, "{moved} flows have moved after cutover {round}");
    }
    let moved = within.enter(|| flows.moved(1))?;
    assert_eq!(moved, 0, "of {live} flows, after {cutovers} cutovers");

    within.enter(|| flows.grow(many))?;
    let with_many = median(cut_over(&site, 60)?);
    println!("flips: {with_few:?} with {few} flows, {with_many:?} with {many}");
    assert!(
        with_many <= with_few * FLAT,
        "{with_few:?} with {few} flows, {with_many:?} with {many}"
    );
    let moved = within.enter(|| flows.moved(7))?;
    assert_eq!(moved, 0, "of {many} flows");
    let totals = load.stop()?;
    totals.assert_nothing_lost();
    assert_eq!(totals.flows(), 16);
    Ok(())
}

#[test]
fn many_services_of_one_release_flip_in_the_time_of_one() -> Result<()> {
    let _turn = heavy()?;
    let count = soak(40, 200);
    let tracks = [("blue", "100%"), ("green", "0%")];
    let site = Site::serving(&Service::web(&tracks))?;
    let alone = median(cut_over(&site, 40)?);
    let ports: Vec<u16> = (0..u16::try_from(count)?)
        .map(|number| 10_000 + number)
        .collect();
    for some in ports.chunks(20) {
        let documents: Vec<String> = some
            .iter()
            .map(|port| {
                Service::named(&format!("s{port}"), &tracks)
                    .listener(VIP_V4, *port, "tcp")
                    .with("release: shop")
                    .to_yaml()
            })
            .collect();
        site.agent
            .apply_yaml(&documents.join("---\n"))?
            .succeeded()?;
    }
    let mut flips = Vec::new();
    for number in 0..40 {
        let to = ["green", "blue"][number % 2];
        let answer = site
            .agent
            .json(&format!("cutover release/shop --to {to}"))?;
        let items = answer["items"].as_array().context("changes")?;
        ensure!(
            items.len() == count,
            "{} services were cut over",
            items.len()
        );
        let times: Vec<Option<u64>> = items
            .iter()
            .map(|item| item["flipNanoseconds"].as_u64())
            .collect();
        ensure!(
            times.iter().all(|time| *time == times[0]),
            "more than one flip: {times:?}"
        );
        flips.push(Duration::from_nanos(times[0].context("a flip")?));
    }
    let together = median(flips);
    println!("flips: {alone:?} of one service, {together:?} of {count}");
    // Writing so many tables leaves the caches cold, which one store pays for too; as many flips as there are
    // services would take longer than half of them do alone.
    assert!(
        together <= alone * u32::try_from(count)? / 2,
        "{alone:?} of one service, {together:?} of {count}"
    );
    let services = site.agent.json("get services")?;
    let whole = |service: &Value| {
        service["tracks"]
            .as_array()
            .is_some_and(|tracks| tracks[0]["slots"] == 65_536)
    };
    let items = services["items"].as_array().context("services")?;
    assert!(items.iter().all(whole), "some services were left behind");
    Ok(())
}

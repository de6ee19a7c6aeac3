//! Floods into the live table of an agent, while real connections carry data.
//!
//! The flows that must survive were pinned to blue; then everything new goes to green. So a flow that
//! lost its pin is seen by its next packet, which goes to green.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::bench::pin_to_cpu;
use lab::rig::{Outcome, REDIRECT, Runner, TX, tcp};
use lab::{Configuration, SOON, Service, Site, VIP_V4, await_until, heavy, soak};
use splitter_ebpf::flow::{ACK, SYN};

/// A handle on the live program, and a packet whose client and flags are changed each time.
pub struct Sender {
    runner: Runner,
    request: Vec<u8>,
    answer: Vec<u8>,
    outcome: Outcome,
}

/// Where a client's packet went: address and port.
pub type Place = [u8; 6];

impl Sender {
    pub fn new(runner: Runner) -> Self {
        let vip = format!("{VIP_V4}:80");
        let request = tcp("198.19.0.1:1024", &vip);
        Self {
            runner,
            answer: request.answered().frame(),
            request: request.frame(),
            outcome: Outcome {
                action: 0,
                packet: Vec::new(),
            },
        }
    }

    /// A client's packet to the VIP, and where it went.
    pub fn request(&mut self, (client, port): (Ipv4Addr, u16), flags: u8) -> Result<Place> {
        self.request[26..30].copy_from_slice(&client.octets());
        self.request[34..36].copy_from_slice(&port.to_be_bytes());
        self.request[47] = flags;
        self.runner.run_into(&self.request, &mut self.outcome)?;
        ensure!(
            [TX, REDIRECT].contains(&self.outcome.action),
            "{client}:{port}: action {}",
            self.outcome.action
        );
        let packet = &self.outcome.packet;
        let place = [&packet[30..34], &packet[36..38]].concat();
        Ok(place.try_into().expect("six bytes"))
    }

    /// The backend's answer to a client.
    pub fn answer(
        &mut self,
        (client, port): (Ipv4Addr, u16),
        from: Place,
        flags: u8,
    ) -> Result<()> {
        self.answer[26..30].copy_from_slice(&from[..4]);
        self.answer[34..36].copy_from_slice(&from[4..]);
        self.answer[30..34].copy_from_slice(&client.octets());
        self.answer[36..38].copy_from_slice(&port.to_be_bytes());
        self.answer[47] = flags;
        self.runner.run_into(&self.answer, &mut self.outcome)?;
        ensure!(
            [TX, REDIRECT].contains(&self.outcome.action),
            "the answer to {client}:{port}: action {}",
            self.outcome.action
        );
        Ok(())
    }
}

/// Client number `n` of those in a network of 65,536 addresses.
fn client(net: [u8; 2], n: usize) -> (Ipv4Addr, u16) {
    let [.., a, b, c, d] = n.to_be_bytes();
    let port = u16::from_be_bytes([a, b]).wrapping_add(1024);
    (Ipv4Addr::new(net[0], net[1], c, d), port)
}

const ESTABLISHED: [u8; 2] = [198, 18];
const SPOOFED: [u8; 2] = [198, 19];

/// Established flow number `n`: of addresses that no host has.
pub fn established(n: usize) -> (Ipv4Addr, u16) {
    let (address, port) = client(ESTABLISHED, n % 0x4000 + 0x8000);
    (
        address,
        port + u16::try_from(n / 0x4000).expect("few ports"),
    )
}

#[test]
fn floods_of_syns_and_of_acks_displace_no_established_flow() -> Result<()> {
    let _turn = heavy()?;
    let room = soak(50_000, 1_000_000);
    let flows = soak(10_000, 100_000);
    let flood = soak(500_000, 10_000_000);
    let configuration = Configuration::new()
        .with("[limits]")
        .with(&format!("flows = {room}"));
    let site = Site::configured(
        &configuration,
        &Service::web(&[("blue", "100%"), ("green", "0%")]),
    )?;
    let load = site
        .load()
        .keep_alive(32)
        .pause(Duration::from_millis(1))
        .start(&site.hosts.client)?;
    await_until(SOON, "every connection to have asked", || {
        load.totals().flows() >= 32
    })?;

    let sender = site.hosts.balancer.enter(|| -> Result<_> {
        let mut sender = Sender::new(Runner::attached_to("eth0")?);
        let mut places = Vec::new();
        for n in 0..flows {
            let place = sender.request(established(n), SYN)?;
            sender.answer(established(n), place, SYN | ACK)?;
            sender.request(established(n), ACK)?;
            places.push(place);
        }
        Ok((sender, places))
    });
    let (mut sender, places) = sender.context("establish flows")?;
    site.agent.change("cutover web --to green")?;

    let before = load.totals();
    for (what, flags) in [("SYNs", SYN), ("ACKs", ACK)] {
        let sent = site.hosts.balancer.enter(|| -> Result<()> {
            pin_to_cpu(0)?;
            for n in 0..flood {
                // Half of the ACKs come from where SYNs came from, the others from new places.
                let n = if flags == ACK { n + flood / 2 } else { n };
                sender.request(client(SPOOFED, n), flags)?;
            }
            Ok(())
        });
        sent.with_context(|| format!("a flood of {flood} {what}"))?;
        let asked = load.totals().since(&before).requests;
        assert!(asked > 0, "no connection got an answer during the {what}");
        let moved = site.hosts.balancer.enter(|| -> Result<usize> {
            let mut moved = 0;
            for (n, place) in places.iter().enumerate() {
                moved += usize::from(sender.request(established(n), ACK)? != *place);
            }
            Ok(moved)
        })?;
        assert_eq!(
            moved, 0,
            "of {flows} established flows, after {flood} {what}"
        );
    }
    // More than the table is meant for: half of all there is room for.
    let pinned = site.agent.flows_of("web", "green")?;
    assert!(pinned > room as u64, "{pinned} pins of a flood are none");
    let totals = load.stop()?;
    totals.assert_nothing_lost();
    Ok(())
}

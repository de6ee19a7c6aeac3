//! Backends on hosts of their own, which serve every mode: flows stay with theirs, whatever changes.

use anyhow::Result;
use lab::{
    Agent, BRIEF, BackendHost, Configuration, Held, Hosts, Load, Mode, Nginx, SOON, Service,
    Topology, Totals, VIP_V4, VIP_V6, await_until, heavy, soak,
};

const TRACKS: [&str; 3] = ["blue", "green", "canary"];

/// One-armed hosts, each backend with its own web server and decapsulator. Fields are dropped in this order.
struct Fleet {
    agent: Agent,
    _nginx: Vec<Nginx>,
    _decap: Vec<BackendHost>,
    hosts: Hosts,
}

fn service(mode: Mode) -> Service {
    Service::web(&TRACKS.map(|track| (track, "30%")))
        .without_weights()
        .mode(mode)
        .with(BRIEF)
}

impl Fleet {
    fn new(mode: Mode) -> Result<Self> {
        let hosts = Topology::apart()?;
        let nginx = hosts
            .apart
            .iter()
            .map(|(backend, host)| Nginx::start_apart(host, backend))
            .collect::<Result<_>>()?;
        let decap = hosts
            .apart
            .iter()
            .map(|(_, host)| BackendHost::decapsulating(host))
            .collect::<Result<_>>()?;
        let configuration = Configuration::new().interfaces(hosts.interfaces);
        let agent = Agent::start_with(&hosts, &configuration)?;
        let weights = [("blue", "40%"), ("green", "40%"), ("canary", "20%")];
        agent.apply(&Service::web(&weights).mode(mode).with(BRIEF))?;
        Ok(Self {
            agent,
            _nginx: nginx,
            _decap: decap,
            hosts,
        })
    }

    fn load(&self) -> Load {
        Load::at(VIP_V4).and_at(VIP_V6)
    }
}

/// Cutovers to each track in turn, while connections that stay and connections that come and go are at work.
fn cut_over(mode: Mode) -> Result<()> {
    let _turn = heavy()?;
    let fleet = Fleet::new(mode)?;
    let client = &fleet.hosts.client;
    let keep_alive = fleet.load().keep_alive(32).start(client)?;
    await_until(SOON, "32 open connections", || {
        keep_alive.totals().flows() == 32
    })?;
    let met = keep_alive.totals();
    for track in TRACKS {
        assert!(met.flows_of(track) > 0, "{track}: {:?}", met.new_flows);
    }
    for _ in 0..soak(1, 20) {
        for track in TRACKS {
            fleet.agent.change(&format!("cutover web --to {track}"))?;
            let new = fleet.load().one_shot(8).requests(100).run_to_end(client)?;
            new.assert_nothing_lost();
            assert_eq!(new.flows_of(track), 100, "{:?}", new.new_flows);
        }
    }
    stop(keep_alive)
}

fn stop(keep_alive: lab::Running) -> Result<()> {
    let totals: Totals = keep_alive.stop()?;
    println!("keep-alive: {totals}");
    totals.assert_nothing_lost();
    assert_eq!(totals.flows(), 32, "a connection was opened anew");
    Ok(())
}

#[test]
fn cutovers_move_no_flow_in_fullnat() -> Result<()> {
    cut_over(Mode::FullNat)
}

#[test]
fn cutovers_move_no_flow_in_dsr_l2() -> Result<()> {
    cut_over(Mode::DsrL2)
}

#[test]
fn cutovers_move_no_flow_in_ipip() -> Result<()> {
    cut_over(Mode::Ipip)
}

#[test]
fn changes_through_all_modes_fail_and_move_no_connection() -> Result<()> {
    let _turn = heavy()?;
    let fleet = Fleet::new(Mode::Dnat)?;
    let client = &fleet.hosts.client;
    let keep_alive = fleet.load().keep_alive(32).start(client)?;
    let one_shot = fleet.load().one_shot(16).start(client)?;
    await_until(SOON, "32 open connections", || {
        keep_alive.totals().flows() == 32
    })?;
    // One connection of each mode, to be asked at the end.
    let mut held = Vec::new();
    for round in 0..soak(1, 10) {
        for mode in [Mode::FullNat, Mode::DsrL2, Mode::Ipip, Mode::Dnat] {
            fleet.agent.apply(&service(mode))?;
            held.push((mode, Held::open(client, VIP_V4)?));
            held.push((mode, Held::open(client, VIP_V6)?));
            let asked = keep_alive.totals().requests;
            await_until(SOON, "requests in this mode", || {
                keep_alive.totals().requests >= asked + 320
            })?;
            let lost = keep_alive.totals().and(&one_shot.totals());
            assert!(
                lost.nothing_lost(),
                "in round {round}, after the change to {}: {:#?}",
                mode.name(),
                lost.details
            );
        }
    }
    for (mode, connection) in &mut held {
        let (seen, own) = (connection.seen_as()?, connection.client()?);
        assert_eq!(seen == own, *mode != Mode::FullNat, "{mode:?}: {seen}");
    }
    one_shot.stop()?.assert_nothing_lost();
    stop(keep_alive)
}

//! Show 2: the real agent and kernel driven at random, under TCP and UDP traffic, beside a plain model of what must
//! be in force; every promise is looked at after every step. A run that fails prints its seed and a sequence of steps
//! that is as short as dropping steps makes it.

mod model;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use lab::{
    BRIEF, Load, Running, SOON, Service, Site, UdpEcho, VIP_V4, VIP_V6, await_until, heavy, soak,
};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use model::{Model, Step};

/// How often a failing sequence is run again with steps left out.
fn reruns() -> usize {
    soak(10, 60)
}

#[test]
fn any_sequence_of_changes_kills_and_restarts_keeps_every_promise() -> Result<()> {
    let _turn = heavy()?;
    let seed = seed()?;
    println!("seed {seed}: SPLITTER_SEED={seed} runs it again");
    let mut random = SmallRng::seed_from_u64(seed);
    let steps: Vec<Step> = (0..soak(600, 8_000))
        .map(|_| Step::any(&mut random))
        .collect();
    let Err(failed) = run(&steps) else {
        return Ok(());
    };
    let (shorter, error) = shorten(steps, failed);
    let told: Vec<String> = shorter.iter().map(|step| format!("{step:?}")).collect();
    panic!(
        "seed {seed}: {error:#}\nafter {} steps:\n  {}",
        told.len(),
        told.join("\n  ")
    );
}

/// The seed that `SPLITTER_SEED` asks for; else always the same, but for the long run.
fn seed() -> Result<u64> {
    if let Ok(text) = std::env::var("SPLITTER_SEED") {
        return text.parse().context("SPLITTER_SEED is a number");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    Ok(if soak(0, 1) == 0 {
        20
    } else {
        u64::try_from(now & u128::from(u32::MAX))?
    })
}

/// Why a sequence fails, and at which step.
#[derive(Debug)]
struct Failed {
    at: usize,
    why: anyhow::Error,
}

/// Leaves out what can be left out of a sequence that fails: what comes after the failure, then halves, then ever less.
fn shorten(mut steps: Vec<Step>, mut failed: Failed) -> (Vec<Step>, anyhow::Error) {
    let mut left = reruns();
    steps.truncate(failed.at + 1);
    let mut size = steps.len().div_ceil(2);
    while size > 0 && left > 0 {
        let mut at = 0;
        while at < steps.len() && left > 0 {
            left -= 1;
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            match run(&fewer) {
                Err(now) => {
                    fewer.truncate(now.at + 1);
                    (steps, failed) = (fewer, now);
                }
                Ok(()) => at += size,
            }
        }
        size /= 2;
    }
    (steps, failed.why)
}

/// What is at work while steps are taken.
struct Traffic {
    tcp: Running,
    each: Running,
    udp: Running,
}

impl Traffic {
    fn start(site: &Site) -> Result<Self> {
        let client = &site.hosts.client;
        let traffic = Self {
            tcp: site
                .load()
                .keep_alive(12)
                .pause(Duration::from_millis(5))
                .start(client)?,
            each: site
                .load()
                .one_shot(4)
                .pause(Duration::from_millis(5))
                .start(client)?,
            udp: Load::at(VIP_V4)
                .and_at(VIP_V6)
                .port(7)
                .udp_flows(8)
                .pause(Duration::from_millis(20))
                .start(client)?,
        };
        await_until(SOON, "flows", || {
            traffic.tcp.totals().flows() == 12 && traffic.udp.totals().flows() == 8
        })?;
        Ok(traffic)
    }

    /// Promise 1: no flow has moved, and none was lost.
    fn look(&self) -> Result<()> {
        let all = self
            .tcp
            .totals()
            .and(&self.each.totals())
            .and(&self.udp.totals());
        ensure!(
            all.nothing_lost(),
            "{} failed, {} moved: {:#?}",
            all.failures,
            all.moved,
            all.details
        );
        Ok(())
    }

    fn stop(self) -> Result<()> {
        let (tcp, each, udp) = (self.tcp.stop()?, self.each.stop()?, self.udp.stop()?);
        println!("TCP: {tcp}\none request each: {each}\nUDP: {udp}");
        for (totals, flows) in [(&tcp, Some(12)), (&each, None), (&udp, Some(8))] {
            ensure!(
                totals.requests > 0 && totals.nothing_lost(),
                "{:#?}",
                totals.details
            );
            ensure!(
                flows.is_none_or(|flows| totals.flows() == flows),
                "a flow began anew"
            );
        }
        Ok(())
    }
}

/// Takes the steps, one after the other, and looks at everything after each.
fn run(steps: &[Step]) -> std::result::Result<(), Failed> {
    let mut at = 0;
    take_all(steps, &mut at).map_err(|why| Failed { at, why })
}

fn take_all(steps: &[Step], at: &mut usize) -> Result<()> {
    let mut model = Model::new();
    let mut site = Site::serving(&web())?;
    let _echo = UdpEcho::start(&site.hosts, 7)?;
    let traffic = Traffic::start(&site)?;
    compare(&site, &mut model).context("at the beginning")?;
    for (number, step) in steps.iter().enumerate() {
        *at = number;
        if !model.allows(step) {
            continue;
        }
        let told = format!("step {number}, {step:?}, of {model:?}");
        let mut promises = || -> Result<()> {
            take(&mut site, &mut model, step)?;
            compare(&site, &mut model)?;
            new_flows(&site, &model)?;
            traffic.look()
        };
        promises().context(told)?;
    }
    traffic.stop()
}

fn web() -> Service {
    Service::web(&[("blue", "60%"), ("green", "30%"), ("canary", "10%")])
        .listener(VIP_V4, 7, "udp")
        .listener(VIP_V6, 7, "udp")
        .with(BRIEF)
}

/// Takes a step, which must be refused where the model refuses it.
fn take(site: &mut Site, model: &mut Model, step: &Step) -> Result<()> {
    let answer = match step {
        Step::Kill => {
            site.agent.kill9()?;
            return site.agent.restart();
        }
        Step::Restart => return site.agent.restart(),
        Step::Apply(weights) => {
            site.agent
                .apply_yaml(&model.yaml(&web(), Some(*weights), None, model.route()))
        }
        Step::Backend(which) => {
            site.agent
                .apply_yaml(&model.yaml(&web(), None, Some(*which), model.route()))
        }
        Step::Route(track) => site
            .agent
            .apply_yaml(&model.yaml(&web(), None, None, *track)),
        other => site.agent.ctl(&other.line(model)),
    }?;
    let accepted = model.take(step);
    let wanted = if accepted { 0 } else { 1 };
    ensure!(
        answer.code == wanted,
        "exit code {}, not {wanted}: {}{}",
        answer.code,
        answer.stdout,
        answer.stderr
    );
    Ok(())
}

/// Promises 2, 4 and the exactness of splits: what the agent says is in force is what the model says.
fn compare(site: &Site, model: &mut Model) -> Result<()> {
    let service = site.agent.service("web")?;
    let generation = service["generation"].as_u64().context("a generation")?;
    let digest = service["digest"].as_str().context("a digest")?;
    let tracks = service["tracks"].as_array().context("tracks")?;
    ensure!(
        generation == model.generation,
        "generation {generation}, not {}",
        model.generation
    );
    let mut sum = 0;
    for track in tracks {
        let name = track["name"].as_str().context("a name")?;
        let slots = track["slots"].as_u64().context("slots")?;
        let (weight, share, out) = model.track(name);
        sum += slots;
        ensure!(
            track["weight"].as_str() == Some(&*weight.to_string()),
            "{name}: weight {}, not {weight}",
            track["weight"]
        );
        // Counts far below 2^53.
        let exact = share * 65_536.0;
        ensure!(
            (slots as f64 - exact).abs() < 1.0,
            "{name}: {slots} slots, not {exact}"
        );
        ensure!(
            (track["state"] == "ready") != out,
            "{name}: state {}, out: {out}",
            track["state"]
        );
    }
    ensure!(sum == 65_536, "{sum} slots in all");
    model.see(digest)
}

/// Once a change has answered, every new flow goes where it says.
fn new_flows(site: &Site, model: &Model) -> Result<()> {
    let totals = site
        .load()
        .one_shot(4)
        .requests(24)
        .run_to_end(&site.hosts.client)?;
    ensure!(totals.nothing_lost(), "new flows: {:#?}", totals.details);
    let met: BTreeSet<&str> = totals
        .new_flows
        .keys()
        .map(|(_, backend)| backend.as_str())
        .collect();
    let usable = model.usable();
    ensure!(
        met.iter().all(|backend| usable.contains(*backend)),
        "{met:?} were met, {usable:?} may be"
    );
    Ok(())
}

//! The agent killed between any two writes of a change, under traffic: what is in force afterwards is what was
//! before it or what it made, and the next change works.

use anyhow::Result;
use lab::{Agent, Answer, BRIEF, Fate, SOON, Service, Site, VIP_V4, await_until, heavy, soak};

use super::in_force;

type Make = fn(&Agent) -> Result<Answer>;

/// A change, and the one that takes it back.
struct Pair {
    name: &'static str,
    forth: Make,
    back: Make,
}

fn web() -> Service {
    Service::web(&[("blue", "60%"), ("green", "40%")]).with(BRIEF)
}

/// Other weights, a listener more and a backend less.
fn other() -> String {
    let other = Service::web(&[("blue", "30%"), ("green", "70%")]).with(BRIEF);
    let yaml = other.listener(VIP_V4, 81, "tcp").to_yaml();
    let kept = yaml.lines().filter(|line| !line.contains("2.12\""));
    kept.map(|line| format!("{line}\n")).collect()
}

const CUTOVER: Pair = Pair {
    name: "cutover",
    forth: |agent| agent.ctl("cutover web --to green"),
    back: |agent| agent.ctl("set-weight web blue=60% green=40%"),
};
const APPLY: Pair = Pair {
    name: "apply",
    forth: |agent| agent.apply_yaml(&other()),
    back: |agent| agent.apply_yaml(&web().to_yaml()),
};
const DRAIN: Pair = Pair {
    name: "drain",
    forth: |agent| agent.ctl("drain web blue"),
    back: |agent| agent.ctl("ready web blue"),
};
const DRAIN_BACKEND: Pair = Pair {
    name: "drain of a backend",
    forth: |agent| agent.ctl("drain web 198.18.2.11:80"),
    back: |agent| agent.ctl("ready web 198.18.2.11:80"),
};
const UNDO: Pair = Pair {
    name: "undo",
    forth: |agent| agent.ctl("undo web"),
    back: |agent| agent.ctl("set-weight web blue=60% green=40%"),
};

fn killed_at_every_step(pairs: &[Pair]) -> Result<()> {
    let _turn = heavy()?;
    let mut site = Site::serving(&web())?;
    let keep_alive = site.load().keep_alive(8).start(&site.hosts.client)?;
    let one_shot = site.load().one_shot(2).start(&site.hosts.client)?;
    await_until(SOON, "8 open connections", || {
        keep_alive.totals().flows() == 8
    })?;
    // For undo.
    site.agent.change("set-weight web blue=20% green=80%")?;
    for pair in pairs {
        (pair.back)(&site.agent)?.succeeded()?;
        let steps = killed_at_every_step_of(&mut site, pair)?;
        println!("{}: killed at each of {steps} steps", pair.name);
        assert!(steps >= 4, "{}: {steps} steps are too few", pair.name);
        let lost = keep_alive.totals().and(&one_shot.totals());
        assert!(lost.nothing_lost(), "{}: {:#?}", pair.name, lost.details);
    }
    keep_alive.stop()?.assert_nothing_lost();
    one_shot.stop()?.assert_nothing_lost();
    Ok(())
}

fn killed_at_every_step_of(site: &mut Site, pair: &Pair) -> Result<u64> {
    (pair.forth)(&site.agent)?.succeeded()?;
    let after = in_force(&site.agent)?.1;
    (pair.back)(&site.agent)?.succeeded()?;
    let before = in_force(&site.agent)?.1;
    assert_ne!(before, after);
    for step in 0.. {
        let what = format!("{}, killed at step {step}", pair.name);
        let generation = in_force(&site.agent)?.0;
        site.agent.end_after(step)?;
        let answer = (pair.forth)(&site.agent)?;
        let fate = site.agent.fate()?;
        site.agent.let_live()?;
        if fate == Fate::Rests {
            assert_eq!(answer.code, 0, "{what}: {}", answer.stderr);
            return Ok(step);
        }
        site.agent.kill9()?;
        site.agent.restart()?;
        let now = in_force(&site.agent)?;
        if now.1 == before {
            assert_eq!(now.0, generation, "{what}: not made, but counted");
            assert_ne!(answer.code, 0, "{what}: it was acknowledged");
            (pair.forth)(&site.agent)?.succeeded()?;
        } else {
            assert_eq!(now, (generation + 1, after.clone()), "{what}");
        }
        assert_eq!(in_force(&site.agent)?.1, after, "{what}, then made");
        (pair.back)(&site.agent)?.succeeded()?;
        assert_eq!(in_force(&site.agent)?.1, before, "{what}, then taken back");
    }
    unreachable!("the loop ends where a change does")
}

#[test]
fn a_cutover_killed_at_any_step_is_made_or_not() -> Result<()> {
    killed_at_every_step(&[CUTOVER])
}

#[test]
fn an_apply_killed_at_any_step_is_made_or_not() -> Result<()> {
    killed_at_every_step(&[APPLY])
}

#[test]
fn drains_and_undo_killed_at_any_step_are_made_or_not() -> Result<()> {
    let all = [DRAIN, DRAIN_BACKEND, UNDO];
    // The first takes the same way as a cutover, and the last too.
    let count = soak(0, all.len());
    killed_at_every_step(if count == 0 { &all[1..2] } else { &all })
}

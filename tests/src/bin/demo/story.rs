//! What is shown, act by act; each act fails if what it shows isn't so.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{ChildGuard, SOON, Totals};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::scene::{Scene, TRACKS};
use crate::screen::{Screen, grouped};

/// How long each state of affairs is shown.
const ACT: Duration = Duration::from_secs(6);
/// How often the terminal is drawn anew.
const FRAME: Duration = Duration::from_millis(250);
/// Changes of the burst.
const BURST: usize = 100;

/// Plays all acts.
pub(crate) fn tell(scene: &mut Scene, screen: &mut Screen) -> Result<()> {
    split(scene, screen)?;
    shift(scene, screen)?;
    cutover(scene, screen)?;
    drain(scene, screen)?;
    undo(scene, screen)?;
    burst(scene, screen)
}

fn split(scene: &mut Scene, screen: &mut Screen) -> Result<()> {
    screen.heading("1. A split by weight: blue 90 %, green 5 %, canary 5 %");
    screen.command("splitterctl apply -f web.yaml");
    let seen = watch(scene, screen)?;
    expect_share(&seen, "blue", 0.90)?;
    expect_share(&seen, "canary", 0.05)
}

fn shift(scene: &mut Scene, screen: &mut Screen) -> Result<()> {
    screen.heading("2. More for the canary: 5 % -> 25 %, the others share the rest as before");
    scene.operate(screen, "set-weight web canary=25%")?;
    let seen = watch(scene, screen)?;
    expect_share(&seen, "canary", 0.25)
}

fn cutover(scene: &mut Scene, screen: &mut Screen) -> Result<()> {
    screen.heading(
        "3. Cutover under load: every new connection goes to green, old ones stay where they are",
    );
    let pinned = scene.long_lived().open_to("blue");
    scene.operate(screen, "cutover web --to green")?;
    let seen = watch(scene, screen)?;
    expect_share(&seen, "green", 1.0)?;
    let still = scene.long_lived().open_to("blue");
    ensure!(
        still == pinned,
        "{pinned} long-lived connections were on blue, now {still} are"
    );
    screen.say(format_args!(
        "{still} long-lived connections are still served by blue."
    ));
    Ok(())
}

fn drain(scene: &mut Scene, screen: &mut Screen) -> Result<()> {
    screen.heading(
        "4. Drain blue: its connections finish their work, and zero is proven, not guessed",
    );
    screen.command("splitterctl drain web blue --wait");
    let log = lab::Scratch::new("drain")?;
    let (said, talked) = (log.write("said", "")?, log.write("talked", "")?);
    let mut command =
        scene
            .site
            .agent
            .ctl_command(&["drain", "web", "blue", "--wait", "--no-color"]);
    command
        .stdout(std::fs::File::create(&said)?)
        .stderr(std::fs::File::create(&talked)?);
    let mut waiting = ChildGuard::spawn(command)?;
    let since = scene.new_flows();
    loop {
        lab::for_a_while(ACT / 4, FRAME, || {
            let mut lines = scene.table(&since)?;
            let flows = scene.site.agent.flows_of("web", "blue")?;
            lines.push(format!(
                "     splitterctl is waiting: {flows} flows are pinned to blue"
            ));
            screen.draw(&lines);
            scene.check()
        })?;
        let blue = scene.long_lived().open_to("blue");
        ensure!(
            waiting.ended()?.is_none() || blue == 0,
            "the drain ended with {blue} connections open"
        );
        if !scene.end_a_group()? {
            break;
        }
    }
    let status = waiting.wait(SOON)?;
    screen.settle(&scene.table(&since)?);
    for line in std::fs::read_to_string(&said)?.lines() {
        screen.say(line);
    }
    ensure!(
        status.success(),
        "the drain ended with {status}: {}",
        std::fs::read_to_string(&talked)?
    );
    // The count beside it may be a second old.
    lab::await_until(SOON, "the number of blue's flows to be zero", || {
        scene
            .site
            .agent
            .flows_of("web", "blue")
            .is_ok_and(|flows| flows == 0)
    })?;
    screen.say("exit code 0: the flow table was scanned and holds no pin of blue.");
    scene.operate(screen, "ready web blue")?;
    scene.start_load()
}

fn undo(scene: &mut Scene, screen: &mut Screen) -> Result<()> {
    screen.heading("5. A mistake, and undo: the same split as before, slot for slot");
    let before = scene.site.split()?.1;
    scene.operate(screen, "cutover web --to canary")?;
    let seen = watch(scene, screen)?;
    expect_share(&seen, "canary", 1.0)?;
    scene.operate(screen, "undo web")?;
    let after = scene.site.split()?.1;
    ensure!(
        before == after,
        "undo gave split {after}, before it was {before}"
    );
    screen.say(format_args!(
        "digest of the split before the mistake and now: {}",
        after.as_str().context("no digest")?
    ));
    let seen = watch(scene, screen)?;
    expect_share(&seen, "green", 1.0)
}

fn burst(scene: &mut Scene, screen: &mut Screen) -> Result<()> {
    screen.heading(&format!(
        "6. {BURST} random changes back to back, under load"
    ));
    let mut random = SmallRng::seed_from_u64(6);
    let (since, start) = (scene.new_flows(), Instant::now());
    for number in 1..=BURST {
        let line = random_change(&mut random);
        screen.draw(&[format!("   {number:>3} $ splitterctl {line}")]);
        scene.change(&line)?;
        scene.check()?;
    }
    let took = start.elapsed();
    let (new, long_lived) = (scene.new_flows().since(&since), scene.long_lived());
    screen.say(format_args!(
        "{BURST} changes in {:.1} s, each by a splitterctl of its own, and meanwhile {} new connections.",
        took.as_secs_f64(),
        grouped(new.flows())
    ));
    screen.say(format_args!(
        "{} long-lived connections are where they were; nothing failed.",
        long_lived.flows()
    ));
    Ok(())
}

fn random_change(random: &mut SmallRng) -> String {
    if random.random_ratio(1, 4) {
        return format!(
            "cutover web --to {}",
            TRACKS[random.random_range(0..TRACKS.len())]
        );
    }
    let blue = random.random_range(0..=100);
    let green = random.random_range(0..=100 - blue);
    format!(
        "set-weight web blue={blue}% green={green}% canary={}%",
        100 - blue - green
    )
}

/// Shows the table for an act, and returns the new connections seen in it.
fn watch(scene: &Scene, screen: &mut Screen) -> Result<Totals> {
    let since = scene.new_flows();
    lab::for_a_while(ACT, FRAME, || {
        screen.draw(&scene.table(&since)?);
        scene.check()
    })?;
    screen.settle(&scene.table(&since)?);
    Ok(scene.new_flows().since(&since))
}

/// Five standard deviations around the weight, and the requests that were under way when it changed.
fn expect_share(seen: &Totals, track: &str, weight: f64) -> Result<()> {
    let flows = seen.flows() as f64;
    ensure!(flows >= 100.0, "only {flows} new connections in an act");
    let slack = 5.0 * (weight * (1.0 - weight) / flows).sqrt() + 32.0 / flows;
    let share = seen.share_of(track);
    ensure!(
        (share - weight).abs() <= slack,
        "{track} has {:.2} % of {flows} new connections, its weight is {:.2} %",
        share * 100.0,
        weight * 100.0
    );
    Ok(())
}

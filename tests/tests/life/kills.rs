//! Show 4: the agent killed at random points under load. No request fails, and what is in force afterwards is
//! always what a committed change has made.

use std::time::Duration;

use anyhow::Result;
use lab::{BRIEF, SOON, Service, Site, await_until, heavy, soak};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::in_force;

const TRACKS: [&str; 3] = ["blue", "green", "canary"];

/// The longest time between the moment that something begins and the kill: longer than a change, and than most of a
/// start.
const LONGEST: Duration = Duration::from_millis(400);

fn weights(random: &mut SmallRng) -> [u32; 3] {
    let blue = random.random_range(0..=100);
    let green = random.random_range(0..=100 - blue);
    [blue, green, 100 - blue - green]
}

/// A change, as the words of a command line.
fn change(random: &mut SmallRng) -> String {
    let [blue, green, canary] = weights(random);
    match random.random_range(0..4) {
        0 => format!("cutover web --to {}", TRACKS[random.random_range(0..3)]),
        1 => "undo web".to_owned(),
        _ => format!("set-weight web blue={blue}% green={green}% canary={canary}%"),
    }
}

#[test]
fn killed_at_random_under_load_the_agent_loses_no_request_and_no_committed_change() -> Result<()> {
    let _turn = heavy()?;
    let seed = 4;
    let mut random = SmallRng::seed_from_u64(seed);
    let parts = [("blue", "60%"), ("green", "30%"), ("canary", "10%")];
    let mut site = Site::serving(&Service::web(&parts).with(BRIEF))?;
    let keep_alive = site.load().keep_alive(16).start(&site.hosts.client)?;
    let one_shot = site.load().one_shot(8).start(&site.hosts.client)?;
    await_until(SOON, "16 open connections", || {
        keep_alive.totals().flows() == 16
    })?;

    let kills = soak(12, 200);
    for round in 0..kills {
        let what = format!("round {round} of seed {seed}");
        let delay = random.random_range(Duration::ZERO..LONGEST);
        if round % 4 == 3 {
            // In the middle of a start.
            let before = in_force(&site.agent)?;
            site.agent.kill9()?;
            site.agent.begin()?;
            site.agent.kill_after(delay)?;
            site.agent.restart()?;
            assert_eq!(in_force(&site.agent)?, before, "{what}: killed in a start");
            continue;
        }
        // What was in force after each change that was acknowledged, and the one that was not.
        let (made, last) = std::thread::scope(|scope| -> Result<_> {
            let agent = &site.agent;
            let words: Vec<String> = (0..1_000).map(|_| change(&mut random)).collect();
            let changes = scope.spawn(move || {
                let mut made = Vec::new();
                for line in words {
                    let Ok(answer) = agent.change(&line) else {
                        return (made, line);
                    };
                    made.push(answer);
                }
                (made, String::new())
            });
            agent.signal_kill_after(delay)?;
            Ok(changes.join().unwrap())
        })?;
        site.agent.kill9()?;
        site.agent.restart()?;
        let service = site.agent.service("web")?;
        let generation = service["generation"].as_u64().unwrap();
        let acknowledged = made.last().map(|change| change.generation);
        if let (Some(acknowledged), Some(change)) = (acknowledged, made.last()) {
            assert!(
                generation == acknowledged || generation == acknowledged + 1,
                "{what}: {acknowledged} acknowledged, {generation} in force, then {last}"
            );
            if generation == acknowledged {
                let tracks = service["tracks"].as_array().unwrap();
                for track in tracks {
                    let name = track["name"].as_str().unwrap();
                    assert_eq!(track["weight"], change.after[name], "{what}: {service}");
                }
            }
        }
        let slots = service["tracks"].as_array().unwrap().iter();
        let slots: u64 = slots.map(|track| track["slots"].as_u64().unwrap()).sum();
        assert_eq!(slots, 65_536, "{what}: {service}");
        let lost = keep_alive.totals().and(&one_shot.totals());
        assert!(lost.nothing_lost(), "{what}: {:#?}", lost.details);
    }
    let (keep_alive, one_shot) = (keep_alive.stop()?, one_shot.stop()?);
    println!("{kills} kills; keep-alive: {keep_alive}; one request each: {one_shot}");
    keep_alive.assert_nothing_lost();
    one_shot.assert_nothing_lost();
    assert_eq!(keep_alive.flows(), 16);
    Ok(())
}

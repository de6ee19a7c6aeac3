//! What it all comes to.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::scene::Scene;
use crate::screen::{Screen, grouped};

/// Ends the load and gives the totals; an error unless nothing was lost.
pub(crate) fn give(scene: &mut Scene, screen: &mut Screen) -> Result<()> {
    scene.end_load()?;
    let totals = scene.totals();
    scene.flips.sort_unstable();
    let flips = &scene.flips;
    let (least, most) = flips
        .first()
        .zip(flips.last())
        .context("nothing was flipped")?;
    let median = flips[flips.len() / 2];

    screen.heading("Totals");
    let rows = [
        ("requests", grouped(totals.requests)),
        ("new connections", grouped(totals.flows())),
        ("failed requests", none_or(totals.failures)),
        ("flows moved", none_or(totals.moved)),
        ("slowest answer", milliseconds(totals.slowest)),
        ("changes of the split", flips.len().to_string()),
        (
            "flip, min / median / max",
            format!(
                "{} / {} / {} ns",
                least.as_nanos(),
                median.as_nanos(),
                most.as_nanos()
            ),
        ),
    ];
    for (what, how_many) in rows {
        screen.say(format_args!("{what:<26} {how_many}"));
    }
    for detail in &totals.details {
        screen.say(detail);
    }
    ensure!(totals.nothing_lost(), "something was lost");
    Ok(())
}

fn none_or(count: u64) -> String {
    if count == 0 {
        "none".to_owned()
    } else {
        grouped(count)
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

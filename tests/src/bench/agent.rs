//! What the agent does to tables.

use std::time::Instant;

use anyhow::Result;
use splitter_ebpf::abi::Selector;

use super::Choice;
use super::measure::Measurement;
use super::report::Report;
use super::world::World;

/// Times of one piece of work, each of `rounds`, in nanoseconds.
fn timed(rounds: usize, mut work: impl FnMut()) -> Measurement {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        work();
        times.push(start.elapsed().as_secs_f64() * 1e9);
    }
    Measurement::over(times, vec![0.0])
}

/// The store that flips.
pub(super) fn flips(world: &World, choice: &Choice, report: &mut Report) {
    let name = "flip";
    if choice.wants(name) {
        let tables = world.rig.tables();
        let now = tables.selector();
        let measurement = timed(10_000, || {
            tables.flip(Selector::new(
                now.sequence(),
                u8::try_from(now.row()).unwrap_or(0),
            ));
        });
        report.add(name.to_owned(), measurement);
    }
}

/// The scan that finds expired flows, over the table for a million.
pub(super) fn scan(world: &mut World, choice: &Choice, report: &mut Report) -> Result<()> {
    let name = "expiry scan, table for 1 M";
    if choice.wants(name) {
        let (tables, now) = (world.rig.tables(), 0);
        let mut old = 0_usize;
        let measurement = timed(choice.rounds, || {
            tables.scan(0..tables.flow_buckets(), |flow| {
                old += usize::from(flow.value.age(now) > 1000)
            });
        });
        std::hint::black_box(old);
        report.add(name.to_owned(), measurement);
    }
    Ok(())
}

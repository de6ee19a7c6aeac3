//! What the agent does to tables.

use std::time::Instant;

use anyhow::Result;
use splitter_ebpf::abi::Selector;

use splitter_user::table::maglev::{Member, build};
use splitter_user::table::split::{Share, allocate};

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

/// The tables that a change of weights, or of a track's backends, makes anew.
pub(super) fn tables(choice: &Choice, report: &mut Report) {
    let shares = |canary: u64| {
        [
            ("blue", 0, 100 - canary),
            ("canary", 1, canary),
            ("green", 2, 7),
        ]
        .map(|(name, track, parts)| Share { track, name, parts })
    };
    let before = allocate(None, &shares(5)).ok();
    let name = "split allocation, three tracks";
    if choice.wants(name) {
        let measurement = timed(choice.rounds, || {
            std::hint::black_box(allocate(before.as_ref(), &shares(25)).is_ok());
        });
        report.add(name.to_owned(), measurement);
    }
    let backends: Vec<Member> = (1..=64_u8)
        .map(|n| Member {
            id: n.into(),
            address: [198, 18, 2, n].into(),
            port: 8080,
            weight: n.into(),
        })
        .collect();
    let name = "track table, 64 backends";
    if choice.wants(name) {
        let measurement = timed(choice.rounds, || {
            std::hint::black_box(build(&backends));
        });
        report.add(name.to_owned(), measurement);
    }
}

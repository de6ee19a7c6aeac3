//! What a packet, a flip and a table cost.
//!
//! Packets go through the real program, called by a driver that writes the next flow's addresses into
//! the frame (`splitter_ebpf::drive`); the same driver without the program is the floor, measured in
//! turn with it. Times are those of the thread's CPU, on one CPU, in rounds.

mod agent;
mod establish;
mod measure;
mod report;
mod scene;
mod target;
mod traffic;
mod world;

pub use measure::{Measurement, pin_to_cpu};
pub use report::Report;
pub use world::World;

use anyhow::Result;

use crate::rig::{isolate, route_to_clients};
use crate::verifier::Figures;

/// Which cases to measure, and how long.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Rounds; at least 7 for a figure worth keeping.
    pub rounds: usize,
    /// Only cases whose name contains this.
    pub only: String,
}

impl Choice {
    fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }
}

/// Measures everything chosen.
///
/// # Errors
/// What the kernel says.
pub fn run(choice: &Choice) -> Result<Report> {
    let mut report = Report {
        verifier: Figures::shipped()?,
        ..Report::default()
    };
    isolate()?;
    route_to_clients()?;
    pin_to_cpu(0)?;
    let (mut small, mut large) = (World::small()?, World::large()?);
    report.memory.clone_from(&large.memory);
    traffic::foreign(&mut small, choice, &mut report)?;
    traffic::hot(&mut small, choice, &mut report)?;
    traffic::many(&mut large, choice, &mut report)?;
    agent::flips(&small, choice, &mut report);
    agent::tables(choice, &mut report);
    agent::scan(&mut large, choice, &mut report)?;
    Ok(report)
}

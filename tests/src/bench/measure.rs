use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Nanoseconds a piece over some rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Median, the floor's median taken off.
    pub median: f64,
    /// Minimum, the floor's minimum taken off.
    pub minimum: f64,
    /// Median of the floor.
    pub floor: f64,
}

impl Measurement {
    /// Of the rounds of a case and of its floor, each in nanoseconds a piece.
    ///
    /// # Panics
    /// Without rounds.
    #[must_use]
    pub fn over(mut case: Vec<f64>, mut floor: Vec<f64>) -> Self {
        case.sort_by(f64::total_cmp);
        floor.sort_by(f64::total_cmp);
        let median = |sorted: &[f64]| sorted[sorted.len() / 2];
        Self {
            median: median(&case) - median(&floor),
            minimum: case[0] - floor[0],
            floor: median(&floor),
        }
    }
}

/// Keeps this thread on one CPU.
///
/// # Errors
/// If there is no such CPU.
pub fn pin_to_cpu(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("stay on CPU {cpu}"))
}

/// Nanoseconds of this thread's CPU time that `work` takes.
pub(super) fn cpu_time<T>(work: impl FnOnce() -> Result<T>) -> Result<f64> {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let start = now();
    work()?;
    Ok(now() - start)
}

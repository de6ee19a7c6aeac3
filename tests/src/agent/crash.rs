//! An agent that ends, as by `kill -9`, between two writes of its choice: the test's.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Agent;
use crate::wait::await_some;

/// An agent that takes no step for so long has done what it had to.
const REST: Duration = Duration::from_millis(300);
/// Longest time for all steps of a change.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The agent ended on the way.
    Ended,
    /// It has done all of it.
    Rests,
}

impl Agent {
    /// `kill -9` after a while, of an agent that others are talking to: [`Agent::kill9`] is still to be called.
    pub fn signal_kill_after(&self, delay: Duration) -> Result<()> {
        let process = self.process.as_ref().context("no agent runs")?;
        std::thread::sleep(delay);
        process.signal(rustix::process::Signal::KILL)
    }

    /// `kill -9` after a while.
    pub fn kill_after(&mut self, delay: Duration) -> Result<()> {
        std::thread::sleep(delay);
        self.kill9()
    }

    /// Lets the agent end after so many more writes.
    pub fn end_after(&self, steps: u64) -> Result<()> {
        std::fs::write(self.crash_file(), steps.to_string()).context("cannot arm the agent")
    }

    /// Lets it live.
    pub fn let_live(&self) -> Result<()> {
        match std::fs::remove_file(self.crash_file()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Waits until it has ended, or writes nothing any more.
    pub fn fate(&mut self) -> Result<Fate> {
        let file = self.crash_file();
        let mut seen = (String::new(), Instant::now());
        await_some(PATIENCE, "the agent to end or to rest", || {
            let process = self.process.as_mut()?;
            if process.ended().ok().flatten().is_some() {
                return Some(Fate::Ended);
            }
            let left = std::fs::read_to_string(&file).unwrap_or_default();
            if left != seen.0 {
                seen = (left, Instant::now());
            }
            (seen.1.elapsed() >= REST).then_some(Fate::Rests)
        })
    }

    pub(super) fn crash_file(&self) -> PathBuf {
        self.scratch.join("crash")
    }
}

//! Counts and turns: how much a test repeats, and which tests may not run beside each other.

use std::fs::File;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

/// `full` under `cargo xtask test --soak` (SPLITTER_SOAK=1), `reduced` otherwise.
pub fn soak(reduced: usize, full: usize) -> usize {
    let on = std::env::var("SPLITTER_SOAK").is_ok_and(|value| !value.is_empty() && value != "0");
    if on { full } else { reduced }
}

/// The turn of one heavy test; given back on drop.
#[derive(Debug)]
pub struct Heavy {
    _lock: File,
}

/// Waits for this test's turn: tests with real load take one, so that two cores serve one of them at a time and a
/// time measured means something. A file lock, because test runners differ in threads and processes.
pub fn heavy() -> Result<Heavy> {
    let path = std::env::temp_dir().join("splitter-lab-heavy.lock");
    let lock = File::create(&path)
        .with_context(|| format!("cannot make the lock file {}", path.display()))?;
    flock(&lock, FlockOperation::LockExclusive)
        .context("cannot lock the lock file of heavy tests")?;
    Ok(Heavy { _lock: lock })
}

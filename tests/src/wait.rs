//! Waiting for a condition: the only place of the lab that sleeps.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Pause between two looks at a condition: short beside anything worth waiting for, long beside the look itself.
const POLL: Duration = Duration::from_millis(2);

/// Waits until `condition` holds, looking every 2 ms; `what` completes "still waiting for ...".
pub fn await_until(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    await_some(deadline, what, || condition().then_some(()))
}

/// Waits until `look` finds something, and returns it.
pub fn await_some<T>(
    deadline: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if start.elapsed() >= deadline {
            bail!("still waiting for {what} after {deadline:?}");
        }
        std::thread::sleep(POLL);
    }
}

/// Calls `show` again and again for as long as `duration`, `every` so often, and once more at its end.
pub fn for_a_while(
    duration: Duration,
    every: Duration,
    mut show: impl FnMut() -> Result<()>,
) -> Result<()> {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        show()?;
        std::thread::sleep(every.min(end.saturating_duration_since(Instant::now())));
    }
    show()
}

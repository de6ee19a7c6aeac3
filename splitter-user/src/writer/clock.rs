//! The time that deadlines are kept in. Within a run it goes on evenly from what the wall clock showed
//! at its beginning, so that nobody who sets that clock ends a drain, or keeps it from ending. Across a
//! restart the wall clock is all there is: see [`again`].

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What two clocks showed at one moment.
#[derive(Debug, Clone, Copy)]
struct Start {
    wall_ms: u64,
    at: Instant,
}

impl Start {
    /// Milliseconds since 1970 at `now`.
    fn reading(self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.at).as_millis();
        self.wall_ms
            .saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

/// Milliseconds since 1970, without the jumps of the wall clock since the first call.
pub(super) fn now_ms() -> u64 {
    static START: OnceLock<Start> = OnceLock::new();
    #[cfg(test)]
    if let Some(frozen) = FROZEN.get() {
        return frozen;
    }
    let now = Instant::now();
    START
        .get_or_init(|| Start {
            wall_ms: wall_ms(),
            at: now,
        })
        .reading(now)
}

/// Milliseconds since 1970 by the wall clock, for people to compare with other logs.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What a former run began, a drain or a deletion, at `now`: what began in the future has met a clock that was
/// set back, and gets its whole time once more from now on, and never longer. A clock that was set forward
/// cannot be told from an agent that was away for long: what it was to wait for is over.
pub(super) fn again(since: &mut u64, deadline: &mut u64, now: u64) {
    if *since > now {
        let length = deadline.saturating_sub(*since);
        *since = now;
        if *deadline != u64::MAX {
            *deadline = now.saturating_add(length);
        }
    }
}

#[cfg(test)]
thread_local! {
    /// What the clock shows to a test, instead of the time.
    pub(super) static FROZEN: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_evenly_whatever_the_wall_clock_shows_later() {
        let start = Start {
            wall_ms: 1_000,
            at: Instant::now(),
        };
        let later = start.at + Duration::from_secs(5);
        assert_eq!(start.reading(later), 6_000);
        assert_eq!(start.reading(start.at), 1_000);
        let first = now_ms();
        assert!(now_ms() >= first);
    }

    #[test]
    fn what_has_a_deadline_gets_its_time_once_more_at_most_after_a_clock_was_set_back() {
        let at = |now| {
            let (mut since, mut deadline) = (10_000, 70_000);
            again(&mut since, &mut deadline, now);
            (since, deadline)
        };
        assert_eq!(at(2_000), (2_000, 62_000), "set back by hours");
        assert_eq!(at(30_000), (10_000, 70_000), "as it should be");
        assert_eq!(at(90_000), (10_000, 70_000), "over, or set forward");
        let (mut since, mut endless) = (10_000, u64::MAX);
        again(&mut since, &mut endless, 1_000);
        assert_eq!(endless, u64::MAX, "none stays none");
    }
}

//! Grace periods beside the writer: it asks for one after each flip and goes on; what was current
//! before the flip is used again only once that period is over.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

#[derive(Debug, Default)]
struct Progress {
    requested: u64,
    completed: u64,
    /// The last flip whose grace period could not be waited for at the last attempt.
    failed: u64,
    stop: bool,
}

/// From an attempt that failed to the next one.
const AGAIN: Duration = Duration::from_secs(1);

/// A thread that waits for grace periods.
#[derive(Debug)]
pub struct Grace {
    shared: Arc<(Mutex<Progress>, Condvar)>,
}

impl Grace {
    /// Starts the thread; `wait` waits for one grace period.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(wait: impl Fn() -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new((Mutex::new(Progress::default()), Condvar::new()));
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("grace".into())
            .spawn(move || {
                let (progress, changed) = &*theirs;
                let mut guard = progress.lock().unwrap_or_else(PoisonError::into_inner);
                loop {
                    while guard.requested == guard.completed && !guard.stop {
                        guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
                    }
                    if guard.stop {
                        return;
                    }
                    let asked = guard.requested;
                    drop(guard);
                    let waited = wait();
                    guard = progress.lock().unwrap_or_else(PoisonError::into_inner);
                    match waited {
                        Ok(()) => guard.completed = asked,
                        Err(error) => {
                            // Nothing is used again before this succeeds; the writer says so when it waits.
                            tracing::error!(%error, "cannot wait for a grace period; it is tried again");
                            guard.failed = asked;
                            changed.notify_all();
                            let again = changed.wait_timeout_while(guard, AGAIN, |now| !now.stop);
                            guard = again.unwrap_or_else(PoisonError::into_inner).0;
                        }
                    }
                    changed.notify_all();
                }
            })?;
        Ok(Self { shared })
    }

    /// Asks for a grace period after the flip numbered `flip`.
    pub fn request(&self, flip: u64) {
        let (progress, changed) = &*self.shared;
        let mut guard = progress.lock().unwrap_or_else(PoisonError::into_inner);
        guard.requested = guard.requested.max(flip);
        changed.notify_all();
    }

    /// The last flip after which a grace period has passed.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.shared
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .completed
    }

    /// Waits until a grace period has passed after `flip`; says whether it has.
    #[must_use]
    pub fn wait_for(&self, flip: u64) -> bool {
        let (progress, changed) = &*self.shared;
        let mut guard = progress.lock().unwrap_or_else(PoisonError::into_inner);
        while guard.completed < flip {
            if guard.stop || guard.requested < flip || guard.failed >= flip {
                return false;
            }
            guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}

impl Drop for Grace {
    fn drop(&mut self) {
        let (progress, changed) = &*self.shared;
        progress.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    #[test]
    fn a_grace_period_that_began_before_a_flip_does_not_count_for_it() {
        let (release, released) = sync_channel::<()>(1);
        let grace =
            Grace::start(move || released.recv().map_err(io::Error::other)).expect("a thread");
        grace.request(1);
        release.send(()).expect("alive");
        assert!(grace.wait_for(1));
        assert_eq!(grace.completed(), 1);
        grace.request(2);
        assert_eq!(grace.completed(), 1, "nobody has released the second");
        release.send(()).expect("alive");
        assert!(grace.wait_for(2));
    }

    #[test]
    fn a_grace_period_that_failed_is_said_at_once_and_tried_again() {
        let (answer, answers) = sync_channel::<io::Result<()>>(1);
        let grace =
            Grace::start(move || answers.recv().map_err(io::Error::other)?).expect("a thread");
        grace.request(1);
        answer
            .send(Err(io::ErrorKind::OutOfMemory.into()))
            .expect("alive");
        assert!(!grace.wait_for(1), "the writer is not kept waiting");
        answer.send(Ok(())).expect("it is tried again");
        while grace.completed() < 1 {
            std::thread::yield_now();
        }
        assert!(grace.wait_for(1));
    }

    #[test]
    fn what_was_never_asked_for_is_not_waited_for() {
        let grace = Grace::start(|| Ok(())).expect("a thread");
        assert!(!grace.wait_for(5));
    }
}

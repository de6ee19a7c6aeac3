//! Names of users, looked up where waiting hurts nobody: a directory on the network may be asked, and may hang.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::host;

/// How long names may take; numbers do as well.
const PATIENCE: Duration = Duration::from_secs(2);
/// For how long a name is not asked for again.
const KEPT: Duration = Duration::from_secs(60);
/// Most users that are remembered.
const MOST: usize = 1_000;

/// Names by number; none for users that have none.
type Known = BTreeMap<u32, (Option<String>, Instant)>;

/// The names of users that were asked for lately. One thread looks them up, however many ask: while it hangs, answers
/// have the names that are known.
pub(super) struct Names {
    known: Arc<Mutex<Known>>,
    looking: Arc<Semaphore>,
    look_up: fn(u32) -> Option<String>,
    patience: Duration,
}

impl Default for Names {
    fn default() -> Self {
        Self::with(host::user_name, PATIENCE)
    }
}

impl Names {
    fn with(look_up: fn(u32) -> Option<String>, patience: Duration) -> Self {
        Self {
            known: Arc::default(),
            looking: Arc::new(Semaphore::new(1)),
            look_up,
            patience,
        }
    }

    /// The names of these users, of those that have one and as far as it is known in time.
    pub(super) async fn of(&self, uids: impl IntoIterator<Item = u32>) -> BTreeMap<u32, String> {
        let uids: BTreeSet<u32> = uids.into_iter().collect();
        // Out of time: what is known by then is told.
        let _late = tokio::time::timeout(self.patience, self.look_for(&uids)).await;
        let known = lock(&self.known);
        uids.into_iter()
            .filter_map(|uid| Some((uid, known.get(&uid)?.0.clone()?)))
            .collect()
    }

    /// Waits for the thread that looks names up, and has it look for those that are not known.
    async fn look_for(&self, uids: &BTreeSet<u32>) {
        if self.unknown(uids).is_empty() {
            return;
        }
        let Ok(turn) = Arc::clone(&self.looking).acquire_owned().await else {
            return;
        };
        let unknown = self.unknown(uids);
        let (known, look_up) = (Arc::clone(&self.known), self.look_up);
        let look = tokio::task::spawn_blocking(move || {
            for uid in unknown {
                let name = look_up(uid);
                let mut known = lock(&known);
                if known.len() >= MOST {
                    known.clear();
                }
                known.insert(uid, (name, Instant::now()));
            }
            // Kept until the thread has ended, whether anybody waits for it or not.
            drop(turn);
        });
        let _ended = look.await;
    }

    fn unknown(&self, uids: &BTreeSet<u32>) -> Vec<u32> {
        let known = lock(&self.known);
        let fresh = |uid: &u32| {
            known
                .get(uid)
                .is_some_and(|(_, asked)| asked.elapsed() < KEPT)
        };
        uids.iter().copied().filter(|uid| !fresh(uid)).collect()
    }
}

fn lock(known: &Mutex<Known>) -> std::sync::MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_name_is_asked_for_once_and_a_user_without_one_too() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let names = Names::with(
            |uid| {
                ASKED.fetch_add(1, Ordering::SeqCst);
                (uid == 0).then(|| "root".to_owned())
            },
            PATIENCE,
        );
        for _ in 0..3 {
            let found = names.of([0, 7, 0]).await;
            assert_eq!(found, [(0, "root".to_owned())].into());
        }
        assert_eq!(ASKED.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn while_one_look_up_hangs_no_other_begins_and_answers_go_on() {
        static BEGUN: AtomicUsize = AtomicUsize::new(0);
        static HANGS: Barrier = Barrier::new(2);
        let names = Names::with(
            |_| {
                BEGUN.fetch_add(1, Ordering::SeqCst);
                HANGS.wait();
                Some("late".to_owned())
            },
            Duration::from_millis(50),
        );
        for uid in 0..20 {
            assert!(names.of([uid]).await.is_empty());
        }
        HANGS.wait();
        assert_eq!(BEGUN.load(Ordering::SeqCst), 1);
        while names.of([0]).await.is_empty() {}
    }
}

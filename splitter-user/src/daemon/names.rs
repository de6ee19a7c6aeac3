//! Names of users, looked up where waiting hurts nobody: a directory on the network may be asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::host;

/// How long names may take; numbers do as well.
const PATIENCE: Duration = Duration::from_secs(2);

/// Names by number, for those that have one.
#[derive(Default)]
pub(super) struct Names(BTreeMap<u32, String>);

impl Names {
    /// Looks up each number once.
    pub(super) async fn of(uids: impl IntoIterator<Item = u32>) -> Self {
        let uids: BTreeSet<u32> = uids.into_iter().collect();
        let look = tokio::task::spawn_blocking(move || {
            let found = uids.into_iter();
            Self(
                found
                    .filter_map(|uid| Some((uid, host::user_name(uid)?)))
                    .collect(),
            )
        });
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(Ok(names)) => names,
            _ => Self::default(),
        }
    }

    pub(super) fn get(&self, uid: u32) -> Option<String> {
        self.0.get(&uid).cloned()
    }
}

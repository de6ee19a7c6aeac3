//! Numbers of the data plane. A number outlives what it stood for until no packet and no pin can
//! hold it any more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Deletion;

/// Where a number stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IdState {
    /// In use.
    Active,
    /// No longer wanted; its pins live on until there are none, or are closed from the deadline on.
    Deleting(Deletion),
    /// Out of every table; free once a scan has shown no pin.
    Quarantined,
}

/// No number is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{limit} is reached: all {most} numbers are in use, by what is in force or by flows of what was deleted; raise the limit, or wait until those have ended"
)]
pub struct IdsFull {
    limit: &'static str,
    most: u16,
}

/// Numbers from 1 on, the lowest free one first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids<K> {
    most: u16,
    by_key: BTreeMap<K, u16>,
    by_id: BTreeMap<u16, (K, IdState)>,
}

impl<K: Ord + Clone> Ids<K> {
    /// No number is in use; 1 to `most` can be.
    #[must_use]
    pub const fn new(most: u16) -> Self {
        Self {
            most,
            by_key: BTreeMap::new(),
            by_id: BTreeMap::new(),
        }
    }

    /// The number of a key, new or its own; a key that was being deleted is active again.
    ///
    /// # Errors
    /// [`IdsFull`].
    pub fn take(&mut self, key: &K, limit: &'static str) -> Result<u16, IdsFull> {
        if let Some(id) = self.by_key.get(key) {
            self.by_id.insert(*id, (key.clone(), IdState::Active));
            return Ok(*id);
        }
        let free = (1..=self.most).find(|id| !self.by_id.contains_key(id));
        let id = free.ok_or(IdsFull {
            limit,
            most: self.most,
        })?;
        self.by_key.insert(key.clone(), id);
        self.by_id.insert(id, (key.clone(), IdState::Active));
        Ok(id)
    }

    /// Puts a number back as it was recorded.
    pub fn restore(&mut self, id: u16, key: K, state: IdState) {
        if state != IdState::Quarantined {
            self.by_key.insert(key.clone(), id);
        }
        self.by_id.insert(id, (key, state));
    }

    /// The number of a key that is active or being deleted.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<u16> {
        self.by_key.get(key).copied()
    }

    /// What a number stands for, or stood for.
    #[must_use]
    pub fn key_of(&self, id: u16) -> Option<&K> {
        self.by_id.get(&id).map(|(key, _)| key)
    }

    /// Where a number stands.
    #[must_use]
    pub fn state_of(&self, id: u16) -> Option<IdState> {
        self.by_id.get(&id).map(|(_, state)| *state)
    }

    /// Lets a number stand for another key, in the state that it is in.
    pub fn rename(&mut self, id: u16, key: K) {
        if let Some((old, state)) = self.by_id.get(&id) {
            let state = *state;
            if self.by_key.get(old) == Some(&id) {
                self.by_key.remove(old);
                self.by_key.insert(key.clone(), id);
            }
            self.by_id.insert(id, (key, state));
        }
    }

    /// Marks an active key as deleting.
    pub fn delete(&mut self, key: &K, deletion: Deletion) {
        if let Some(id) = self.by_key.get(key) {
            self.by_id
                .insert(*id, (key.clone(), IdState::Deleting(deletion)));
        }
    }

    /// Every deletion that is under way, by number and key.
    pub fn deletions_mut(&mut self) -> impl Iterator<Item = (u16, &K, &mut Deletion)> {
        self.by_id
            .iter_mut()
            .filter_map(|(id, (key, state))| match state {
                IdState::Deleting(deletion) => Some((*id, &*key, deletion)),
                IdState::Active | IdState::Quarantined => None,
            })
    }

    /// Takes the name off a number; it stays reserved.
    pub fn quarantine(&mut self, id: u16) {
        if let Some((key, state)) = self.by_id.get_mut(&id) {
            *state = IdState::Quarantined;
            if self.by_key.get(key) == Some(&id) {
                self.by_key.remove(key);
            }
        }
    }

    /// Frees a number.
    pub fn free(&mut self, id: u16) {
        self.quarantine(id);
        self.by_id.remove(&id);
    }

    /// Keys that are active.
    #[must_use]
    pub fn active(&self) -> Vec<K> {
        self.iter()
            .filter(|(_, _, state)| *state == IdState::Active)
            .map(|(_, key, _)| key.clone())
            .collect()
    }

    /// Every number that is not free.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &K, IdState)> {
        self.by_id
            .iter()
            .map(|(id, (key, state))| (*id, key, *state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_out_again_only_after_it_was_freed() {
        let mut ids = Ids::new(2);
        assert_eq!(ids.take(&"a", "x"), Ok(1));
        assert_eq!(ids.take(&"b", "x"), Ok(2));
        ids.delete(&"a", Deletion::ENDLESS);
        assert_eq!(ids.get(&"a"), Some(1), "its pins still need it");
        ids.quarantine(1);
        assert_eq!(ids.get(&"a"), None);
        assert!(
            ids.take(&"c", "limits.backends")
                .expect_err("full")
                .to_string()
                .contains("limits.backends")
        );
        ids.free(1);
        assert_eq!(ids.take(&"c", "x"), Ok(1));
    }

    #[test]
    fn a_key_that_comes_back_while_it_is_deleted_keeps_its_number() {
        let mut ids = Ids::new(9);
        let id = ids.take(&"a", "x").expect("room");
        ids.delete(&"a", Deletion::ENDLESS);
        assert_eq!(ids.take(&"a", "x"), Ok(id));
        assert_eq!(ids.state_of(id), Some(IdState::Active));
    }
}

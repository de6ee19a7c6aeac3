//! What was applied last, kept beside the state. It moves no packet, so it is written after the change, and what cannot be
//! written costs a later `diff` or `--prune` its knowledge, nothing else.

use std::collections::BTreeMap;

use super::Writer;
use crate::dataplane::DataPlane;
use crate::state::Applied;
use crate::store::StoreError;

/// What the names of these values begin with.
const PREFIX: &str = "applied:";

impl<D: DataPlane + 'static> Writer<D> {
    /// Reads what was applied last.
    pub(super) fn recall_applied(&mut self) -> Result<(), StoreError> {
        for (key, value) in self.store.metas(PREFIX)? {
            let applied: Option<Applied> = serde_json::from_str(&value).ok();
            let name = key.strip_prefix(PREFIX).map(str::to_owned);
            let here = name.filter(|name| self.world.services.contains_key(name));
            if let (Some(name), Some(applied)) = (here, applied) {
                self.world.applied.insert(name, applied);
            }
        }
        Ok(())
    }

    /// Keeps what is new in `next`.
    pub(super) fn keep_applied(&mut self, next: BTreeMap<String, Applied>) {
        let before = std::mem::replace(&mut self.world.applied, next);
        let now = &self.world.applied;
        let new = |(name, applied): &(&String, &Applied)| before.get(*name) != Some(*applied);
        let kept = now.iter().filter(new).map(|(name, applied)| {
            let value = serde_json::to_string(applied).unwrap_or_default();
            (format!("{PREFIX}{name}"), value)
        });
        let gone = before.keys().filter(|name| !now.contains_key(*name));
        let gone = gone.map(|name| (format!("{PREFIX}{name}"), String::new()));
        let values: Vec<(String, String)> = kept.chain(gone).collect();
        if !values.is_empty()
            && let Err(error) = self.store.set_metas(&values)
        {
            tracing::warn!(%error, "what was applied last is not kept");
        }
    }
}

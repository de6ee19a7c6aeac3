//! The journal of the agent: desired state, the split tables slot for slot, history and audit, in `<state_dir>/state.db`.
//!
//! A change is written twice, and each write is on disk before the next step is taken:
//!
//! ```text
//! prepare(change) -> flip of the selector, or tables that need none -> commit(sequence) -> reply to the operator
//! ```
//!
//! An agent that starts asks [`Store::pending`]: a change that was prepared but not committed is rolled forward with
//! [`Store::commit`] if the selector shows its flip, and dropped with [`Store::discard`] if not.
//!
//! The file is SQLite in WAL mode, `synchronous=FULL`, held under an exclusive lock while the agent runs. A file that is
//! corrupt, newer than this program or foreign is refused and never written to.
//!
//! Everything here blocks, and belongs to the one writer thread.

mod check;
mod directory;
mod error;
mod journal;
mod open;
mod pending;
mod read;
mod record;
mod schema;
mod secret;
mod split;
#[cfg(test)]
mod tests;
mod write;

use std::path::{Path, PathBuf};

use rusqlite::Connection;

pub use self::error::StoreError;
pub use self::record::{
    AnchorRecord, Audit, AuditEntry, HistoryEntry, IdRecord, Prepared, Refused, SLOTS,
    ServiceRecord, Slots,
};
pub use self::schema::VERSION;
pub use self::secret::secret;

use self::error::Context;

/// Rows of `history` kept for each service.
pub const HISTORY_PER_SERVICE: u32 = 100;
/// Rows of `audit` kept.
pub const AUDIT_ROWS: u32 = 10_000;
/// Rows of `audit` kept about what was refused, so that nobody can push out what was done by asking in vain.
pub const REFUSED_ROWS: u32 = 1_000;

/// The open journal. One thread owns it; a second one, in whatever process, is refused with [`StoreError::InUse`].
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    context: Context,
    #[cfg(test)]
    faults: crate::dataplane::faulty::Faults,
}

impl Store {
    /// Opens the journal of `state_dir`, making the directory (0700) and the file (0600) if they are missing.
    ///
    /// The whole file is checked, contents included: what this returns can be trusted.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        directory::ensure(state_dir)?;
        let path = path(state_dir);
        let connection = open::file(&path)?;
        Ok(Self {
            connection,
            context: Context::new(path),
            #[cfg(test)]
            faults: crate::dataplane::faulty::Faults::default(),
        })
    }

    /// A journal without a file, for tests.
    pub fn open_in_memory() -> Result<Self, StoreError> {
        let context = Context::new(PathBuf::from(":memory:"));
        let connection = open::memory(&context)?;
        Ok(Self {
            connection,
            context,
            #[cfg(test)]
            faults: crate::dataplane::faulty::Faults::default(),
        })
    }

    /// Fails where `faults` say so, before it has done anything: a transaction is whole or was never begun.
    #[cfg(test)]
    pub(crate) fn fail_as(&mut self, faults: &crate::dataplane::faulty::Faults) {
        self.faults = faults.clone();
    }

    /// Before `action`: where tests let it fail, or the agent end.
    fn step(&self, action: &'static str) -> Result<(), StoreError> {
        crate::crash::point();
        #[cfg(test)]
        self.faults
            .step(action)
            .map_err(|source| StoreError::io(Path::new("state.db"), action, source))?;
        #[cfg(not(test))]
        let _named_for_tests = action;
        Ok(())
    }

    /// The value last stored under `key`.
    pub fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        read::meta(&self.connection, key)
            .map_err(|error| self.context.sqlite("read a value", error))
    }

    /// Stores `value` under `key`, synced.
    pub fn set_meta(&mut self, key: &str, value: &str) -> Result<(), StoreError> {
        self.step("store a value")?;
        write::put_meta(&self.connection, key, value)
            .map_err(|error| self.context.sqlite("store a value", error))
    }

    /// The values whose keys begin with `prefix`.
    pub fn metas(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        read::metas(&self.connection, prefix)
            .map_err(|error| self.context.sqlite("read values", error))
    }

    /// Stores values under their keys, all or none, synced; an empty value forgets its key.
    pub fn set_metas(&mut self, values: &[(String, String)]) -> Result<(), StoreError> {
        let context = &self.context;
        let doing = |error| context.sqlite("store values", error);
        let transaction = self.connection.transaction().map_err(doing)?;
        values
            .iter()
            .try_for_each(|(key, value)| write::put_meta(&transaction, key, value))
            .and_then(|()| write::drop_empty_metas(&transaction))
            .map_err(doing)?;
        transaction.commit().map_err(doing)
    }

    /// Stores `value` under `key` with a line of audit, both or none, synced.
    pub fn set_meta_and_note(
        &mut self,
        key: &str,
        value: &str,
        audit: &Audit,
    ) -> Result<(), StoreError> {
        let context = &self.context;
        let doing = |error| context.sqlite("store a value", error);
        let transaction = self.connection.transaction().map_err(doing)?;
        write::put_meta(&transaction, key, value)
            .and_then(|()| write::put_audit(&transaction, audit))
            .map_err(doing)?;
        transaction.commit().map_err(doing)
    }

    /// Adds lines to the audit log, synced once.
    pub fn note(&mut self, audits: &[Audit]) -> Result<(), StoreError> {
        let context = &self.context;
        let doing = |error| context.sqlite("write the audit log", error);
        let transaction = self.connection.transaction().map_err(doing)?;
        audits
            .iter()
            .try_for_each(|audit| write::put_audit(&transaction, audit))
            .map_err(doing)?;
        transaction.commit().map_err(doing)
    }

    /// House-keeping off the operators' path: trims history and audit, and moves the log (`state.db-wal`) into the file.
    ///
    /// To be called when nobody waits, about once a minute. Without it SQLite does the latter inside some commit, when the
    /// log has grown large, and that commit is slow.
    pub fn maintain(&mut self) -> Result<(), StoreError> {
        let context = &self.context;
        let doing = |error| context.sqlite("trim the history", error);
        self.connection
            .execute(
                "DELETE FROM history WHERE id IN (
                     SELECT id FROM (
                         SELECT id, row_number() OVER (PARTITION BY service ORDER BY id DESC) AS age FROM history
                     ) WHERE age > ?1)",
                [HISTORY_PER_SERVICE],
            )
            .map_err(doing)?;
        self.connection
            .execute(
                "DELETE FROM audit WHERE id IN (
                     SELECT id FROM audit WHERE CASE WHEN json_valid(body) THEN json_extract(body, '$.refused') IS NOT NULL END
                     ORDER BY id DESC LIMIT -1 OFFSET ?1)",
                [REFUSED_ROWS],
            )
            .map_err(doing)?;
        self.connection
            .execute(
                "DELETE FROM audit WHERE id IN (SELECT id FROM audit ORDER BY id DESC LIMIT -1 OFFSET ?1)",
                [AUDIT_ROWS],
            )
            .map_err(doing)?;
        self.connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()))
            .map_err(|error| self.context.sqlite("checkpoint the log", error))
    }
}

/// Where the journal of `state_dir` is.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("state.db")
}

//! Changes: prepared, committed, discarded.

use rusqlite::Transaction;

use super::error::Context;
use super::record::{IdRecord, Prepared};
use super::{Store, StoreError, pending, split, write};

impl Store {
    /// Writes down what is about to be done. Once this returns, it is on disk.
    pub fn prepare(&mut self, change: &Prepared) -> Result<(), StoreError> {
        self.step("prepare a change")?;
        let context = &self.context;
        let doing = |error| context.sqlite("prepare a change", error);
        let transaction = self.connection.transaction().map_err(doing)?;
        refuse_pending(&transaction, context)?;
        pending::write(&transaction, change).map_err(doing)?;
        transaction.commit().map_err(doing)
    }

    /// Makes the prepared change the state of the record, in one transaction. Once this returns, it is on disk.
    ///
    /// Committing the change that was committed last does nothing: after an error this may be tried again.
    pub fn commit(&mut self, sequence: u64) -> Result<(), StoreError> {
        self.step("commit a change")?;
        let context = &self.context;
        let doing = |error| context.sqlite("commit a change", error);
        let transaction = self.connection.transaction().map_err(doing)?;
        let Some(change) = pending::read(&transaction).map_err(doing)? else {
            return match write::committed(&transaction).map_err(doing)? {
                Some(last) if last == sequence => Ok(()),
                _ => Err(StoreError::NotPending {
                    sequence,
                    pending: None,
                }),
            };
        };
        if change.sequence != sequence {
            return Err(StoreError::NotPending {
                sequence,
                pending: Some(change.sequence),
            });
        }
        write::apply(&transaction, &change)
            .and_then(|()| pending::clear(&transaction))
            .and_then(|()| write::set_committed(&transaction, sequence))
            .and_then(|()| split::sweep(&transaction))
            .map_err(doing)?;
        transaction.commit().map_err(doing)
    }

    /// The change that was prepared and neither committed nor discarded.
    pub fn pending(&self) -> Result<Option<Prepared>, StoreError> {
        pending::read(&self.connection)
            .map_err(|error| self.context.sqlite("read the pending change", error))
    }

    /// Forgets the prepared change: the flip was not made.
    pub fn discard(&mut self, sequence: u64) -> Result<(), StoreError> {
        self.step("discard a change")?;
        let context = &self.context;
        let doing = |error| context.sqlite("discard a change", error);
        let transaction = self.connection.transaction().map_err(doing)?;
        let pending = pending::sequence(&transaction).map_err(doing)?;
        if pending != Some(sequence) {
            return Err(StoreError::NotPending { sequence, pending });
        }
        pending::clear(&transaction)
            .and_then(|()| split::sweep(&transaction))
            .map_err(doing)?;
        transaction.commit().map_err(doing)
    }

    /// Makes a change that flips nothing (such as a backend's drain) the state of the record, in one transaction.
    ///
    /// The sequence goes into the history only; the selectors are not looked at.
    pub fn apply_now(&mut self, change: &Prepared) -> Result<(), StoreError> {
        self.step("record a change")?;
        let context = &self.context;
        let doing = |error| context.sqlite("record a change", error);
        let transaction = self.connection.transaction().map_err(doing)?;
        refuse_pending(&transaction, context)?;
        write::apply(&transaction, change)
            .and_then(|()| split::sweep(&transaction))
            .map_err(doing)?;
        transaction.commit().map_err(doing)
    }

    /// Replaces all records of numbers by `ids`: what a scan of the data plane at a restart found.
    pub fn replace_ids(&mut self, ids: &[IdRecord]) -> Result<(), StoreError> {
        self.step("record the numbers in use")?;
        let context = &self.context;
        let doing = |error| context.sqlite("record the numbers in use", error);
        let transaction = self.connection.transaction().map_err(doing)?;
        transaction
            .execute("DELETE FROM id", ())
            .and_then(|_| {
                ids.iter()
                    .try_for_each(|id| write::put_id(&transaction, id))
            })
            .map_err(doing)?;
        transaction.commit().map_err(doing)
    }

    /// The sequence of the change that was committed last.
    pub fn committed(&self) -> Result<Option<u64>, StoreError> {
        write::committed(&self.connection).map_err(|error| {
            self.context
                .sqlite("read the last committed sequence", error)
        })
    }
}

fn refuse_pending(transaction: &Transaction<'_>, context: &Context) -> Result<(), StoreError> {
    match pending::sequence(transaction)
        .map_err(|error| context.sqlite("look for a pending change", error))?
    {
        Some(sequence) => Err(StoreError::Pending { sequence }),
        None => Ok(()),
    }
}

//! Changes: prepared, committed, discarded.

use rusqlite::{Connection, OptionalExtension, Transaction};
use serde::{Deserialize, Serialize};

use super::error::{Context, damage};
use super::record::{AnchorRecord, Audit, IdRecord, Prepared, ServiceRecord};
use super::{Store, StoreError, check, split};

/// The part of a prepared change that is kept as JSON: everything but the slots, which are in `split`.
#[derive(Serialize, Deserialize)]
struct Body {
    services: Vec<StoredService>,
    deleted: Vec<String>,
    ids: Vec<IdRecord>,
    audit: Audit,
}

#[derive(Serialize, Deserialize)]
struct StoredService {
    name: String,
    generation: u64,
    data_plane_id: u16,
    spec_json: String,
    state_json: String,
    split: i64,
    current_index: u8,
    anchors: Vec<StoredAnchor>,
}

#[derive(Serialize, Deserialize)]
struct StoredAnchor {
    generation: u64,
    index: u8,
    split: i64,
    state_json: String,
}

impl Store {
    /// Writes down what is about to be done. Once this returns, it is on disk.
    pub fn prepare(&mut self, change: &Prepared) -> Result<(), StoreError> {
        let context = &self.context;
        let doing = |error| context.sqlite("prepare a change", error);
        let transaction = self.connection.transaction().map_err(doing)?;
        refuse_pending(&transaction, context)?;
        let body = body(&transaction, change).map_err(doing)?;
        let sum = check::pending(
            change.sequence,
            change.selector_before,
            change.selector_after,
            &body,
        );
        transaction
            .prepare_cached(
                "INSERT INTO pending(only, sequence, selector_before, selector_after, body, sum)
                 VALUES (1, ?1, ?2, ?3, ?4, ?5)",
            )
            .and_then(|mut insert| {
                insert.execute((
                    change.sequence.cast_signed(),
                    change.selector_before.cast_signed(),
                    change.selector_after.cast_signed(),
                    body,
                    sum,
                ))
            })
            .map_err(doing)?;
        transaction.commit().map_err(doing)
    }

    /// Makes the prepared change the state of the record, in one transaction. Once this returns, it is on disk.
    ///
    /// Committing the change that was committed last does nothing: after an error this may be tried again.
    pub fn commit(&mut self, sequence: u64) -> Result<(), StoreError> {
        let context = &self.context;
        let doing = |error| context.sqlite("commit a change", error);
        let transaction = self.connection.transaction().map_err(doing)?;
        let Some(change) = pending(&transaction).map_err(doing)? else {
            return match committed(&transaction).map_err(doing)? {
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
        apply(&transaction, &change)
            .and_then(|()| clear_pending(&transaction))
            .and_then(|()| set_committed(&transaction, sequence))
            .and_then(|()| split::sweep(&transaction))
            .map_err(doing)?;
        transaction.commit().map_err(doing)
    }

    /// The change that was prepared and neither committed nor discarded.
    pub fn pending(&self) -> Result<Option<Prepared>, StoreError> {
        pending(&self.connection)
            .map_err(|error| self.context.sqlite("read the pending change", error))
    }

    /// Forgets the prepared change: the flip was not made.
    pub fn discard(&mut self, sequence: u64) -> Result<(), StoreError> {
        let context = &self.context;
        let doing = |error| context.sqlite("discard a change", error);
        let transaction = self.connection.transaction().map_err(doing)?;
        let pending = pending_sequence(&transaction).map_err(doing)?;
        if pending != Some(sequence) {
            return Err(StoreError::NotPending { sequence, pending });
        }
        clear_pending(&transaction)
            .and_then(|()| split::sweep(&transaction))
            .map_err(doing)?;
        transaction.commit().map_err(doing)
    }

    /// Makes a change that flips nothing (such as a backend's drain) the state of the record, in one transaction.
    ///
    /// The sequence goes into the history only; the selectors are not looked at.
    pub fn apply_now(&mut self, change: &Prepared) -> Result<(), StoreError> {
        let context = &self.context;
        let doing = |error| context.sqlite("record a change", error);
        let transaction = self.connection.transaction().map_err(doing)?;
        refuse_pending(&transaction, context)?;
        apply(&transaction, change)
            .and_then(|()| split::sweep(&transaction))
            .map_err(doing)?;
        transaction.commit().map_err(doing)
    }

    /// Replaces all records of numbers by `ids`: what a scan of the data plane at a restart found.
    pub fn replace_ids(&mut self, ids: &[IdRecord]) -> Result<(), StoreError> {
        let context = &self.context;
        let doing = |error| context.sqlite("record the numbers in use", error);
        let transaction = self.connection.transaction().map_err(doing)?;
        transaction
            .execute("DELETE FROM id", ())
            .and_then(|_| ids.iter().try_for_each(|id| put_id(&transaction, id)))
            .map_err(doing)?;
        transaction.commit().map_err(doing)
    }

    /// The sequence of the change that was committed last.
    pub fn committed(&self) -> Result<Option<u64>, StoreError> {
        committed(&self.connection).map_err(|error| {
            self.context
                .sqlite("read the last committed sequence", error)
        })
    }
}

fn refuse_pending(transaction: &Transaction<'_>, context: &Context) -> Result<(), StoreError> {
    match pending_sequence(transaction)
        .map_err(|error| context.sqlite("look for a pending change", error))?
    {
        Some(sequence) => Err(StoreError::Pending { sequence }),
        None => Ok(()),
    }
}

fn pending_sequence(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT sequence FROM pending")?
        .query_row((), |row| row.get::<_, i64>(0))
        .map(i64::cast_unsigned)
        .optional()
}

fn clear_pending(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM pending")?
        .execute(())?;
    Ok(())
}

/// The pending change, slots and all.
pub(super) fn pending(connection: &Connection) -> rusqlite::Result<Option<Prepared>> {
    connection
        .prepare_cached("SELECT sequence, selector_before, selector_after, body, sum FROM pending")?
        .query_row((), |row| {
            let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            let (sequence, selector_before, selector_after) = (number(0)?, number(1)?, number(2)?);
            let body: String = row.get(3)?;
            if check::pending(sequence, selector_before, selector_after, &body)
                != row.get::<_, i64>(4)?
            {
                return Err(damage(
                    "the checksum of the pending change is wrong".to_owned(),
                ));
            }
            let body: Body = serde_json::from_str(&body)
                .map_err(|error| damage(format!("the pending change cannot be read: {error}")))?;
            let services = body
                .services
                .into_iter()
                .map(|service| service.load(connection));
            Ok(Prepared {
                sequence,
                selector_before,
                selector_after,
                services: services.collect::<Result<_, _>>()?,
                deleted: body.deleted,
                ids: body.ids,
                audit: body.audit,
            })
        })
        .optional()
}

impl StoredService {
    fn load(self, connection: &Connection) -> rusqlite::Result<ServiceRecord> {
        let anchors = self.anchors.into_iter().map(|anchor| {
            Ok(AnchorRecord {
                generation: anchor.generation,
                index: anchor.index,
                slots: split::load(connection, anchor.split)?.0,
                state_json: anchor.state_json,
            })
        });
        Ok(ServiceRecord {
            anchors: anchors.collect::<rusqlite::Result<_>>()?,
            current: split::load(connection, self.split)?.0,
            name: self.name,
            generation: self.generation,
            data_plane_id: self.data_plane_id,
            spec_json: self.spec_json,
            state_json: self.state_json,
            current_index: self.current_index,
        })
    }
}

fn body(connection: &Connection, change: &Prepared) -> rusqlite::Result<String> {
    let anchor = |anchor: &AnchorRecord| -> rusqlite::Result<StoredAnchor> {
        Ok(StoredAnchor {
            generation: anchor.generation,
            index: anchor.index,
            split: split::keep(connection, &anchor.slots)?.id,
            state_json: anchor.state_json.clone(),
        })
    };
    let service = |service: &ServiceRecord| -> rusqlite::Result<StoredService> {
        Ok(StoredService {
            name: service.name.clone(),
            generation: service.generation,
            data_plane_id: service.data_plane_id,
            spec_json: service.spec_json.clone(),
            state_json: service.state_json.clone(),
            split: split::keep(connection, &service.current)?.id,
            current_index: service.current_index,
            anchors: service
                .anchors
                .iter()
                .map(anchor)
                .collect::<Result<_, _>>()?,
        })
    };
    let body = Body {
        services: change
            .services
            .iter()
            .map(service)
            .collect::<Result<_, _>>()?,
        deleted: change.deleted.clone(),
        ids: change.ids.clone(),
        audit: change.audit.clone(),
    };
    to_json(&body)
}

fn to_json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn apply(connection: &Connection, change: &Prepared) -> rusqlite::Result<()> {
    let audit = to_json(&change.audit)?;
    for name in &change.deleted {
        connection
            .prepare_cached("DELETE FROM service WHERE name = ?1")?
            .execute([name])?;
        delete_anchors(connection, name)?;
    }
    for service in &change.services {
        put_service(connection, service)?;
        put_history(connection, change.sequence, service, &audit)?;
    }
    for id in &change.ids {
        put_id(connection, id)?;
    }
    connection
        .prepare_cached("INSERT INTO audit(body) VALUES (?1)")?
        .execute([audit])?;
    Ok(())
}

fn put_service(connection: &Connection, service: &ServiceRecord) -> rusqlite::Result<()> {
    let current = split::keep(connection, &service.current)?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO service(name, generation, data_plane_id, spec, state, current_index, split, sum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute((
            &service.name,
            service.generation.cast_signed(),
            service.data_plane_id,
            &service.spec_json,
            &service.state_json,
            service.current_index,
            current.id,
            check::service(service, current.sum),
        ))?;
    delete_anchors(connection, &service.name)?;
    for (position, anchor) in (0_i64..).zip(&service.anchors) {
        let slots = split::keep(connection, &anchor.slots)?;
        connection
            .prepare_cached(
                "INSERT INTO anchor(service, position, generation, table_index, state, split, sum)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute((
                &service.name,
                position,
                anchor.generation.cast_signed(),
                anchor.index,
                &anchor.state_json,
                slots.id,
                check::anchor(&service.name, anchor, slots.sum),
            ))?;
    }
    Ok(())
}

fn delete_anchors(connection: &Connection, service: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM anchor WHERE service = ?1")?
        .execute([service])?;
    Ok(())
}

fn put_history(
    connection: &Connection,
    sequence: u64,
    service: &ServiceRecord,
    audit: &str,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO history(sequence, service, generation, spec, state, audit) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((
            sequence.cast_signed(),
            &service.name,
            service.generation.cast_signed(),
            &service.spec_json,
            &service.state_json,
            audit,
        ))?;
    Ok(())
}

fn put_id(connection: &Connection, record: &IdRecord) -> rusqlite::Result<()> {
    if record.state == IdRecord::FREE {
        connection
            .prepare_cached("DELETE FROM id WHERE kind = ?1 AND id = ?2")?
            .execute((&record.kind, record.id))?;
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO id(kind, id, key, state, sum) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((
            &record.kind,
            record.id,
            &record.key_json,
            &record.state,
            check::id(record),
        ))?;
    Ok(())
}

fn set_committed(connection: &Connection, sequence: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO committed(only, sequence, sum) VALUES (1, ?1, ?2)")?
        .execute((sequence.cast_signed(), check::committed(sequence)))?;
    Ok(())
}

pub(super) fn committed(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT sequence, sum FROM committed")?
        .query_row((), |row| {
            let sequence = row.get::<_, i64>(0)?.cast_unsigned();
            if check::committed(sequence) != row.get::<_, i64>(1)? {
                return Err(damage(
                    "the checksum of the last committed sequence is wrong".to_owned(),
                ));
            }
            Ok(sequence)
        })
        .optional()
}

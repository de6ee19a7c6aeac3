//! Writing the record: what a commit does, within the caller's transaction.

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use super::error::damage;
use super::record::{Audit, IdRecord, Prepared, ServiceRecord};
use super::{check, split};

/// Makes `change` the state of the record, with a line of history for each service and one of audit.
pub(super) fn apply(connection: &Connection, change: &Prepared) -> rusqlite::Result<()> {
    let audit = to_json(&change.audit)?;
    for name in &change.deleted {
        connection
            .prepare_cached("DELETE FROM service WHERE name = ?1")?
            .execute([name])?;
        delete_anchors(connection, name)?;
    }
    for service in &change.services {
        put_service(connection, service)?;
        if !change.audit.is_step() {
            put_history(connection, change.sequence, service, &audit)?;
        }
    }
    for id in &change.ids {
        put_id(connection, id)?;
    }
    for (key, value) in &change.metas {
        put_meta(connection, key, value)?;
    }
    if change.audit.is_step() {
        return Ok(());
    }
    put_audit_body(connection, &audit)
}

/// Adds a line to the audit log.
pub(super) fn put_audit(connection: &Connection, audit: &Audit) -> rusqlite::Result<()> {
    put_audit_body(connection, &to_json(audit)?)
}

fn put_audit_body(connection: &Connection, body: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO audit(body) VALUES (?1)")?
        .execute([body])?;
    Ok(())
}

/// Stores a value under a key.
pub(super) fn put_meta(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO meta(key, value, sum) VALUES (?1, ?2, ?3)
             ON CONFLICT(key) DO UPDATE SET value = excluded.value, sum = excluded.sum",
        )?
        .execute((key, value, check::meta(key, value)))?;
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

/// Forgets keys without a value.
pub(super) fn drop_empty_metas(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM meta WHERE value = ''")?
        .execute(())?;
    Ok(())
}

/// Stores or frees a number.
pub(super) fn put_id(connection: &Connection, record: &IdRecord) -> rusqlite::Result<()> {
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

/// Notes the sequence of the change that is committed.
pub(super) fn set_committed(connection: &Connection, sequence: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO committed(only, sequence, sum) VALUES (1, ?1, ?2)")?
        .execute((sequence.cast_signed(), check::committed(sequence)))?;
    Ok(())
}

/// The sequence of the change that was committed last.
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

pub(super) fn to_json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

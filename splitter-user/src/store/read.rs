//! Reading the record, with every checksum looked at.

use rusqlite::{Connection, OptionalExtension, Row};

use super::error::damage;
use super::record::{AnchorRecord, Audit, AuditEntry, HistoryEntry, IdRecord, ServiceRecord};
use super::{Store, StoreError, check, pending, split, write};

impl Store {
    /// All services, by name.
    pub fn load_services(&self) -> Result<Vec<ServiceRecord>, StoreError> {
        services(&self.connection).map_err(|error| self.context.sqlite("read the services", error))
    }

    /// All numbers of the data plane that are in use or not yet free, by kind and number.
    pub fn load_ids(&self) -> Result<Vec<IdRecord>, StoreError> {
        ids(&self.connection).map_err(|error| self.context.sqlite("read the numbers in use", error))
    }

    /// The last `limit` changes of `service` (of all services if none is given), newest first.
    pub fn history(
        &self,
        service: Option<&str>,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        history(&self.connection, service, limit)
            .map_err(|error| self.context.sqlite("read the history", error))
    }

    /// The last `limit` changes, whatever they touched, newest first.
    pub fn audit(&self, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        audit(&self.connection, limit)
            .map_err(|error| self.context.sqlite("read the audit log", error))
    }
}

/// Reads everything that traffic depends on once, so that damage is found at the start and not in the middle of a change.
pub(super) fn verify(connection: &Connection) -> rusqlite::Result<()> {
    services(connection)?;
    ids(connection)?;
    pending::read(connection)?;
    write::committed(connection)?;
    let mut select = connection.prepare("SELECT key, value, sum FROM meta")?;
    let mut rows = select.query(())?;
    while let Some(row) = rows.next()? {
        let (key, value): (String, String) = (row.get(0)?, row.get(1)?);
        check_meta(&key, &value, row.get(2)?)?;
    }
    Ok(())
}

pub(super) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT value, sum FROM meta WHERE key = ?1")?
        .query_row([key], |row| {
            let value: String = row.get(0)?;
            check_meta(key, &value, row.get(1)?)?;
            Ok(value)
        })
        .optional()
}

pub(super) fn metas(
    connection: &Connection,
    prefix: &str,
) -> rusqlite::Result<Vec<(String, String)>> {
    let mut select = connection
        .prepare_cached("SELECT key, value, sum FROM meta WHERE substr(key, 1, length(?1)) = ?1")?;
    let rows = select.query_map([prefix], |row| {
        let (key, value): (String, String) = (row.get(0)?, row.get(1)?);
        check_meta(&key, &value, row.get(2)?)?;
        Ok((key, value))
    })?;
    rows.collect()
}

fn check_meta(key: &str, value: &str, sum: i64) -> rusqlite::Result<()> {
    expect(check::meta(key, value), sum, || format!("value \"{key}\""))
}

/// The checksum in the file has to be the one of the contents.
fn expect(computed: i64, stored: i64, of: impl FnOnce() -> String) -> rusqlite::Result<()> {
    if computed == stored {
        Ok(())
    } else {
        Err(damage(format!("the checksum of {} is wrong", of())))
    }
}

fn services(connection: &Connection) -> rusqlite::Result<Vec<ServiceRecord>> {
    let mut select = connection.prepare_cached(
        "SELECT name, generation, data_plane_id, spec, state, current_index, split, sum FROM service ORDER BY name",
    )?;
    let rows = select.query_map((), |row| {
        let name: String = row.get(0)?;
        let (current, split_sum) = split::load(connection, row.get(6)?)?;
        let record = ServiceRecord {
            generation: unsigned(row, 1)?,
            data_plane_id: row.get(2)?,
            spec_json: row.get(3)?,
            state_json: row.get(4)?,
            current,
            current_index: row.get(5)?,
            anchors: anchors(connection, &name)?,
            name,
        };
        let sum = check::service(&record, split_sum);
        expect(sum, row.get(7)?, || format!("service \"{}\"", record.name))?;
        Ok(record)
    })?;
    rows.collect()
}

fn anchors(connection: &Connection, service: &str) -> rusqlite::Result<Vec<AnchorRecord>> {
    let mut select = connection.prepare_cached(
        "SELECT generation, table_index, state, split, sum FROM anchor WHERE service = ?1 ORDER BY position",
    )?;
    let rows = select.query_map([service], |row| {
        let (slots, split_sum) = split::load(connection, row.get(3)?)?;
        let record = AnchorRecord {
            generation: unsigned(row, 0)?,
            index: row.get(1)?,
            slots,
            state_json: row.get(2)?,
        };
        let sum = check::anchor(service, &record, split_sum);
        expect(sum, row.get(4)?, || {
            format!("an anchor of service \"{service}\"")
        })?;
        Ok(record)
    })?;
    rows.collect()
}

fn ids(connection: &Connection) -> rusqlite::Result<Vec<IdRecord>> {
    let mut select =
        connection.prepare_cached("SELECT kind, id, key, state, sum FROM id ORDER BY kind, id")?;
    let rows = select.query_map((), |row| {
        let record = IdRecord {
            kind: row.get(0)?,
            id: row.get(1)?,
            key_json: row.get(2)?,
            state: row.get(3)?,
        };
        expect(check::id(&record), row.get(4)?, || {
            format!("{} {}", record.kind, record.id)
        })?;
        Ok(record)
    })?;
    rows.collect()
}

fn history(
    connection: &Connection,
    service: Option<&str>,
    limit: u32,
) -> rusqlite::Result<Vec<HistoryEntry>> {
    let mut select = connection.prepare_cached(
        "SELECT sequence, service, generation, audit FROM history
         WHERE ?1 IS NULL OR service = ?1 ORDER BY id DESC LIMIT ?2",
    )?;
    let rows = select.query_map((service, limit), |row| {
        let Some(audit) = readable(&row.get::<_, String>(3)?) else {
            return Ok(None);
        };
        Ok(Some(HistoryEntry {
            sequence: unsigned(row, 0)?,
            service: row.get(1)?,
            generation: unsigned(row, 2)?,
            audit,
        }))
    })?;
    rows.filter_map(Result::transpose).collect()
}

fn audit(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<AuditEntry>> {
    let mut select =
        connection.prepare_cached("SELECT id, body FROM audit ORDER BY id DESC LIMIT ?1")?;
    let rows = select.query_map([limit], |row| {
        let Some(audit) = readable(&row.get::<_, String>(1)?) else {
            return Ok(None);
        };
        let id = unsigned(row, 0)?;
        Ok(Some(AuditEntry { id, audit }))
    })?;
    rows.filter_map(Result::transpose).collect()
}

/// A line of the audit log. One that is damaged decides nothing: it is left out, and said.
fn readable(json: &str) -> Option<Audit> {
    serde_json::from_str(json)
        .inspect_err(|error| tracing::warn!(%error, "a line of the audit log cannot be read and is left out"))
        .ok()
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

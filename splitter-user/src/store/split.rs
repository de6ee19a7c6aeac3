//! Split tables, stored once each and found again by their sum.

use rusqlite::{Connection, OptionalExtension};

use super::check;
use super::error::damage;
use super::record::{SLOTS, Slots};

/// A stored split table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub id: i64,
    pub sum: i64,
}

/// The stored copy of `slots`, made if there is none yet.
pub(super) fn keep(connection: &Connection, slots: &[u8; SLOTS]) -> rusqlite::Result<Stored> {
    let sum = check::split(slots);
    let found = connection
        .prepare_cached("SELECT id FROM split WHERE sum = ?1 AND slots = ?2")?
        .query_row((sum, slots.as_slice()), |row| row.get(0))
        .optional()?;
    if let Some(id) = found {
        return Ok(Stored { id, sum });
    }
    connection
        .prepare_cached("INSERT INTO split(sum, slots) VALUES (?1, ?2)")?
        .execute((sum, slots.as_slice()))?;
    Ok(Stored {
        id: connection.last_insert_rowid(),
        sum,
    })
}

/// The stored table `id`, with its sum.
pub(super) fn load(connection: &Connection, id: i64) -> rusqlite::Result<(Slots, i64)> {
    let found = connection
        .prepare_cached("SELECT sum, slots FROM split WHERE id = ?1")?
        .query_row([id], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        })
        .optional()?;
    let (sum, slots) = found.ok_or_else(|| damage(format!("split table {id} is missing")))?;
    match Slots::try_from(slots) {
        Ok(slots) if check::split(slots.as_slice()) == sum => Ok((slots, sum)),
        _ => Err(damage(format!("the checksum of split table {id} is wrong"))),
    }
}

/// Drops the tables that no service and no anchor speaks of. Not to be called while a change is pending.
pub(super) fn sweep(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM split WHERE id NOT IN (SELECT split FROM service UNION ALL SELECT split FROM anchor)",
        )?
        .execute(())?;
    Ok(())
}

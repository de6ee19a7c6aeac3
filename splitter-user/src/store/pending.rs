//! The one change that is prepared and not committed.

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::error::damage;
use super::record::{AnchorRecord, Audit, IdRecord, Prepared, ServiceRecord};
use super::{check, split, write};

/// The part of a prepared change that is kept as JSON: everything but the slots, which are in `split`.
#[derive(Serialize, Deserialize)]
struct Body {
    services: Vec<StoredService>,
    deleted: Vec<String>,
    ids: Vec<IdRecord>,
    #[serde(default)]
    metas: Vec<(String, String)>,
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

/// Stores `change` as the pending one.
pub(super) fn write(connection: &Connection, change: &Prepared) -> rusqlite::Result<()> {
    let body = body(connection, change)?;
    let sum = check::pending(
        change.sequence,
        change.selector_before,
        change.selector_after,
        &body,
    );
    connection
        .prepare_cached(
            "INSERT INTO pending(only, sequence, selector_before, selector_after, body, sum)
             VALUES (1, ?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((
            change.sequence.cast_signed(),
            change.selector_before.cast_signed(),
            change.selector_after.cast_signed(),
            body,
            sum,
        ))?;
    Ok(())
}

/// The sequence of the pending change.
pub(super) fn sequence(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT sequence FROM pending")?
        .query_row((), |row| row.get::<_, i64>(0))
        .map(i64::cast_unsigned)
        .optional()
}

/// Forgets the pending change.
pub(super) fn clear(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM pending")?
        .execute(())?;
    Ok(())
}

/// The pending change, slots and all.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Option<Prepared>> {
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
                metas: body.metas,
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
        metas: change.metas.clone(),
        audit: change.audit.clone(),
    };
    write::to_json(&body)
}

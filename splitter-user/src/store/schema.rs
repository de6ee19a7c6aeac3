//! The tables of the journal.
//!
//! A split table is stored once, however many services, anchors and pending changes speak of it: an undo writes no slots
//! at all, and a commit none that the preparation did not write already.

/// The version of the schema, in `user_version`.
pub const VERSION: i64 = 1;

/// Marks the file as ours (`application_id`): "SPLT".
pub(super) const APPLICATION_ID: i64 = 0x5350_4c54;

/// Makes the tables of [`VERSION`]. Numbers of 64 bits are stored as SQLite's signed ones, bit for bit.
pub(super) const CREATE: &str = "
CREATE TABLE meta(
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    sum INTEGER NOT NULL
) STRICT;

CREATE TABLE split(
    id INTEGER PRIMARY KEY,
    sum INTEGER NOT NULL,
    slots BLOB NOT NULL CHECK (length(slots) = 65536)
) STRICT;
CREATE INDEX split_by_sum ON split(sum);

CREATE TABLE service(
    name TEXT PRIMARY KEY,
    generation INTEGER NOT NULL,
    data_plane_id INTEGER NOT NULL,
    spec TEXT NOT NULL,
    state TEXT NOT NULL,
    current_index INTEGER NOT NULL,
    split INTEGER NOT NULL,
    sum INTEGER NOT NULL
) STRICT;

CREATE TABLE anchor(
    service TEXT NOT NULL,
    position INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    table_index INTEGER NOT NULL,
    state TEXT NOT NULL,
    split INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (service, position)
) STRICT;

CREATE TABLE id(
    kind TEXT NOT NULL,
    id INTEGER NOT NULL,
    key TEXT NOT NULL,
    state TEXT NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;

CREATE TABLE pending(
    only INTEGER PRIMARY KEY CHECK (only = 1),
    sequence INTEGER NOT NULL,
    selector_before INTEGER NOT NULL,
    selector_after INTEGER NOT NULL,
    body TEXT NOT NULL,
    sum INTEGER NOT NULL
) STRICT;

CREATE TABLE audit(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE committed(
    only INTEGER PRIMARY KEY CHECK (only = 1),
    sequence INTEGER NOT NULL,
    sum INTEGER NOT NULL
) STRICT;

CREATE TABLE history(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sequence INTEGER NOT NULL,
    service TEXT NOT NULL,
    generation INTEGER NOT NULL,
    spec TEXT NOT NULL,
    state TEXT NOT NULL,
    audit TEXT NOT NULL
) STRICT;
CREATE INDEX history_by_service ON history(service, id);
";

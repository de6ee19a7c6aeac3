//! Making, opening and checking the file.
//!
//! SQLite takes an empty file for a new database, and a log (`-wal`) without its file for the log of whatever file comes
//! next. So a new database is made under another name and renamed when it is whole, and both cases are refused.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::error::Context;
use super::{StoreError, directory, read, schema};

/// Pages of the log beyond which a commit moves it into the file by itself: a backstop for [`super::Store::maintain`].
const LOG_PAGES: u32 = 8_192;
/// Bytes of SQLite's smallest page: what is shorter it takes for a new database.
const SMALLEST: u64 = 512;
const OPEN: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// Opens `path`, making it first if it is missing.
pub(super) fn file(path: &Path) -> Result<Connection, StoreError> {
    if directory::private_file(path)?.is_none() {
        refuse_log_alone(path)?;
        create(path)?;
    }
    open(path)
}

/// A database without a file.
pub(super) fn memory(context: &Context) -> Result<Connection, StoreError> {
    let sqlite = |error| context.sqlite("make a database", error);
    let connection = Connection::open_in_memory().map_err(sqlite)?;
    make_tables(&connection).map_err(sqlite)?;
    Ok(connection)
}

fn refuse_log_alone(path: &Path) -> Result<(), StoreError> {
    let wal = beside(path, "-wal");
    match fs::metadata(&wal) {
        Ok(metadata) if metadata.len() > 0 => Err(StoreError::LogWithoutFile {
            path: path.to_owned(),
            wal,
        }),
        _ => Ok(()),
    }
}

fn create(path: &Path) -> Result<(), StoreError> {
    let new = beside(path, ".new");
    let made = write_new(&new)
        .and_then(
            |()| match renameat_with(CWD, &new, CWD, path, RenameFlags::NOREPLACE) {
                // Another agent made one at the same time: the lock on it decides who goes on.
                Ok(()) | Err(Errno::EXIST) => Ok(()),
                Err(error) => Err(StoreError::io(path, "make", error.into())),
            },
        )
        .and_then(|()| match path.parent() {
            Some(parent) => directory::sync(parent),
            None => Ok(()),
        });
    remove_new(&new)?;
    made
}

fn write_new(new: &Path) -> Result<(), StoreError> {
    remove_new(new)?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(new)
        .map_err(|error| StoreError::io(new, "make", error))?;
    let context = Context::new(new.to_owned());
    let sqlite = |error| context.sqlite("make the tables", error);
    let connection = Connection::open_with_flags(new, OPEN).map_err(sqlite)?;
    configure(&connection).map_err(sqlite)?;
    make_tables(&connection).map_err(sqlite)?;
    connection.close().map_err(|(_, error)| sqlite(error))
}

fn remove_new(new: &Path) -> Result<(), StoreError> {
    for leftover in [new.to_owned(), beside(new, "-wal"), beside(new, "-journal")] {
        match fs::remove_file(&leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io(&leftover, "remove the leftover", error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    let context = Context::new(path.to_owned());
    let sqlite = |error| context.opening(error);
    let length = fs::metadata(path)
        .map_err(|error| StoreError::io(path, "look at", error))?
        .len();
    if length < SMALLEST {
        return Err(context.corrupt(format!("it ends after {length} bytes")));
    }
    let connection = Connection::open_with_flags(path, OPEN).map_err(sqlite)?;
    // SQLite falls back to reading by itself where it may not write.
    if connection.is_readonly("main").map_err(sqlite)? {
        return Err(context.read_only("open the journal"));
    }
    // Until the contents are known to be good, closing must not move the log into the file.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(sqlite)?;
    connection
        .pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))
        .map_err(sqlite)?;
    check_identity(&connection, &context)?;
    configure(&connection).map_err(sqlite)?;
    check_integrity(&connection, &context)?;
    read::verify(&connection).map_err(sqlite)?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map_err(sqlite)?;
    Ok(connection)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::ZERO)?;
    connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
    connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", LOG_PAGES, |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn make_tables(connection: &Connection) -> rusqlite::Result<()> {
    let whole = connection.unchecked_transaction()?;
    whole.execute_batch(schema::CREATE)?;
    whole.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    whole.pragma_update(None, "user_version", schema::VERSION)?;
    whole.commit()
}

fn check_identity(connection: &Connection, context: &Context) -> Result<(), StoreError> {
    let number = |name: &str| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(|error| context.opening(error))
    };
    let application = number("application_id")?;
    if application != schema::APPLICATION_ID {
        return Err(context.foreign(application));
    }
    match number("user_version")? {
        schema::VERSION => Ok(()),
        newer if newer > schema::VERSION => Err(context.newer(newer, schema::VERSION)),
        unknown => Err(context.corrupt(format!("schema version {unknown} never existed"))),
    }
}

fn check_integrity(connection: &Connection, context: &Context) -> Result<(), StoreError> {
    let answers = || -> rusqlite::Result<Vec<String>> {
        connection
            .prepare("PRAGMA integrity_check(3)")?
            .query_map((), |row| row.get(0))?
            .collect()
    };
    let answers = answers().map_err(|error| context.opening(error))?;
    match answers.as_slice() {
        [answer] if answer == "ok" => Ok(()),
        findings => Err(context.corrupt(findings.join("; "))),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

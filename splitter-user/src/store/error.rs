//! What can go wrong with the state directory, each with the way out.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rusqlite::types::Type;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another agent has it.
    #[error("{path} is in use by {}; stop that agent, or give this one another `state_dir`", holder(*.pid))]
    InUse {
        /// The journal.
        path: PathBuf,
        /// The process that has it, where the kernel tells.
        pid: Option<u32>,
    },
    /// The contents are damaged.
    #[error(
        "{path} is corrupt: {detail}. It was left as it is. Restore it from a backup (with {path}-wal, if there is one), \
         or begin anew, which cuts every flow: take the data plane away (splitterd --config FILE --detach), move both out of the \
         way (mv {path} {path}.corrupt; mv {path}-wal {path}-wal.corrupt), start the agent and apply your resources again"
    )]
    Corrupt {
        /// The journal.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// A later version of the agent wrote it.
    #[error(
        "{path} has schema version {found}, this splitterd knows versions up to {known}: a newer one wrote it. It was left \
         as it is. Run that newer splitterd, or restore a backup made before the upgrade"
    )]
    Newer {
        /// The journal.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The latest version known here.
        known: i64,
    },
    /// A database of some other program.
    #[error(
        "{path} is a database of another program (application id {found:#x}); give the agent another `state_dir`"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its application id.
        found: i64,
    },
    /// The log without the file it belongs to.
    #[error(
        "{wal} is there, but {path}, which it belongs to, is missing. Restore {path}, or, to begin anew, which cuts every \
         flow, take the data plane away (splitterd --config FILE --detach) and move {wal} out of the way (mv {wal} {wal}.old)"
    )]
    LogWithoutFile {
        /// The journal.
        path: PathBuf,
        /// Its log.
        wal: PathBuf,
    },
    /// Others than the owner could read or change it.
    #[error(
        "{path} has mode {mode:04o}, allowed is {allowed}: others could {danger} it; chmod {fix} {path}"
    )]
    Mode {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What is allowed.
        allowed: &'static str,
        /// What others could do.
        danger: &'static str,
        /// The argument of chmod that mends it.
        fix: &'static str,
    },
    /// Not a file, or not a directory.
    #[error(
        "{path} is not a {expected}; move it out of the way, or give the agent another `state_dir`"
    )]
    Kind {
        /// What is in the way.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// The secret has another length than it was made with.
    #[error(
        "{path} holds {length} bytes, a secret has 32. Restore it from a backup; or, if every client may meet another track \
         than before, move it out of the way (mv {path} {path}.bad): a new one is made at the next start"
    )]
    SecretLength {
        /// The secret's file.
        path: PathBuf,
        /// Its length.
        length: u64,
    },
    /// No room left.
    #[error(
        "cannot {action}: no space left for {path}; nothing was changed. Free some space and try again"
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
    },
    /// Not writable.
    #[error(
        "cannot {action}: {path} is read-only; nothing was changed. Remount its file system read-write"
    )]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
    },
    /// A change waits to be committed or discarded.
    #[error("change {sequence} is prepared and not yet committed; commit or discard it first")]
    Pending {
        /// Its sequence.
        sequence: u64,
    },
    /// The change to commit or discard is not the one that was prepared.
    #[error("change {sequence} is not prepared; {}", match .pending {
        Some(pending) => format!("{pending} is"),
        None => "no change is".to_owned(),
    })]
    NotPending {
        /// The sequence asked for.
        sequence: u64,
        /// The one that is prepared.
        pending: Option<u64>,
    },
    /// The system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("cannot {action} in {path}: {source}")]
    Sqlite {
        /// The journal.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// Why not.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Files the system's `source`, with full and read-only disks told apart.
    pub(super) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, action }
            }
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path, action },
            _ => Self::Io {
                path,
                action,
                source,
            },
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

/// The file that errors speak of.
#[derive(Debug)]
pub(super) struct Context {
    path: PathBuf,
}

impl Context {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn corrupt(&self, detail: impl Into<String>) -> StoreError {
        StoreError::Corrupt {
            path: self.path.clone(),
            detail: detail.into(),
        }
    }

    pub(super) fn newer(&self, found: i64, known: i64) -> StoreError {
        StoreError::Newer {
            path: self.path.clone(),
            found,
            known,
        }
    }

    pub(super) fn foreign(&self, found: i64) -> StoreError {
        StoreError::Foreign {
            path: self.path.clone(),
            found,
        }
    }

    pub(super) fn read_only(&self, action: &'static str) -> StoreError {
        StoreError::ReadOnly {
            path: self.path.clone(),
            action,
        }
    }

    /// As [`Self::sqlite`], while a file is opened: our own statements are right, so one that fails has met a damaged file.
    pub(super) fn opening(&self, source: rusqlite::Error) -> StoreError {
        match source.sqlite_error_code() {
            Some(ErrorCode::Unknown) => self.corrupt(source.to_string()),
            _ => self.sqlite("open the journal", source),
        }
    }

    /// Files an error of SQLite by what the operator can do about it.
    pub(super) fn sqlite(&self, action: &'static str, source: rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse {
                pid: crate::host::lock_holder(&path),
                path,
            },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt {
                path,
                detail: source.to_string(),
            },
            Some(ErrorCode::DiskFull) => StoreError::DiskFull { path, action },
            Some(ErrorCode::ReadOnly) => StoreError::ReadOnly { path, action },
            _ if is_damage(&source) => {
                let detail = match source {
                    rusqlite::Error::FromSqlConversionFailure(_, _, inner) => inner.to_string(),
                    source => source.to_string(),
                };
                StoreError::Corrupt { path, detail }
            }
            _ => StoreError::Sqlite {
                path,
                action,
                source,
            },
        }
    }
}

/// Damage that SQLite cannot see, on the way up through its results.
pub(super) fn damage(detail: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Null, detail.into())
}

/// A value of a type that our schema does not store there.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

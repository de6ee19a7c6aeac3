//! The state directory: made 0700 where it is missing, refused where others may write to it, and never altered.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use super::StoreError;

const OTHERS_WRITE: u32 = 0o022;
const OTHERS: u32 = 0o077;

/// Makes `path` if it is missing, and checks that nobody but its owner can swap files in it.
pub(super) fn ensure(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => StoreError::Kind {
                path: path.to_owned(),
                expected: "directory",
            },
            _ => StoreError::io(path, "make the state directory", error),
        })?;
    let metadata = fs::metadata(path).map_err(|error| StoreError::io(path, "look at", error))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS_WRITE != 0 {
        return Err(StoreError::Mode {
            path: path.to_owned(),
            mode,
            allowed: "0700 or 0755",
            danger: "swap the files in",
            fix: "0700",
        });
    }
    Ok(())
}

/// Checks that `path` is a plain file for its owner alone; none if there is no such file.
pub(super) fn private_file(path: &Path) -> Result<Option<Metadata>, StoreError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io(path, "look at", error)),
    };
    if !metadata.is_file() {
        return Err(StoreError::Kind {
            path: path.to_owned(),
            expected: "plain file",
        });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(StoreError::Mode {
            path: path.to_owned(),
            mode,
            allowed: "0600",
            danger: "read or change",
            fix: "0600",
        });
    }
    Ok(Some(metadata))
}

/// Makes the names in `path` durable.
pub(super) fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| StoreError::io(path, "sync the directory", error))
}

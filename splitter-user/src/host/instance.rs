//! One agent a name: a lock on a directory of the BPF file system, which holds no plain files but has inodes as others do.
//!
//! The lock is `flock`'s, on the open directory: it goes with the process however that ends, and no file of it is left
//! behind to be wrong about who runs. The holder's pid comes from the kernel (`/proc/locks`).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::HostError;
use super::locks::holder_of;

/// Attempts at locking a directory that others remove and make again meanwhile.
const ATTEMPTS: u32 = 16;

/// Locks the directory `path`, making it (0700) if it is missing. The lock lasts as long as what this returns.
///
/// The directory may be removed while it is locked (a detach does); it must not be renamed.
pub fn lock_instance(path: &Path) -> Result<File, HostError> {
    let failed = |action| {
        move |source| HostError::Io {
            path: path.to_owned(),
            action,
            source,
        }
    };
    for _ in 0..ATTEMPTS {
        let Some(directory) = open(path).map_err(failed("open the directory"))? else {
            continue;
        };
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let pid = directory
                    .metadata()
                    .ok()
                    .and_then(|metadata| holder_of(&metadata));
                return Err(HostError::Locked {
                    path: path.to_owned(),
                    pid,
                });
            }
            Err(error) => return Err(failed("lock")(error.into())),
        }
        if is_still(path, &directory).map_err(failed("look at"))? {
            return Ok(directory);
        }
    }
    Err(failed("lock")(io::Error::other(
        "it is removed and made again all the time",
    )))
}

/// The open directory; none if it was removed between making and opening it.
fn open(path: &Path) -> io::Result<Option<File>> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    match OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY)
        .open(path)
    {
        Ok(directory) => Ok(Some(directory)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether `path` still names what was locked: a lock on a removed directory keeps nobody out.
fn is_still(path: &Path, locked: &File) -> io::Result<bool> {
    let locked = locked.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (locked.dev(), locked.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

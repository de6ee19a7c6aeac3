//! The secret that keys the hashes of the data plane: with another one, clients meet other tracks.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{StoreError, directory};

const LENGTH: usize = 32;

/// The secret of `state_dir`, made from the kernel's random numbers if there is none yet (mode 0600).
///
/// It appears whole or not at all, and an existing one is never replaced.
pub fn secret(state_dir: &Path) -> Result<[u8; 32], StoreError> {
    directory::ensure(state_dir)?;
    let path = state_dir.join("secret");
    match read(&path)? {
        Some(secret) => Ok(secret),
        None => create(state_dir, &path),
    }
}

fn read(path: &Path) -> Result<Option<[u8; LENGTH]>, StoreError> {
    if directory::private_file(path)?.is_none() {
        return Ok(None);
    }
    let bytes = fs::read(path).map_err(|error| StoreError::io(path, "read", error))?;
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    <[u8; LENGTH]>::try_from(bytes)
        .map(Some)
        .map_err(|_| StoreError::SecretLength {
            path: path.to_owned(),
            length,
        })
}

fn create(state_dir: &Path, path: &Path) -> Result<[u8; LENGTH], StoreError> {
    let temporary = state_dir.join(format!("secret.new.{}", std::process::id()));
    let secret =
        random().map_err(|error| StoreError::io(path, "draw random numbers for", error))?;
    let named = write_new(&temporary, &secret)
        .map_err(|error| StoreError::io(path, "write", error))
        .and_then(|()| name(&temporary, path));
    match named {
        Ok(Named::Ours) => {
            directory::sync(state_dir)?;
            Ok(secret)
        }
        Ok(Named::TheirsCameFirst) => {
            remove(&temporary);
            read(path)?.ok_or_else(|| StoreError::io(path, "read", io::ErrorKind::NotFound.into()))
        }
        Err(error) => {
            remove(&temporary);
            Err(error)
        }
    }
}

enum Named {
    Ours,
    TheirsCameFirst,
}

fn name(temporary: &PathBuf, path: &Path) -> Result<Named, StoreError> {
    match renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(Named::Ours),
        Err(Errno::EXIST) => Ok(Named::TheirsCameFirst),
        Err(error) => Err(StoreError::io(path, "write", error.into())),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    remove(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes a temporary file that may not be there; what stays is overwritten by the next attempt.
fn remove(path: &Path) {
    drop(fs::remove_file(path));
}

fn random() -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0_u8; LENGTH];
    let mut filled = 0;
    while filled < LENGTH {
        let rest = &mut bytes[filled..];
        // SAFETY: `rest` is writable for the length given, and the kernel writes no more than that.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => filled += got,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(bytes)
}

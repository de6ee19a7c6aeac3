//! The BPF file system, where the pins live.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::HostError;

/// `BPF_FS_MAGIC` of linux/magic.h.
const MAGIC: u32 = 0xcafe_4a11;

/// How the BPF file system came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bpffs {
    /// It was mounted before.
    Found,
    /// It was mounted just now.
    Mounted,
}

/// Makes sure that `path` is (in) a BPF file system, mounting one there if it is missing. Never mounts over a directory
/// that holds anything.
pub fn ensure_bpffs(path: &Path) -> Result<Bpffs, HostError> {
    let failed = |action| {
        move |source| HostError::Io {
            path: path.to_owned(),
            action,
            source,
        }
    };
    fs::create_dir_all(path).map_err(failed("make the directory"))?;
    if is_bpffs(path)? {
        return Ok(Bpffs::Found);
    }
    if fs::read_dir(path)
        .map_err(failed("read the directory"))?
        .next()
        .is_some()
    {
        return Err(HostError::NotBpffs {
            path: path.to_owned(),
        });
    }
    mount(path).map_err(|source| HostError::Mount {
        path: path.to_owned(),
        source,
    })?;
    if is_bpffs(path)? {
        return Ok(Bpffs::Mounted);
    }
    Err(HostError::NotBpffs {
        path: path.to_owned(),
    })
}

/// Whether `path` is (in) a BPF file system.
pub fn is_bpffs(path: &Path) -> Result<bool, HostError> {
    let status = rustix::fs::statfs(path).map_err(|error| HostError::Io {
        path: path.to_owned(),
        action: "look at the file system of",
        source: error.into(),
    })?;
    // The type of the field differs between architectures; the magic has 32 bits in all of them.
    Ok(i128::from(status.f_type) & 0xffff_ffff == i128::from(MAGIC))
}

fn mount(path: &Path) -> io::Result<()> {
    let target = CString::new(path.as_os_str().as_bytes())?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RELATIME;
    // SAFETY: all pointers are to strings that end in zero and outlive the call.
    let mounted = unsafe {
        libc::mount(
            c"bpf".as_ptr(),
            target.as_ptr(),
            c"bpf".as_ptr(),
            flags,
            c"mode=0700".as_ptr().cast(),
        )
    };
    if mounted == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

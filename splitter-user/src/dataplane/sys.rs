//! System calls that neither aya nor rustix has.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_MAP_UPDATE_BATCH: libc::c_long = 26;
const BPF_LINK_DETACH: libc::c_long = 34;
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// `union bpf_attr` of the batch commands (include/uapi/linux/bpf.h).
#[repr(C, align(8))]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// `union bpf_attr` of the commands on one element.
#[repr(C, align(8))]
#[derive(Default)]
struct ElementAttr {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` of BPF_OBJ_GET.
#[repr(C, align(8))]
#[derive(Default)]
struct ObjectAttr {
    path: u64,
    fd: u32,
    flags: u32,
}

/// `union bpf_attr` of BPF_LINK_DETACH.
#[repr(C)]
#[derive(Default)]
struct LinkAttr {
    link_fd: u32,
}

fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is the kernel's structure for `command`, of the size given, and every pointer
    // in it outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attr),
            size_of::<T>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn descriptor(fd: BorrowedFd<'_>) -> u32 {
    u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX)
}

/// Puts `inner[i]` at `keys[i]` of an array of maps, for one grace period in all (kernel commit
/// aa2e93b8e58e: batch operations on arrays).
pub fn update_batch(map: impl AsFd, keys: &[u32], inner: &[BorrowedFd<'_>]) -> io::Result<()> {
    let values: Vec<u32> = inner.iter().map(|fd| descriptor(*fd)).collect();
    let mut attr = BatchAttr {
        keys: keys.as_ptr().addr() as u64,
        values: values.as_ptr().addr() as u64,
        count: u32::try_from(keys.len()).unwrap_or(u32::MAX),
        map_fd: descriptor(map.as_fd()),
        ..BatchAttr::default()
    };
    bpf(BPF_MAP_UPDATE_BATCH, &mut attr).map(drop)
}

/// Removes an element; one that is not there is no error.
pub fn delete(map: impl AsFd, key: u32) -> io::Result<()> {
    let mut attr = ElementAttr {
        map_fd: descriptor(map.as_fd()),
        key: std::ptr::from_ref(&key).addr() as u64,
        ..ElementAttr::default()
    };
    match bpf(BPF_MAP_DELETE_ELEM, &mut attr) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other.map(drop),
    }
}

/// Takes the program of a pinned link off its interface, now: what removing the pin alone would do
/// happens some time later.
pub fn detach_link(pin: &Path) -> io::Result<()> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let mut attr = ObjectAttr {
        path: path.as_ptr().addr() as u64,
        ..ObjectAttr::default()
    };
    let fd = bpf(BPF_OBJ_GET, &mut attr)?;
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just given it to nobody else.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut attr = LinkAttr {
        link_fd: descriptor(link.as_fd()),
    };
    bpf(BPF_LINK_DETACH, &mut attr).map(drop)
}

/// Waits for an RCU grace period: every XDP program that runs now has then ended
/// (kernel/sched/membarrier.c, MEMBARRIER_CMD_GLOBAL).
pub fn grace_period() -> io::Result<()> {
    // SAFETY: a system call without pointers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

//! System calls that neither aya nor rustix has.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_MAP_UPDATE_BATCH: libc::c_long = 26;
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

fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<()> {
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
        Ok(())
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
    bpf(BPF_MAP_UPDATE_BATCH, &mut attr)
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
        other => other,
    }
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

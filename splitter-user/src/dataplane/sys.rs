//! System calls that neither aya nor rustix has.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_BTF_LOAD: libc::c_long = 18;
const BPF_MAP_UPDATE_BATCH: libc::c_long = 26;
const BPF_LINK_DETACH: libc::c_long = 34;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_F_MMAPABLE: u32 = 1 << 10;
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

/// `union bpf_attr` of BPF_BTF_LOAD.
#[repr(C, align(8))]
#[derive(Default)]
struct TypesAttr {
    types: u64,
    log: u64,
    size: u32,
    log_size: u32,
    log_level: u32,
    padding: u32,
}

/// `union bpf_attr` of BPF_MAP_CREATE, as far as a typed array needs it.
#[repr(C, align(8))]
#[derive(Default)]
struct MapAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    name: [u8; 16],
    ifindex: u32,
    types_fd: u32,
    key_type: u32,
    value_type: u32,
    padding: u32,
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

/// The descriptor that a command gave back.
fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just given it to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn descriptor(fd: BorrowedFd<'_>) -> u32 {
    u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX)
}

/// Tells the kernel types, in its own format (Documentation/bpf/btf.rst).
pub fn load_types(types: &[u8]) -> io::Result<OwnedFd> {
    let mut attr = TypesAttr {
        types: types.as_ptr().addr() as u64,
        size: u32::try_from(types.len()).unwrap_or(u32::MAX),
        ..TypesAttr::default()
    };
    owned(bpf(BPF_BTF_LOAD, &mut attr)?)
}

/// A fresh, mappable array, whose key and value have these types of `types`.
pub fn create_array(
    value_size: u32,
    entries: u32,
    types: impl AsFd,
    [key_type, value_type]: [u32; 2],
) -> io::Result<OwnedFd> {
    let mut name = [0; 16];
    name[..5].copy_from_slice(b"table");
    let mut attr = MapAttr {
        map_type: BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size,
        max_entries: entries,
        flags: BPF_F_MMAPABLE,
        name,
        types_fd: descriptor(types.as_fd()),
        key_type,
        value_type,
        ..MapAttr::default()
    };
    owned(bpf(BPF_MAP_CREATE, &mut attr)?)
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
    let link = owned(bpf(BPF_OBJ_GET, &mut attr)?)?;
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

//! Maps in this process's memory: typed access to what the program reads and writes at the same time.

use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// An array of `T`, shared with the kernel's program, or private memory in its stead.
///
/// `T` is one of the plain types of `splitter_ebpf::abi`: any bytes are a valid value.
#[derive(Debug)]
pub struct Mapping<T> {
    memory: NonNull<T>,
    entries: usize,
    bytes: usize,
    plain: PhantomData<T>,
}

// SAFETY: the memory is shared with other CPUs by nature; every access goes through volatile copies
// or atomics.
unsafe impl<T: Send> Send for Mapping<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Mapping<T> {}

impl<T: Copy> Mapping<T> {
    const STRIDE_IS_THE_KERNELS: () =
        assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() <= 8);

    /// Maps `entries` values of a `BPF_F_MMAPABLE` array.
    ///
    /// # Errors
    /// What `mmap` says.
    pub fn of_map(fd: impl AsFd, entries: usize) -> io::Result<Self> {
        let bytes = Self::bytes(entries);
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let memory = unsafe {
            mmap(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                fd,
                0,
            )?
        };
        Self::new(memory, entries, bytes)
    }

    /// Zeroed memory of this process alone.
    ///
    /// # Errors
    /// What `mmap` says.
    pub fn private(entries: usize) -> io::Result<Self> {
        let bytes = Self::bytes(entries);
        // SAFETY: as above.
        let memory = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )?
        };
        Self::new(memory, entries, bytes)
    }

    const fn bytes(entries: usize) -> usize {
        let () = Self::STRIDE_IS_THE_KERNELS;
        (entries * size_of::<T>()).next_multiple_of(4096)
    }

    fn new(memory: *mut core::ffi::c_void, entries: usize, bytes: usize) -> io::Result<Self> {
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self {
            memory,
            entries,
            bytes,
            plain: PhantomData,
        })
    }

    /// Values in the array.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries
    }

    /// Whether the array holds no value.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The address of a value.
    ///
    /// # Panics
    /// If `index` is out of range: ids come from tables of the same size.
    #[must_use]
    pub fn pointer(&self, index: usize) -> *mut T {
        assert!(
            index < self.entries,
            "index {index} of a map with {} entries",
            self.entries
        );
        // SAFETY: within the mapping, by the assertion.
        unsafe { self.memory.as_ptr().add(index) }
    }

    /// A copy of a value. Others may be writing it; whoever needs it whole reads one word of it.
    #[must_use]
    pub fn read(&self, index: usize) -> T {
        // SAFETY: a valid, aligned address; any bytes are a valid value.
        unsafe { self.pointer(index).read_volatile() }
    }

    /// Stores a value, not as a whole: for places that nobody reads yet.
    pub fn write(&self, index: usize, value: T) {
        // SAFETY: as for `read`.
        unsafe { self.pointer(index).write_volatile(value) }
    }

    /// The 64-bit word at `offset` bytes into a value, for one aligned load, store or exchange.
    ///
    /// # Panics
    /// If the word lies outside the value or is not aligned.
    #[must_use]
    pub fn word(&self, index: usize, offset: usize) -> &AtomicU64 {
        assert!(
            offset.is_multiple_of(8) && offset + 8 <= size_of::<T>(),
            "no word at offset {offset}"
        );
        // SAFETY: aligned and inside the value; the mapping lives as long as `self`.
        unsafe { AtomicU64::from_ptr(self.pointer(index).cast::<u8>().add(offset).cast()) }
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no reference to it outlives it. A failure
        // leaves it mapped, which harms nobody.
        unsafe {
            let _unmapped = munmap(self.memory.as_ptr().cast(), self.bytes);
        }
    }
}

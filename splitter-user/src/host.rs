//! What this host offers: kernel, privileges, the BPF file system, and who else runs here.

mod locks;

pub(crate) use self::locks::lock_holder;

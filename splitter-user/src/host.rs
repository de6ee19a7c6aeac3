//! What this host offers: kernel, privileges, the BPF file system, and whether another agent runs.

mod bpffs;
mod error;
mod instance;
mod kernel;
mod least;
mod locks;
mod ports;
mod privileges;
#[cfg(test)]
mod tests;
mod users;

pub use self::bpffs::{Bpffs, ensure_bpffs, is_bpffs};
pub use self::error::HostError;
pub use self::instance::lock_instance;
pub use self::kernel::{OLDEST_KERNEL, check_kernel, kernel_release};
pub use self::least::keep_least_privileges;
pub use self::ports::{local_ports, overlap};
pub use self::privileges::{check_privileges, missing_capabilities};

pub use self::users::user_name;

pub(crate) use self::locks::lock_holder;

//! What a host can lack, each with the way out.

use std::io;
use std::path::PathBuf;

/// Why the agent cannot run here.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The kernel is too old.
    #[error("the kernel is {release}, splitterd needs {}.{} or newer; boot a newer kernel", super::OLDEST_KERNEL.0, super::OLDEST_KERNEL.1)]
    OldKernel {
        /// As `uname -r` says it.
        release: String,
    },
    /// The kernel's version is not to be understood.
    #[error("the kernel calls itself \"{release}\", which is no version number; splitterd needs {}.{} or newer", super::OLDEST_KERNEL.0, super::OLDEST_KERNEL.1)]
    OddKernel {
        /// As `uname -r` says it.
        release: String,
    },
    /// Privileges are missing.
    #[error("missing privileges: {}; run as root or with CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_NET_RAW", .missing.join(", "))]
    Privileges {
        /// The names of the capabilities.
        missing: Vec<&'static str>,
    },
    /// What is not needed cannot be given up.
    #[error(
        "cannot {action} at the start: {source}; the agent does not run with more privileges than it needs"
    )]
    Drop {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The directory holds other things than a BPF file system.
    #[error(
        "{path} is no BPF file system and not empty, so none is mounted over it; correct `bpffs` in the configuration (usually /sys/fs/bpf)"
    )]
    NotBpffs {
        /// The directory.
        path: PathBuf,
    },
    /// The BPF file system cannot be mounted.
    #[error(
        "{path} is no BPF file system, and mounting one there failed: {source}; as root: mount -t bpf bpf {path}"
    )]
    Mount {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another agent of that name runs.
    #[error("{path} is locked by {}: an agent of this name runs already. Stop it, or give this one another `name`", holder(*.pid))]
    Locked {
        /// What is locked.
        path: PathBuf,
        /// The process that has the lock, where the kernel tells.
        pid: Option<u32>,
    },
    /// The system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

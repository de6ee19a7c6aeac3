//! Carries out a change.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::change::Change;
use crate::decap::{DecapError, Pinned, Wanted};

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A kernel parameter.
    #[error("cannot write {value} to {path}: {source}; run as root")]
    Setting {
        /// The file.
        path: PathBuf,
        /// The value.
        value: i64,
        /// What the system said.
        source: io::Error,
    },
    /// A program is missing.
    #[error("cannot run {program}: {source}; install iproute2")]
    Run {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It did not do it.
    #[error("`{command}` failed: {message}{hint}")]
    Command {
        /// The command line.
        command: String,
        /// What it said.
        message: String,
        /// What helps.
        hint: &'static str,
    },
    /// The decapsulator.
    #[error(transparent)]
    Decapsulator(#[from] DecapError),
}

/// Makes a change of this host.
///
/// # Errors
/// [`ApplyError`].
pub fn apply(change: &Change) -> Result<(), ApplyError> {
    match change {
        Change::Setting { key, to, .. } => {
            let path = path_of(key);
            std::fs::write(&path, to.to_string()).map_err(|source| ApplyError::Setting {
                path,
                value: *to,
                source,
            })
        }
        Change::Address { .. } | Change::Route { .. } | Change::Tunnel { .. } => change
            .commands()
            .iter()
            .try_for_each(|words| run(words, hint(change))),
        Change::Decapsulator {
            bpffs,
            name,
            present: false,
            ..
        } => Ok(Pinned::new(bpffs, name).remove()?),
        Change::Decapsulator {
            interface,
            vips,
            sources,
            addresses,
            mode,
            bpffs,
            name,
            present: true,
        } => {
            let wanted = Wanted {
                interfaces: vec![interface.clone()],
                vips: vips.clone(),
                sources: sources.clone(),
                addresses: addresses.clone(),
                mode: (*mode).into(),
                bpffs: bpffs.clone(),
                name: name.clone(),
            };
            // It stays when the lock goes.
            Ok(wanted.attach().map(drop)?)
        }
    }
}

const fn hint(change: &Change) -> &'static str {
    match change {
        Change::Tunnel { present: true, .. } => {
            "; where the kernel has no such device, --decapsulation xdp does without"
        }
        _ => "",
    }
}

/// Dots part a parameter's name, and stand for slashes in an interface's.
fn path_of(key: &str) -> PathBuf {
    let path: String = key
        .chars()
        .map(|character| match character {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect();
    Path::new("/proc/sys").join(path)
}

fn run(words: &[String], hint: &'static str) -> Result<(), ApplyError> {
    let Some((program, arguments)) = words.split_first() else {
        return Ok(());
    };
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|source| ApplyError::Run {
            program: program.clone(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    Err(ApplyError::Command {
        command: words.join(" "),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        hint,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_with_a_dot_in_its_name_has_its_own_parameter() {
        assert_eq!(
            path_of("net.ipv4.conf.eth0/100.rp_filter"),
            Path::new("/proc/sys/net/ipv4/conf/eth0.100/rp_filter")
        );
    }
}

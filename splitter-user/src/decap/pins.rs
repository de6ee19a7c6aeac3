//! What keeps the decapsulator attached without a process, and what takes it away.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use aya::maps::MapError;

use super::object::{CONFIG, COUNTERS, Program, pinned_counters, pinned_rules};
use super::{Rules, RulesError};
use crate::host::{self, HostError};
use crate::interface::InterfaceError;
use crate::loader::{
    AttachError, Attached, LoadError, Mode, attach_program, end_link, pin_name, pinned_program,
};

/// Why the decapsulator does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DecapError {
    /// The host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The rules.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The program.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An interface.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The interfaces or addresses cannot be listed.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// A pin.
    #[error("cannot {action} {path}: {message}")]
    Pin {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// There is nothing.
    #[error(
        "no decapsulator is attached: {} does not exist; one with another --name or --bpffs is asked for with those", .0.display()
    )]
    NotAttached(PathBuf),
    /// Anything else the system refuses.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// The pins of one decapsulator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    root: PathBuf,
}

impl Pinned {
    /// The pins of the instance `name`.
    #[must_use]
    pub fn new(bpffs: &Path, name: &str) -> Self {
        Self {
            root: bpffs.join(pin_name(name)),
        }
    }

    /// Where links are pinned.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    fn config(&self) -> PathBuf {
        self.root.join("maps").join(CONFIG)
    }

    fn counters(&self) -> PathBuf {
        self.root.join("maps").join(COUNTERS)
    }

    /// Keeps other processes of this name out for as long as what is returned lives.
    ///
    /// # Errors
    /// [`HostError`], [`HostError::Locked`] among them.
    pub fn lock(&self) -> Result<File, HostError> {
        host::lock_instance(&self.root)
    }

    /// Whether a decapsulator of this name is attached.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.config().exists()
    }

    /// The rules in force, none if no decapsulator is attached.
    #[must_use]
    pub fn rules(&self) -> Option<Rules> {
        pinned_rules(&self.config()).ok()
    }

    /// Whether a process of this name runs.
    #[must_use]
    pub fn is_looked_after(&self) -> bool {
        host::lock_holder(&self.root).is_some()
    }

    /// The program that is attached to `interface`, by number.
    #[must_use]
    pub fn program_on(&self, interface: &str) -> Option<u32> {
        pinned_program(&self.links().join(pin_name(interface)))
    }

    /// What was counted since the decapsulator was first attached.
    ///
    /// # Errors
    /// [`DecapError::NotAttached`], or what the kernel says.
    pub fn counted(&self) -> Result<splitter_ebpf::decap::Counters, DecapError> {
        if !self.exist() {
            return Err(DecapError::NotAttached(self.root.clone()));
        }
        let path = self.counters();
        pinned_counters(&path).map_err(|error| pin("read", &path, &error))
    }

    /// Puts `rules` in force on exactly these interfaces: where a decapsulator of this name is attached
    /// already it is replaced between two packets, and goes on counting.
    ///
    /// # Errors
    /// [`DecapError`]; what was attached before stays as it was, but for interfaces that were changed
    /// before one failed. A first attempt that fails leaves nothing.
    pub fn put(
        &self,
        rules: &Rules,
        interfaces: &[String],
        mode: Mode,
    ) -> Result<Vec<Attached>, DecapError> {
        let first = !self.exist();
        let outcome = self.try_put(rules, interfaces, mode);
        if first && outcome.is_err() {
            // The first error is the one to tell.
            let _scrapped = self.scrap();
        }
        outcome
    }

    fn try_put(
        &self,
        rules: &Rules,
        interfaces: &[String],
        mode: Mode,
    ) -> Result<Vec<Attached>, DecapError> {
        for directory in ["maps", "links"] {
            let path = self.root.join(directory);
            fs::create_dir_all(&path).map_err(|error| pin("make", &path, &error))?;
        }
        let counters = self.counters();
        // Another version's may have another size.
        if counters.exists() && pinned_counters(&counters).is_err() {
            remove_file(&counters)?;
        }
        let mut program = Program::load(rules, Some(&counters))?;
        let attached = attach_program(program.xdp()?, &self.links(), interfaces, mode)?;
        self.pin_config(&mut program)?;
        Ok(attached)
    }

    /// The old pin is there until the new one takes its name.
    fn pin_config(&self, program: &mut Program) -> Result<(), DecapError> {
        let (path, fresh) = (self.config(), self.root.join("maps").join("config-new"));
        if fresh.exists() {
            remove_file(&fresh)?;
        }
        program
            .take_config()?
            .pin(&fresh)
            .map_err(|error| pin("pin", &fresh, &error))?;
        fs::rename(&fresh, &path).map_err(|error| pin("rename", &fresh, &error))
    }

    /// Takes the program off every interface, and all pins away.
    ///
    /// # Errors
    /// [`DecapError::NotAttached`]; [`HostError::Locked`] while a process of this name runs; what the
    /// system says.
    pub fn remove(&self) -> Result<(), DecapError> {
        if !self.root.exists() {
            return Err(DecapError::NotAttached(self.root.clone()));
        }
        let lock = self.lock()?;
        self.scrap()?;
        drop(lock);
        Ok(())
    }

    fn scrap(&self) -> Result<(), DecapError> {
        for link in fs::read_dir(self.links()).into_iter().flatten().flatten() {
            end_link(&link.path()).map_err(|error| pin("remove", &link.path(), &error))?;
        }
        fs::remove_dir_all(&self.root).map_err(|error| pin("remove", &self.root, &error))
    }
}

fn remove_file(path: &Path) -> Result<(), DecapError> {
    fs::remove_file(path).map_err(|error| pin("remove", path, &error))
}

fn pin(action: &'static str, path: &Path, error: &dyn std::error::Error) -> DecapError {
    DecapError::Pin {
        action,
        path: path.to_owned(),
        message: error.to_string(),
    }
}

impl From<MapError> for DecapError {
    fn from(error: MapError) -> Self {
        Self::Load(error.into())
    }
}

//! Directories and names that belong to one guard of one process.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::cleanup::{Debt, Owed};

/// What every name of the lab starts with; behind it comes the id of the process that owns it.
pub(crate) const PREFIX: &str = "spl-";

/// A name that no other guard of any living process has: `spl-<pid>-<n>-<what>`.
pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{number}-{what}", std::process::id())
}

/// A directory of its own, removed with all it holds on drop.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _owed: Owed,
}

impl Scratch {
    /// Makes an empty directory below the system's one for temporary files.
    pub fn new(what: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(unique(what));
        let owed = Owed::new(Debt::Directory(path.clone()));
        std::fs::create_dir(&path)
            .with_context(|| format!("cannot make the directory {}", path.display()))?;
        Ok(Self { path, _owed: owed })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` inside it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes the file `name` inside it and returns its path.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.join(name);
        std::fs::write(&path, content)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

//! Pins under the BPF file system: what keeps the data plane running without the agent.
//!
//! ```text
//! <bpffs>/NAME/           locked by the agent that runs
//!   pins/maps/CONTROL...  complete from the moment the directory has this name
//!   pins/links/eth0...    one for each interface
//! ```

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use aya::maps::{MapData, MapError};
use splitter_ebpf::abi::Meta;

use super::layout::Layout;
use super::links::end_link;
use super::object::{LoadError, edition, load, load_over};
use crate::dataplane::kernel::Kernel;
use crate::dataplane::mapping::Mapping;

/// A name as the BPF file system takes it: it reserves dots (kernel commit 6d8cb045cde6), which names
/// of interfaces and instances may have; a colon stands for each.
#[must_use]
pub fn pin_name(name: &str) -> String {
    name.replace('.', ":")
}

/// The pins of one instance.
#[derive(Debug, Clone)]
pub struct Pins {
    root: PathBuf,
}

/// Why pinned maps cannot be taken over, or fresh ones not pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// A directory.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another version made them.
    #[error(
        "the maps pinned in {path} have layout version {found}, this agent knows {known}: start the agent that made \
         them, or run `splitterd --config FILE --detach`, which cuts every flow"
    )]
    Version {
        /// Where.
        path: PathBuf,
        /// Their version.
        found: u32,
        /// This agent's.
        known: u32,
    },
    /// They are keyed with another secret.
    #[error(
        "the maps pinned in {path} were keyed with another secret than the one in state_dir: put the right state_dir \
         back, or run `splitterd --config FILE --detach`, which cuts every flow"
    )]
    Secret {
        /// Where.
        path: PathBuf,
    },
    /// The program or its maps.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A map.
    #[error("cannot read the maps pinned in {path}: {source}")]
    Map {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        source: MapError,
    },
}

/// The data plane, and whether it ran already.
pub struct Opened {
    /// The data plane.
    pub kernel: Kernel,
    /// Its maps were pinned by an agent before this one.
    pub adopted: bool,
}

impl Pins {
    /// The pins of the instance `name`.
    #[must_use]
    pub fn new(bpffs: &Path, name: &str) -> Self {
        Self {
            root: bpffs.join(pin_name(name)),
        }
    }

    /// The instance's own directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn directory(&self) -> PathBuf {
        self.root.join("pins")
    }

    /// Where links are pinned.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.directory().join("links")
    }

    /// Whether there is a data plane to take over.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.directory().join("maps").exists()
    }

    /// Takes over the pinned data plane with whatever it holds, or makes an empty one.
    ///
    /// # Errors
    /// [`PinError`]; what was pinned is untouched then.
    pub fn open(&self, wanted: Layout, secret: &[u8; 32]) -> Result<Opened, PinError> {
        if self.exist() {
            let maps = self.directory().join("maps");
            let layout = self.pinned_layout(&maps, secret)?;
            let kernel = Kernel::new(load_over(layout, secret, &maps)?, secret)?;
            return Ok(Opened {
                kernel,
                adopted: true,
            });
        }
        let fresh = self.root.join("pins-new");
        scrap_pins(&fresh)?;
        let maps = fresh.join("maps");
        make(&fresh)?;
        make(&maps)?;
        make(&fresh.join("links"))?;
        let kernel = Kernel::new(load(wanted, secret, Some(&maps))?, secret)?;
        fs::rename(&fresh, self.directory()).map_err(io_error("rename", &fresh))?;
        Ok(Opened {
            kernel,
            adopted: false,
        })
    }

    fn pinned_layout(&self, maps: &Path, secret: &[u8; 32]) -> Result<Layout, PinError> {
        let failed = |source| PinError::Map {
            path: maps.to_owned(),
            source,
        };
        let meta = MapData::from_pin(maps.join("META")).map_err(failed)?;
        let meta: Meta = Mapping::of_map(meta.fd().as_fd(), 1)
            .map_err(|e| failed(MapError::IoError(e)))?
            .read(0);
        let (_, known) = edition();
        if meta.abi_version != known {
            return Err(PinError::Version {
                path: maps.to_owned(),
                found: meta.abi_version,
                known,
            });
        }
        let entries = |name| -> Result<u32, PinError> {
            let map = MapData::from_pin(maps.join(name)).map_err(failed)?;
            Ok(map.info().map_err(failed)?.max_entries())
        };
        let layout = Layout {
            services: entries("SPLITS")? - 1,
            backends: entries("BACKENDS")? - 1,
            listeners: entries("LISTENERS")? - 1,
            replies: entries("REPLIES")?,
            endpoint_buckets: meta.endpoint_buckets,
            flow_buckets: meta.flow_buckets,
        };
        if layout.meta(secret, meta.tick_shift) != meta {
            return Err(PinError::Secret {
                path: maps.to_owned(),
            });
        }
        Ok(layout)
    }

    /// Removes every pin: the program leaves the interfaces and all flows are forgotten.
    ///
    /// # Errors
    /// [`PinError::Io`].
    pub fn remove(&self) -> Result<(), PinError> {
        // In one step to the name under which nobody takes anything over: killed half-way, the next
        // start clears the rest away.
        let scrap = self.root.join("pins-new");
        scrap_pins(&scrap)?;
        match fs::rename(self.directory(), &scrap) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("rename", &self.directory())(error));
            }
            _ => {}
        }
        scrap_pins(&scrap)?;
        remove_tree(&self.root)
    }
}

/// Removes what was half made or half removed. Links first: no packet may meet a program whose maps
/// are going.
fn scrap_pins(scrap: &Path) -> Result<(), PinError> {
    let links = scrap.join("links");
    for link in fs::read_dir(&links).into_iter().flatten().flatten() {
        end_link(&link.path()).map_err(io_error("remove", &link.path()))?;
    }
    remove_tree(scrap)
}

fn io_error<'p>(action: &'static str, path: &'p Path) -> impl Fn(io::Error) -> PinError + 'p {
    move |source| PinError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn make(path: &Path) -> Result<(), PinError> {
    fs::create_dir(path).map_err(io_error("make", path))
}

fn remove_tree(path: &Path) -> Result<(), PinError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove", path)(error))
        }
        _ => Ok(()),
    }
}

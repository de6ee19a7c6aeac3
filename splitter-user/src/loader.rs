//! The XDP program: into the kernel, its maps pinned, its links on the interfaces.

mod layout;
mod object;

pub use layout::{Keys, Layout, TickRate};
pub use object::{LoadError, Loaded, MAPS, load, load_object, read_clock};

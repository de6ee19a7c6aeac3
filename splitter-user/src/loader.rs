//! The XDP program: into the kernel, its maps pinned, its links on the interfaces.

mod attach;
mod layout;
mod object;
mod pins;

pub use attach::{AttachError, Attached, Mode, attach};
pub use layout::{Keys, Layout, TickRate};
pub use object::{LoadError, Loaded, MAPS, load, load_at_rate, load_object, read_clock};
pub use pins::{Opened, PinError, Pins};

//! The XDP program: into the kernel, its maps pinned, its links on the interfaces.

mod attach;
mod layout;
mod links;
mod object;
mod pins;
mod refusal;

pub(crate) use attach::attach_again;
pub use attach::{Again, AttachError, Attached, Mode, Placement, attach, attach_program, look_at};
pub use layout::{Keys, Layout, TickRate};
pub(crate) use links::{end_link, pinned_program};
pub use object::{LoadError, Loaded, MAPS, load, load_at_rate, load_object, load_over, read_clock};
pub use pins::{Opened, PinError, Pins, pin_name};

//! What the host of a backend needs besides the backend itself: `splitterctl backend-setup`.
//!
//! Facts of the host and what is wanted give a list of items: pure ([`plan()`]). An item is as it should
//! be, or a [`Change`], or something for a person. Changes are carried out one by one, each written down
//! before it is made ([`Record`]), so that they can be taken back, in reverse.

mod apply;
mod change;
mod facts;
mod hints;
mod plan;
mod read;
mod record;
mod wish;

pub use apply::{ApplyError, apply};
pub use change::{Change, State, Tunnel};
pub use facts::{Decapsulator, Facts, Link, Route, setting_of};
pub use hints::hints;
pub use plan::{Item, Need, plan};
pub use read::read;
pub use record::{Record, RecordError};
pub use wish::{Decapsulation, Mode, SetupError, Wish};

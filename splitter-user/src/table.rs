//! What fills the data plane's tables: which track owns a slot, and which backend of a track.
//!
//! Pure and deterministic: the same inputs give the same bytes on every machine.

pub mod digest;
pub mod maglev;
pub mod ramp;
pub mod route;
pub mod slow_start;
pub mod split;

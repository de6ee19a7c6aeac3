//! The desired state: what an operator wants, as plain values.
//!
//! Everything here is pure. Values are made by the resource reader or read back from the store;
//! [`validate_service`] and [`validate_set`] say whether they make sense.

mod listener;
mod mode;
mod place;
mod route;
mod service;
mod time;
mod track;
mod validate;
mod weight;

pub use listener::{Endpoint, Family, Listener, Protocol};
pub use mode::{Mode, NoBackend};
pub use place::{At, FlowTime, Place, Problem};
pub use route::{Preview, Route, family_of};
pub use service::{Affinity, AffinityKey, DrainPolicy, FlowTimes, OnTimeout, Service};
pub use time::show_time;
pub use track::{Backend, Curve, SlowStart, Track};
pub(crate) use validate::unusable;
pub use validate::{is_label, validate_limits, validate_service, validate_set};
pub use weight::{Weight, WeightError};

/// Most tracks a service may have.
pub const MAX_TRACKS: usize = 8;
/// Most backends a track may have.
pub const MAX_BACKENDS_PER_TRACK: usize = 1_024;
/// Most listeners of the whole host that one backend endpoint may answer for.
pub const MAX_LISTENERS_PER_ENDPOINT: usize = 4;
/// Most pairs of a listener and a backend of its service on the whole host: each of them is looked at when desired state is
/// checked.
pub const MAX_PAIRS: usize = 1 << 18;
/// Largest weight of a backend inside its track.
pub const MAX_BACKEND_WEIGHT: u32 = 1_000;

#[cfg(test)]
mod tests;

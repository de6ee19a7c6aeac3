//! The other end of mode `ipip`, on a backend's host: a small XDP program that takes packets for the
//! VIPs out of the balancers' tunnels, before the host's stack sees them.
//!
//! ```text
//! <bpffs>/NAME/          locked by the process that runs
//!   maps/DECAP_CONFIG    what the attached program goes by, for --status
//!   maps/DECAP_COUNTERS  kept from start to start
//!   links/eth0...        one for each interface: they keep it attached without a process
//! ```
//!
//! A configuration is never changed under a program that reads it: another one comes with another
//! program, which takes the place of the old one between two packets (`bpf_link_update`).

mod arguments;
mod attach_mode;
mod locals;
mod object;
mod pins;
mod rules;
mod run;
mod status;

pub use arguments::{Arguments, Task};
pub use attach_mode::AttachMode;
pub use locals::{locals, reachable};
pub use object::Program;
pub use pins::{DecapError, Pinned};
pub use rules::{Rules, RulesError, Unchecked, default_sources, parse_source};
pub use run::{Wanted, perform};
pub use status::Status;

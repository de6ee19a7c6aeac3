//! The data plane as the agent sees it: tables that packets meet, and the flip.
//!
//! [`DataPlane`] is what the writer drives. [`kernel::Kernel`] is the XDP program's maps;
//! [`memory::Memory`] is the same tables in private memory, for tests of everything above.

mod endpoints;
pub mod kernel;
pub mod mapping;
pub mod memory;
mod sys;
mod tables;

use std::time::Duration;

use splitter_ebpf::abi::{BackendCounters, Verdicts};

pub use endpoints::{EndpointError, EndpointTable};
pub use sys::grace_period;
pub use tables::{FlowSlot, Tables, WayBack};

/// What can go wrong between the agent and the data plane.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// A system call on a map failed.
    #[error("cannot {action}: {source}")]
    Map {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The library that speaks to the kernel said no.
    #[error("cannot {action}: {message}")]
    Aya {
        /// What was tried.
        action: &'static str,
        /// Its words.
        message: String,
    },
    /// The endpoint table.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A service without split tables.
    #[error("service id {0} has no split tables")]
    NoService(u16),
}

/// A track's table for [`DataPlane::set_track_tables`]: its index, and its entries or `None` to
/// remove it.
pub type TrackUpdate = (u32, Option<Box<[u16]>>);

/// The tables, and what only their owner can do with them.
pub trait DataPlane: Send {
    /// The tables.
    fn tables(&self) -> &Tables;

    /// The tables, to be changed.
    fn tables_mut(&mut self) -> &mut Tables;

    /// Makes the four split tables of a service, all zero, unless it has them.
    ///
    /// # Errors
    /// [`PlaneError`]; nothing has changed then.
    fn add_service(&mut self, service: u16) -> Result<(), PlaneError>;

    /// Gives a service's split tables back.
    ///
    /// # Errors
    /// [`PlaneError`].
    fn remove_service(&mut self, service: u16) -> Result<(), PlaneError>;

    /// Replaces track tables, each whole. When this returns, no packet meets an old one any more.
    ///
    /// # Errors
    /// [`PlaneError`]; some tables may have been replaced, so the caller puts all of them back.
    fn set_track_tables(&mut self, updates: Vec<TrackUpdate>) -> Result<(), PlaneError>;

    /// Waits until every packet that began before this call has been dealt with.
    ///
    /// # Errors
    /// [`PlaneError`].
    fn barrier(&self) -> Result<(), PlaneError>;

    /// The tick that packets are stamped with now.
    ///
    /// # Errors
    /// [`PlaneError`].
    fn now(&self) -> Result<u32, PlaneError>;

    /// The length of `ticks`.
    fn duration_of(&self, ticks: u32) -> Duration;

    /// A backend's counters, over all CPUs.
    ///
    /// # Errors
    /// [`PlaneError`].
    fn counters(&self, backend: u16) -> Result<BackendCounters, PlaneError>;

    /// Counters of verdicts, over all CPUs.
    ///
    /// # Errors
    /// [`PlaneError`].
    fn verdicts(&self) -> Result<Verdicts, PlaneError>;
}

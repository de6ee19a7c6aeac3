//! The data plane as the agent sees it: tables that packets meet, and the flip.
//!
//! [`DataPlane`] is what the writer drives. [`kernel::Kernel`] is the XDP program's maps;
//! [`memory::Memory`] is the same tables in private memory, for tests of everything above.

mod endpoints;
mod ends;
#[cfg(test)]
pub(crate) mod faulty;
pub mod kernel;
pub mod mapping;
pub mod memory;
mod shape;
mod sys;
mod tables;
mod trace;
mod translated;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use splitter_ebpf::abi::{BackendCounters, Routes, SplitHeader, Verdicts, VlanDevice};

use crate::loader::Again;
use crate::table::split::Slots;

pub use endpoints::{EndpointError, EndpointTable};
pub use ends::Ends;
pub use sys::{detach_link, grace_period};
pub use tables::{FlowSlot, Tables, WayBack};
pub use trace::{Clock, Opening, Trace};

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

/// A service's split tables, for [`DataPlane::install_services`].
#[derive(Debug)]
pub struct ServiceTables {
    /// The service's id.
    pub service: u16,
    /// Tables: number, how it is entered, slots.
    pub tables: Vec<(u8, SplitHeader, Arc<Slots>)>,
    /// What goes before the slots, by table, for those whose headers say that there is any.
    pub routes: Vec<(u8, Box<Routes>)>,
}

/// The tables, and what only their owner can do with them.
pub trait DataPlane: Send {
    /// The tables.
    fn tables(&self) -> &Tables;

    /// The tables, to be changed.
    fn tables_mut(&mut self) -> &mut Tables;

    /// Gives services fresh sets of four split tables, filled as said and zero elsewhere, each put in
    /// place whole: a packet meets the old set or the new one.
    ///
    /// # Errors
    /// [`PlaneError`]; some sets may be in place, so the caller installs the right ones again.
    fn install_services(&mut self, sets: &[ServiceTables]) -> Result<(), PlaneError>;

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

    /// Says which devices are tags on others: exactly these.
    ///
    /// # Errors
    /// [`PlaneError`]; some may have been written, so the caller says it again.
    fn set_vlan_devices(&mut self, devices: &BTreeMap<u32, VlanDevice>) -> Result<(), PlaneError>;

    /// Puts the program back on interfaces that have gone and come back, and says on which: none where nothing is
    /// attached at all.
    ///
    /// # Errors
    /// [`PlaneError`]: there is no program that could be.
    fn attach_again(&mut self) -> Result<Again, PlaneError> {
        Ok(Again::default())
    }

    /// A backend's counters, over all CPUs.
    ///
    /// # Errors
    /// [`PlaneError`].
    fn counters(&self, backend: u16) -> Result<BackendCounters, PlaneError>;

    /// Sets a backend's counters to 0: nothing counts there any more.
    ///
    /// # Errors
    /// [`PlaneError`].
    fn reset_counters(&mut self, backend: u16) -> Result<(), PlaneError>;

    /// Counters of verdicts, over all CPUs.
    ///
    /// # Errors
    /// [`PlaneError`].
    fn verdicts(&self) -> Result<Verdicts, PlaneError>;
}

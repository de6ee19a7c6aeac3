//! Steps that fail when a test says so: a data plane around another one, and the count of steps that
//! the journal and the endpoint table share with it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use splitter_ebpf::abi::{BackendCounters, Verdicts, VlanDevice};

use super::{DataPlane, PlaneError, ServiceTables, Tables, TrackUpdate};

/// Counts steps, and fails those that it was told to fail. Clones share one count; one that was never
/// [armed](Self::arm) counts nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<Option<Run>>>);

#[derive(Debug)]
struct Run {
    taken: Vec<&'static str>,
    failing: Range<usize>,
}

impl Faults {
    /// Counts from 0 on, and lets the steps of these numbers fail.
    pub fn arm(&self, failing: Range<usize>) {
        *self.lock() = Some(Run {
            taken: Vec::new(),
            failing,
        });
    }

    /// Lets nothing fail any more, and says which steps were taken.
    pub fn disarm(&self) -> Vec<&'static str> {
        self.lock().take().map_or_else(Vec::new, |run| run.taken)
    }

    /// One step: fails if it is that one's turn.
    pub fn step(&self, what: &'static str) -> io::Result<()> {
        let mut guard = self.lock();
        let Some(run) = &mut *guard else {
            return Ok(());
        };
        let number = run.taken.len();
        run.taken.push(what);
        if run.failing.contains(&number) {
            Err(io::Error::other(format!("injected into `{what}`")))
        } else {
            Ok(())
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Run>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A data plane whose operations fail at the steps that its [`Faults`] name: before they begin, half-way
/// through what they change, and after all of it.
#[derive(Debug)]
pub(crate) struct Faulty<D> {
    /// What does the work.
    pub inner: D,
    faults: Faults,
}

impl<D: DataPlane> Faulty<D> {
    /// `inner`, with its endpoint table failing too.
    pub fn new(mut inner: D, faults: &Faults) -> Self {
        inner.tables_mut().endpoints.fail_as(faults);
        Self {
            inner,
            faults: faults.clone(),
        }
    }

    fn step(&self, action: &'static str) -> Result<(), PlaneError> {
        let failed = |source| PlaneError::Map { action, source };
        self.faults.step(action).map_err(failed)
    }
}

impl<D: DataPlane> DataPlane for Faulty<D> {
    fn tables(&self) -> &Tables {
        self.inner.tables()
    }

    fn tables_mut(&mut self) -> &mut Tables {
        self.inner.tables_mut()
    }

    fn install_services(&mut self, sets: &[ServiceTables]) -> Result<(), PlaneError> {
        self.step("give services their split tables")?;
        let (some, rest) = sets.split_at(sets.len() / 2);
        self.inner.install_services(some)?;
        self.step("give the other services their split tables")?;
        self.inner.install_services(rest)?;
        self.step("end giving services their split tables")
    }

    fn remove_service(&mut self, service: u16) -> Result<(), PlaneError> {
        self.step("take split tables back")?;
        self.inner.remove_service(service)?;
        self.step("end taking split tables back")
    }

    fn set_track_tables(&mut self, mut updates: Vec<TrackUpdate>) -> Result<(), PlaneError> {
        self.step("replace track tables")?;
        let rest = updates.split_off(updates.len() / 2);
        self.inner.set_track_tables(updates)?;
        self.step("replace the other track tables")?;
        self.inner.set_track_tables(rest)?;
        self.step("end replacing track tables")
    }

    fn barrier(&self) -> Result<(), PlaneError> {
        self.step("wait for a grace period")?;
        self.inner.barrier()
    }

    fn now(&self) -> Result<u32, PlaneError> {
        self.step("read the clock")?;
        self.inner.now()
    }

    fn duration_of(&self, ticks: u32) -> Duration {
        self.inner.duration_of(ticks)
    }

    fn set_vlan_devices(&mut self, devices: &BTreeMap<u32, VlanDevice>) -> Result<(), PlaneError> {
        self.step("say which devices are VLANs")?;
        self.inner.set_vlan_devices(devices)
    }

    fn counters(&self, backend: u16) -> Result<BackendCounters, PlaneError> {
        self.step("read a backend's counters")?;
        self.inner.counters(backend)
    }

    fn reset_counters(&mut self, backend: u16) -> Result<(), PlaneError> {
        self.step("reset a backend's counters")?;
        self.inner.reset_counters(backend)
    }

    fn verdicts(&self) -> Result<Verdicts, PlaneError> {
        self.step("read the verdicts")?;
        self.inner.verdicts()
    }
}

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use splitter_ebpf::abi::{ROWS, Selector};
use splitter_user::dataplane::DataPlane as _;
use splitter_user::table::split::Slots;

use super::{Rig, Service};

/// Which rows packets may still be reading.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Rows that were current since the last barrier.
    used: Mutex<Vec<u32>>,
}

impl Rig {
    /// Writes a split into one of a service's tables, which must not be current.
    ///
    /// # Errors
    /// What the data plane says.
    pub fn write_split(&self, service: &Service, table: u8, slots: &Slots) -> Result<()> {
        Ok(self
            .tables()
            .write_split(service.id, table, &service.header, slots.as_bytes())?)
    }

    /// Makes these tables of these services current, all in one flip. A row is written only after a
    /// barrier since it was current.
    ///
    /// # Errors
    /// What the data plane says.
    pub fn flip(&self, choices: &[(u16, u8)]) -> Result<Duration> {
        let selector = self.tables().selector();
        let mut used = self
            .rows
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if used.len() + 2 > ROWS {
            self.plane.barrier()?;
            used.clear();
        }
        let free = |row: &u32| *row != selector.row() && !used.contains(row);
        let next = (0..u32::try_from(ROWS)?)
            .find(free)
            .expect("a barrier frees all rows but one");
        let mut row = self.tables().row(selector.row());
        for (service, table) in choices {
            row.table[usize::from(*service)] = *table;
        }
        self.tables().write_row(next, &row);
        used.push(selector.row());
        let next = Selector::new(selector.sequence() + 1, u8::try_from(next)?);
        Ok(self.tables().flip(next))
    }

    /// Waits until no packet reads what is not current any more.
    ///
    /// # Errors
    /// What the data plane says.
    pub fn barrier(&self) -> Result<()> {
        let mut used = self
            .rows
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.plane.barrier()?;
        used.clear();
        Ok(())
    }
}

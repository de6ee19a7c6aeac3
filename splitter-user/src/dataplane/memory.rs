//! The tables in this process's memory: no kernel, no packets.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use splitter_ebpf::abi::{BackendCounters, TABLES, Verdicts, VlanDevice};
use splitter_ebpf::verdict::REASONS;

use super::mapping::Mapping;
use super::{DataPlane, PlaneError, ServiceTables, Tables, TrackUpdate};
use crate::loader::{Layout, TickRate};

/// The data plane in memory. Its clock stands still until it is set.
#[derive(Debug)]
pub struct Memory {
    tables: Tables,
    rate: TickRate,
    /// The tick it shows.
    pub tick: Cell<u32>,
    /// Barriers so far.
    pub barriers: Cell<u64>,
    /// Devices that are tags on others.
    pub vlans: BTreeMap<u32, VlanDevice>,
    /// What [`DataPlane::verdicts`] shows.
    pub verdicts: [u64; REASONS],
    /// What [`DataPlane::counters`] shows, by backend; 0 where there is nothing.
    pub counters: BTreeMap<u16, BackendCounters>,
}

impl Memory {
    /// Empty tables.
    ///
    /// # Errors
    /// What `mmap` says.
    pub fn new(layout: Layout, secret: &[u8; 32]) -> io::Result<Self> {
        let rate = TickRate::from_hz(250);
        let tables = Tables::private(layout, secret)?;
        tables.meta.write(0, layout.meta(secret, rate.shift));
        Ok(Self {
            tables,
            rate,
            tick: Cell::new(0),
            barriers: Cell::new(0),
            vlans: BTreeMap::new(),
            verdicts: [0; REASONS],
            counters: BTreeMap::new(),
        })
    }
}

pub(super) fn no_memory(source: io::Error) -> PlaneError {
    PlaneError::Map {
        action: "map a table into memory",
        source,
    }
}

impl DataPlane for Memory {
    fn tables(&self) -> &Tables {
        &self.tables
    }

    fn tables_mut(&mut self) -> &mut Tables {
        &mut self.tables
    }

    fn install_services(&mut self, sets: &[ServiceTables]) -> Result<(), PlaneError> {
        for set in sets {
            let maps = Mapping::private(TABLES).map_err(no_memory)?;
            for (table, header, slots) in &set.tables {
                super::tables::fill_split(&maps, *table, header, slots.as_bytes());
            }
            for (table, routes) in &set.routes {
                super::tables::fill_routes(&maps, *table, routes);
            }
            self.tables.splits.insert(set.service, maps);
        }
        Ok(())
    }

    fn remove_service(&mut self, service: u16) -> Result<(), PlaneError> {
        self.tables.splits.remove(&service);
        Ok(())
    }

    fn set_track_tables(&mut self, updates: Vec<TrackUpdate>) -> Result<(), PlaneError> {
        for (index, entries) in updates {
            match entries {
                Some(entries) => {
                    let map = Mapping::private(1).map_err(no_memory)?;
                    super::tables::fill_track(&map, &entries);
                    self.tables.tracks.insert(index, map);
                }
                None => {
                    self.tables.tracks.remove(&index);
                }
            }
        }
        self.barrier()
    }

    fn barrier(&self) -> Result<(), PlaneError> {
        self.barriers.set(self.barriers.get() + 1);
        Ok(())
    }

    fn now(&self) -> Result<u32, PlaneError> {
        Ok(self.tick.get())
    }

    fn duration_of(&self, ticks: u32) -> Duration {
        self.rate.duration(ticks)
    }

    fn set_vlan_devices(&mut self, devices: &BTreeMap<u32, VlanDevice>) -> Result<(), PlaneError> {
        self.vlans.clone_from(devices);
        Ok(())
    }

    fn counters(&self, backend: u16) -> Result<BackendCounters, PlaneError> {
        Ok(self.counters.get(&backend).copied().unwrap_or_default())
    }

    fn reset_counters(&mut self, backend: u16) -> Result<(), PlaneError> {
        self.counters.remove(&backend);
        Ok(())
    }

    fn verdicts(&self) -> Result<Verdicts, PlaneError> {
        Ok(Verdicts {
            packets: self.verdicts,
        })
    }
}

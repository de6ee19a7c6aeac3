//! The XDP program's maps.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use aya::Pod;
use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::programs::Xdp;
use splitter_ebpf::abi::{
    BackendCounters, MAX_SERVICES, NAT_POOLS, ROWS, SplitTable, TABLES, TrackTable, Verdicts,
    VlanDevice,
};
use splitter_ebpf::flow::TICK_MASK;
use splitter_ebpf::verdict::REASONS;

use super::endpoints::EndpointTable;
use super::mapping::Mapping;
use super::memory::no_memory;
use super::shape::Shape;
use super::{DataPlane, PlaneError, ServiceTables, Tables, TrackUpdate, sys};
use crate::loader::{
    Again, Keys, LoadError, Loaded, Placement, TickRate, attach_again, read_clock,
};

/// A plain value of the contract, as aya wants it marked.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Plain<T: Copy>(T);

// SAFETY: the contract's types are repr(C), without padding, and valid for any bytes.
unsafe impl<T: Copy + 'static> Pod for Plain<T> {}

/// The data plane in the kernel.
pub struct Kernel {
    tables: Tables,
    loaded: Loaded,
    splits: MapData,
    tracks: MapData,
    split_shape: Shape,
    track_shape: Shape,
    verdicts: PerCpuArray<MapData, Plain<Verdicts>>,
    counters: PerCpuArray<MapData, Plain<BackendCounters>>,
    vlans: HashMap<MapData, u32, Plain<VlanDevice>>,
    rate: TickRate,
    /// Where the program belongs, once it is attached.
    placement: Option<Placement>,
}

fn aya(action: &'static str) -> impl Fn(MapError) -> PlaneError {
    move |error| PlaneError::Aya {
        action,
        message: error.to_string(),
    }
}

fn mapped<T: Copy>(
    loaded: &mut Loaded,
    name: &'static str,
    entries: usize,
) -> Result<Mapping<T>, LoadError> {
    let data = loaded.take_array(name)?;
    Mapping::of_map(data.fd().as_fd(), entries)
        .map_err(|error| LoadError::Map(MapError::IoError(error)))
}

impl Kernel {
    /// Takes the maps out of a loaded object, and what they hold as it is. Inner maps are not looked
    /// at: opening them by id would take CAP_SYS_ADMIN, so an agent that takes over installs its own
    /// in their place, with the same content.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn new(mut loaded: Loaded, secret: &[u8; 32]) -> Result<Self, LoadError> {
        let (layout, rate) = (loaded.layout, loaded.rate);
        let keys = Keys::new(secret);
        let buckets = layout.endpoint_buckets as usize;
        let (splits, tracks) = (loaded.take_map("SPLITS")?, loaded.take_map("TRACKS")?);
        let verdicts = PerCpuArray::try_from(loaded.take_map("VERDICTS")?)?;
        let counters = PerCpuArray::try_from(loaded.take_map("COUNTERS")?)?;
        let vlans = HashMap::try_from(loaded.take_map("VLAN_DEVICES")?)?;
        let l = &mut loaded;
        let endpoint_tags = mapped(l, "ENDPOINT_TAGS", buckets)?;
        let endpoints = mapped(l, "ENDPOINTS", buckets * 4)?;
        let tables = Tables {
            layout,
            keys,
            endpoints: EndpointTable::new(endpoint_tags, endpoints, keys.endpoint),
            control: mapped(l, "CONTROL", 1)?,
            meta: mapped(l, "META", 1)?,
            rows: mapped(l, "ROWS", ROWS)?,
            listeners: mapped(l, "LISTENERS", layout.listeners as usize + 1)?,
            replies: mapped(l, "REPLIES", layout.replies as usize)?,
            backends: mapped(l, "BACKENDS", layout.backends as usize + 1)?,
            flows: mapped(l, "FLOWS", layout.flow_buckets as usize)?,
            flow_keys: mapped(l, "FLOW_KEYS", layout.flow_slots())?,
            services: mapped(l, "SERVICES", MAX_SERVICES)?,
            nat_pools: mapped(l, "NAT_POOLS", NAT_POOLS)?,
            splits: BTreeMap::new(),
            tracks: BTreeMap::new(),
        };
        if tables.meta().abi_version == 0 {
            tables.meta.write(0, layout.meta(secret, rate.shift));
        }
        let (splits, tracks) = (outer(splits, "SPLITS")?, outer(tracks, "TRACKS")?);
        Ok(Self {
            tables,
            loaded,
            splits,
            tracks,
            split_shape: shape::<SplitTable>()?,
            track_shape: shape::<TrackTable>()?,
            verdicts,
            counters,
            vlans,
            rate,
            placement: None,
        })
    }

    /// The program that packets meet.
    ///
    /// # Errors
    /// [`LoadError::Missing`].
    pub fn program(&mut self) -> Result<&mut Xdp, LoadError> {
        self.loaded.program("splitter")
    }

    /// Remembers where the program belongs.
    pub(crate) fn belong(&mut self, placement: Placement) {
        self.placement = Some(placement);
    }

    /// Puts the program's later parts into their places, if those of another program are there.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn install_stages(&mut self) -> Result<(), LoadError> {
        self.loaded.install_stages()
    }

    /// The program that does nothing, for the bench.
    ///
    /// # Errors
    /// [`LoadError::Missing`].
    pub fn floor_program(&mut self) -> Result<&mut Xdp, LoadError> {
        self.loaded.program("splitter_floor")
    }

    /// How jiffies and ticks relate.
    #[must_use]
    pub const fn rate(&self) -> TickRate {
        self.rate
    }
}

fn outer(map: Map, name: &'static str) -> Result<MapData, LoadError> {
    match map {
        Map::ArrayOfMaps(data) => Ok(data),
        _ => Err(LoadError::Missing(name)),
    }
}

fn shape<T>() -> Result<Shape, LoadError> {
    Shape::new(size_of::<T>()).map_err(|error| LoadError::Map(MapError::IoError(error)))
}

/// A fresh table, and its mapping.
fn inner<T: Copy>(shape: &Shape, entries: usize) -> Result<(OwnedFd, Mapping<T>), PlaneError> {
    let map = shape.create(entries).map_err(|source| PlaneError::Map {
        action: "create a table",
        source,
    })?;
    let mapping = Mapping::of_map(map.as_fd(), entries).map_err(no_memory)?;
    Ok((map, mapping))
}

impl DataPlane for Kernel {
    fn tables(&self) -> &Tables {
        &self.tables
    }

    fn tables_mut(&mut self) -> &mut Tables {
        &mut self.tables
    }

    fn install_services(&mut self, sets: &[ServiceTables]) -> Result<(), PlaneError> {
        if sets.is_empty() {
            return Ok(());
        }
        let mut fresh = Vec::new();
        for set in sets {
            let (map, mapping) = inner::<SplitTable>(&self.split_shape, TABLES)?;
            for (table, header, slots) in &set.tables {
                super::tables::fill_split(&mapping, *table, header, slots.as_bytes());
            }
            for (table, routes) in &set.routes {
                super::tables::fill_routes(&mapping, *table, routes);
            }
            fresh.push((set.service, map, mapping));
        }
        let keys: Vec<u32> = fresh.iter().map(|(id, ..)| u32::from(*id)).collect();
        let maps: Vec<_> = fresh.iter().map(|(_, map, _)| map.as_fd()).collect();
        crate::crash::point();
        sys::update_batch(self.splits.fd().as_fd(), &keys, &maps).map_err(|source| {
            PlaneError::Map {
                action: "give services their split tables",
                source,
            }
        })?;
        crate::crash::point();
        for (id, _, mapping) in fresh {
            self.tables.splits.insert(id, mapping);
        }
        Ok(())
    }

    fn remove_service(&mut self, service: u16) -> Result<(), PlaneError> {
        crate::crash::point();
        sys::delete(self.splits.fd().as_fd(), service.into()).map_err(|source| {
            PlaneError::Map {
                action: "take a service's split tables back",
                source,
            }
        })?;
        self.tables.splits.remove(&service);
        Ok(())
    }

    fn set_track_tables(&mut self, updates: Vec<TrackUpdate>) -> Result<(), PlaneError> {
        let mut fresh = Vec::new();
        let mut removed = Vec::new();
        for (index, entries) in updates {
            match entries {
                Some(entries) => {
                    let (map, mapping) = inner::<TrackTable>(&self.track_shape, 1)?;
                    super::tables::fill_track(&mapping, &entries);
                    fresh.push((index, map, mapping));
                }
                None => removed.push(index),
            }
        }
        if !fresh.is_empty() {
            let keys: Vec<u32> = fresh.iter().map(|(index, ..)| *index).collect();
            let maps: Vec<_> = fresh.iter().map(|(_, map, _)| map.as_fd()).collect();
            crate::crash::point();
            // Waits for a grace period before it returns (kernel/bpf/syscall.c, maybe_wait_bpf_programs).
            sys::update_batch(self.tracks.fd().as_fd(), &keys, &maps).map_err(|source| {
                PlaneError::Map {
                    action: "replace track tables",
                    source,
                }
            })?;
        }
        let any_removed = !removed.is_empty();
        for index in removed {
            crate::crash::point();
            sys::delete(self.tracks.fd().as_fd(), index).map_err(|source| PlaneError::Map {
                action: "remove a track table",
                source,
            })?;
            self.tables.tracks.remove(&index);
        }
        for (index, _, mapping) in fresh {
            self.tables.tracks.insert(index, mapping);
        }
        if any_removed { self.barrier() } else { Ok(()) }
    }

    fn barrier(&self) -> Result<(), PlaneError> {
        sys::grace_period().map_err(|source| PlaneError::Map {
            action: "wait for a grace period",
            source,
        })
    }

    fn now(&self) -> Result<u32, PlaneError> {
        let failed = |error: LoadError| PlaneError::Aya {
            action: "read the clock",
            message: error.to_string(),
        };
        let program = self.loaded.clock_program().map_err(failed)?;
        let (jiffies, _) = read_clock(program).map_err(failed)?;
        Ok(u32::try_from((jiffies >> self.rate.shift) & u64::from(TICK_MASK)).unwrap_or(0))
    }

    fn duration_of(&self, ticks: u32) -> Duration {
        self.rate.duration(ticks)
    }

    fn set_vlan_devices(&mut self, devices: &BTreeMap<u32, VlanDevice>) -> Result<(), PlaneError> {
        let failed = aya("say which devices are VLANs");
        let mut there = BTreeMap::new();
        for entry in self.vlans.iter() {
            let (index, Plain(device)) = entry.map_err(&failed)?;
            there.insert(index, device);
        }
        for index in there.keys().filter(|index| !devices.contains_key(index)) {
            self.vlans.remove(index).map_err(&failed)?;
        }
        for (index, device) in devices {
            if there.get(index) != Some(device) {
                let device = Plain(*device);
                self.vlans.insert(index, device, 0).map_err(&failed)?;
            }
        }
        Ok(())
    }

    fn attach_again(&mut self) -> Result<Again, PlaneError> {
        let Some(placement) = &self.placement else {
            return Ok(Again::default());
        };
        let program = self.loaded.program("splitter");
        let program = program.map_err(|error| PlaneError::Aya {
            action: "attach the program again",
            message: error.to_string(),
        })?;
        Ok(attach_again(program, placement))
    }

    fn counters(&self, backend: u16) -> Result<BackendCounters, PlaneError> {
        let cpus = self
            .counters
            .get(&backend.into(), 0)
            .map_err(aya("read a backend's counters"))?;
        Ok(cpus
            .iter()
            .fold(BackendCounters::default(), |sum, Plain(cpu)| {
                BackendCounters {
                    new_flows: sum.new_flows + cpu.new_flows,
                    unpinned: sum.unpinned + cpu.unpinned,
                    aside: sum.aside + cpu.aside,
                }
            }))
    }

    fn reset_counters(&mut self, backend: u16) -> Result<(), PlaneError> {
        let cpus = self
            .counters
            .get(&backend.into(), 0)
            .map_err(aya("read a backend's counters"))?;
        let zeros = vec![Plain(BackendCounters::default()); cpus.len()];
        let zeros = PerCpuValues::try_from(zeros).map_err(|error| PlaneError::Map {
            action: "reset a backend's counters",
            source: error,
        })?;
        self.counters
            .set(backend.into(), zeros, 0)
            .map_err(aya("reset a backend's counters"))
    }

    fn verdicts(&self) -> Result<Verdicts, PlaneError> {
        let cpus = self.verdicts.get(&0, 0).map_err(aya("read the verdicts"))?;
        let mut packets = [0; REASONS];
        for Plain(cpu) in cpus.iter() {
            for (sum, count) in packets.iter_mut().zip(cpu.packets) {
                *sum += count;
            }
        }
        Ok(Verdicts { packets })
    }
}

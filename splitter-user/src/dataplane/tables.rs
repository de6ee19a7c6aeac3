//! The mapped tables: what the program and the agent share.

use std::collections::BTreeMap;
use std::io;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use splitter_ebpf::abi::{
    BUCKET_FLOWS, Backend, Binding, Bucket, ColdKey, Control, Hop, Listener, MAGLEV, Meta, NatPool,
    Path, Reply, Routes, Row, SLOTS, Selector, ServiceWord, SplitHeader, SplitTable, TABLES,
    TrackTable, Tunnel,
};
use splitter_ebpf::flow::Value;

use super::PlaneError;
use super::endpoints::EndpointTable;
use super::mapping::Mapping;
use crate::loader::{Keys, Layout};

/// One flow as a scan meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowSlot {
    /// Where it lies.
    pub slot: usize,
    /// Its name.
    pub key: u64,
    /// Its value, not 0.
    pub value: Value,
}

/// How a frame leaves by the interface that it came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayBack {
    /// `XDP_TX`: the cheapest, and every driver's.
    Transmit,
    /// A redirect, which a veth's other end is woken for.
    Redirect,
}

/// The tables.
#[derive(Debug)]
pub struct Tables {
    /// Their sizes.
    pub layout: Layout,
    /// Keys of places.
    pub keys: Keys,
    /// Endpoints.
    pub endpoints: EndpointTable,
    pub(super) control: Mapping<Control>,
    pub(super) meta: Mapping<Meta>,
    pub(super) rows: Mapping<Row>,
    pub(super) listeners: Mapping<Listener>,
    pub(super) replies: Mapping<Reply>,
    pub(super) backends: Mapping<Backend>,
    pub(super) flows: Mapping<Bucket>,
    pub(super) flow_keys: Mapping<ColdKey>,
    pub(super) services: Mapping<ServiceWord>,
    pub(super) nat_pools: Mapping<NatPool>,
    pub(super) splits: BTreeMap<u16, Mapping<SplitTable>>,
    pub(super) tracks: BTreeMap<u32, Mapping<TrackTable>>,
}

impl Tables {
    /// Zeroed tables in this process's memory.
    ///
    /// # Errors
    /// What `mmap` says.
    pub fn private(layout: Layout, secret: &[u8; 32]) -> io::Result<Self> {
        let keys = Keys::new(secret);
        let buckets = layout.endpoint_buckets as usize;
        Ok(Self {
            layout,
            keys,
            endpoints: EndpointTable::new(
                Mapping::private(buckets)?,
                Mapping::private(buckets * 4)?,
                keys.endpoint,
            ),
            control: Mapping::private(1)?,
            meta: Mapping::private(1)?,
            rows: Mapping::private(splitter_ebpf::abi::ROWS)?,
            listeners: Mapping::private(layout.listeners as usize + 1)?,
            replies: Mapping::private(layout.replies as usize)?,
            backends: Mapping::private(layout.backends as usize + 1)?,
            flows: Mapping::private(layout.flow_buckets as usize)?,
            flow_keys: Mapping::private(layout.flow_slots())?,
            services: Mapping::private(splitter_ebpf::abi::MAX_SERVICES)?,
            nat_pools: Mapping::private(splitter_ebpf::abi::NAT_POOLS)?,
            splits: BTreeMap::new(),
            tracks: BTreeMap::new(),
        })
    }

    /// What the maps were made with.
    #[must_use]
    pub fn meta(&self) -> Meta {
        self.meta.read(0)
    }

    /// The current selector.
    #[must_use]
    pub fn selector(&self) -> Selector {
        Selector(
            self.control
                .word(0, offset_of!(Control, selector))
                .load(Ordering::Acquire),
        )
    }

    /// The flip: one store. Everything written before is seen by whoever sees it. Returns how long
    /// the store took.
    pub fn flip(&self, next: Selector) -> Duration {
        crate::crash::point();
        let word = self.control.word(0, offset_of!(Control, selector));
        let start = Instant::now();
        word.store(next.0, Ordering::SeqCst);
        let took = start.elapsed();
        crate::crash::point();
        took
    }

    /// Makes every cached next hop towards clients stale.
    pub fn bump_route_epoch(&self) {
        self.control
            .word(0, offset_of!(Control, route_epoch))
            .fetch_add(1, Ordering::Release);
    }

    /// The epoch that cached next hops carry.
    #[must_use]
    pub fn route_epoch(&self) -> u32 {
        let epoch = self
            .control
            .word(0, offset_of!(Control, route_epoch))
            .load(Ordering::Acquire);
        u32::try_from(epoch & u64::from(u32::MAX)).unwrap_or(0)
    }

    /// Says how frames leave by the interface they came in by.
    pub fn set_way_back(&self, way: WayBack) {
        let redirect = match way {
            WayBack::Transmit => 0,
            WayBack::Redirect => 1,
        };
        self.control
            .word(0, offset_of!(Control, redirect_back))
            .store(redirect, Ordering::Release);
    }

    /// A row.
    #[must_use]
    pub fn row(&self, row: u32) -> Box<Row> {
        Box::new(self.rows.read(row as usize))
    }

    /// Writes a row that is not current.
    pub fn write_row(&self, row: u32, content: &Row) {
        crate::crash::point();
        self.rows.write(row as usize, *content);
    }

    /// Writes a split table that is not current.
    ///
    /// # Errors
    /// [`PlaneError::NoService`].
    pub fn write_split(
        &self,
        service: u16,
        table: u8,
        header: &SplitHeader,
        slots: &[u8; SLOTS],
    ) -> Result<(), PlaneError> {
        let maps = self
            .splits
            .get(&service)
            .ok_or(PlaneError::NoService(service))?;
        crate::crash::point();
        fill_split(maps, table, header, slots);
        Ok(())
    }

    /// Writes what goes before the slots of a split table that is not current.
    ///
    /// # Errors
    /// [`PlaneError::NoService`].
    pub fn write_routes(&self, service: u16, table: u8, routes: &Routes) -> Result<(), PlaneError> {
        let maps = self
            .splits
            .get(&service)
            .ok_or(PlaneError::NoService(service))?;
        fill_routes(maps, table, routes);
        Ok(())
    }

    /// A split table as a whole.
    ///
    /// # Errors
    /// [`PlaneError::NoService`].
    pub fn read_table(&self, service: u16, table: u8) -> Result<Box<SplitTable>, PlaneError> {
        let maps = self
            .splits
            .get(&service)
            .ok_or(PlaneError::NoService(service))?;
        let source = maps.pointer(usize::from(table) & (TABLES - 1));
        let mut copy = Box::<SplitTable>::new_uninit();
        // SAFETY: only the agent's one writer changes tables, and it is the one that reads here; the copy
        // fills the box, and any bytes are a table.
        unsafe {
            std::ptr::copy_nonoverlapping(source, copy.as_mut_ptr(), 1);
            Ok(copy.assume_init())
        }
    }

    /// A split table: how it is entered, and its slots.
    ///
    /// # Errors
    /// [`PlaneError::NoService`].
    pub fn read_split(
        &self,
        service: u16,
        table: u8,
    ) -> Result<(SplitHeader, Box<[u8; SLOTS]>), PlaneError> {
        let maps = self
            .splits
            .get(&service)
            .ok_or(PlaneError::NoService(service))?;
        let source = maps.pointer(usize::from(table) & (TABLES - 1));
        let mut slots = vec![0; SLOTS].into_boxed_slice();
        // SAFETY: only the agent's one writer changes tables, and it is the one that reads here.
        let header = unsafe {
            std::ptr::copy_nonoverlapping(
                (&raw const (*source).slots).cast(),
                slots.as_mut_ptr(),
                SLOTS,
            );
            (&raw const (*source).header).read_volatile()
        };
        let slots = slots
            .try_into()
            .map_err(|_| PlaneError::NoService(service))?;
        Ok((header, slots))
    }

    /// Whether a service has its split tables.
    #[must_use]
    pub fn has_service(&self, service: u16) -> bool {
        self.splits.contains_key(&service)
    }

    /// The entry of a track's table, 0 if it has none: for tests and `explain`.
    #[must_use]
    pub fn track_entry(&self, index: u32, entry: usize) -> u16 {
        self.tracks.get(&index).map_or(0, |map| {
            let table = map.pointer(0);
            // SAFETY: within the table, for `entry` is kept below its length.
            unsafe {
                (&raw const (*table).backends)
                    .cast::<u16>()
                    .add(entry.min(MAGLEV - 1))
                    .read_volatile()
            }
        })
    }

    /// A listener.
    #[must_use]
    pub fn listener(&self, id: u16) -> Listener {
        self.listeners.read(id.into())
    }

    /// Writes a listener that no endpoint names yet.
    pub fn write_listener(&self, id: u16, listener: Listener) {
        crate::crash::point();
        self.listeners.write(id.into(), listener);
    }

    /// Changes a listener's owner, in one store.
    pub fn bind(&self, id: u16, binding: Binding) {
        crate::crash::point();
        self.listeners
            .word(id.into(), offset_of!(Listener, binding))
            .store(binding.0, Ordering::Release);
    }

    /// A backend.
    #[must_use]
    pub fn backend(&self, id: u16) -> Backend {
        self.backends.read(id.into())
    }

    /// Writes a backend that no table names yet.
    pub fn write_backend(&self, id: u16, backend: Backend) {
        crate::crash::point();
        self.backends.write(id.into(), backend);
    }

    /// Says whether a backend's endpoint answers for several listeners, in one store.
    pub fn share_backend(&self, id: u16, flags: u8) {
        self.store_choices(
            id,
            Backend {
                flags,
                ..self.backend(id)
            },
        );
    }

    /// Sets a backend's next hop: into the place that is not current, then current. Returns whether
    /// it was another one; a grace period must pass before the next change.
    pub fn set_hop(&self, id: u16, hop: Hop, path: Path) -> bool {
        let backend = self.backend(id);
        let current = backend.current_hop & 1;
        let place = usize::from(current);
        if backend.hops[place] == hop && backend.paths[place] == path {
            return false;
        }
        let other = 1 - current;
        let target = self.backends.pointer(id.into());
        // SAFETY: the place is not current, and a grace period has passed since it was.
        unsafe {
            (&raw mut (*target).hops[usize::from(other)]).write_volatile(hop);
            (&raw mut (*target).paths[usize::from(other)]).write_volatile(path);
        }
        self.store_choices(
            id,
            Backend {
                current_hop: other,
                ..backend
            },
        );
        true
    }

    /// Lets a backend's clients be translated to a pool, in one store. Its flows hold places in the pool
    /// that it names: for backends without flows.
    pub fn set_pool(&self, id: u16, pool: u16) {
        self.store_choices(
            id,
            Backend {
                pool,
                ..self.backend(id)
            },
        );
    }

    /// Stores the word that holds a backend's port, mode, flags, current hop and pool.
    fn store_choices(&self, id: u16, backend: Backend) {
        crate::crash::point();
        let [a, b] = backend.port.0.to_ne_bytes();
        let [c, d] = backend.current_hop.to_ne_bytes();
        let [e, f] = backend.pool.to_ne_bytes();
        let word = u64::from_ne_bytes([a, b, backend.mode, backend.flags, c, d, e, f]);
        self.backends
            .word(id.into(), offset_of!(Backend, port))
            .store(word, Ordering::Release);
    }

    /// What a service does beside its splits.
    #[must_use]
    pub fn service_word(&self, service: u16) -> ServiceWord {
        self.services.read(service.into())
    }

    /// Changes what a service does beside its splits, in one store.
    pub fn set_service_word(&self, service: u16, word: ServiceWord) {
        crate::crash::point();
        let [a, b, c, d] = word.no_backend.to_ne_bytes();
        let [e, f, g, h] = word.reserved.to_ne_bytes();
        self.services.word(service.into(), 0).store(
            u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            Ordering::Release,
        );
    }

    /// A pool of addresses and ports that clients are translated to.
    #[must_use]
    pub fn nat_pool(&self, index: u16) -> NatPool {
        self.nat_pools.read(index.into())
    }

    /// Writes a pool that no backend names.
    pub fn write_nat_pool(&self, index: u16, pool: NatPool) {
        crate::crash::point();
        self.nat_pools.write(index.into(), pool);
    }

    /// Says where outer source addresses of mode `ipip` are taken from. A packet may see half of a change:
    /// an outer source of neither network, once.
    pub fn set_tunnel(&self, tunnel: Tunnel) {
        if self.control.read(0).tunnel == tunnel {
            return;
        }
        let target = self.control.pointer(0);
        // SAFETY: within the one control record; words that the program alone reads.
        unsafe { (&raw mut (*target).tunnel).write_volatile(tunnel) };
    }

    /// Caps the new flows that each CPU pins in one tick; 0: no cap.
    pub fn set_new_flows_per_tick(&self, cap: u64) {
        self.control
            .word(0, offset_of!(Control, new_flows_per_tick))
            .store(cap, Ordering::Release);
    }

    /// What a backend endpoint answers for.
    #[must_use]
    pub fn reply(&self, index: u32) -> Reply {
        self.replies.read(index as usize)
    }

    /// Writes a reply record that no endpoint names yet.
    pub fn write_reply(&self, index: u32, reply: Reply) {
        crate::crash::point();
        self.replies.write(index as usize, reply);
    }

    /// Buckets of the flow table.
    #[must_use]
    pub const fn flow_buckets(&self) -> usize {
        self.flows.len()
    }

    /// Visits the flows of some buckets.
    pub fn scan(&self, buckets: std::ops::Range<usize>, mut visit: impl FnMut(FlowSlot)) {
        for bucket in buckets {
            let pointer = self.flows.pointer(bucket);
            for lane in 0..BUCKET_FLOWS {
                // SAFETY: within the bucket; each is one aligned load of a word that others change.
                let value = unsafe { (&raw const (*pointer).values[lane]).read_volatile() };
                if value == 0 {
                    continue;
                }
                // SAFETY: as above.
                let key = unsafe { (&raw const (*pointer).keys[lane]).read_volatile() };
                visit(FlowSlot {
                    slot: bucket * BUCKET_FLOWS + lane,
                    key,
                    value: Value(value),
                });
            }
        }
    }

    /// Puts a flow into a place, as the program would.
    #[cfg(test)]
    pub(crate) fn put_flow(&self, bucket: usize, lane: usize, key: u64, value: Value) {
        self.flows
            .word(bucket, offset_of!(Bucket, keys) + lane * 8)
            .store(key, Ordering::SeqCst);
        self.flows
            .word(bucket, offset_of!(Bucket, values) + lane * 8)
            .store(value.0, Ordering::SeqCst);
    }

    /// Keeps what a flow was made from and is translated to, as the program would.
    #[cfg(test)]
    pub(crate) fn put_cold(&self, slot: usize, cold: ColdKey) {
        self.flow_keys.write(slot, cold);
    }

    /// The value word of a slot.
    pub(super) fn value_word(&self, slot: usize) -> &AtomicU64 {
        let (bucket, lane) = (slot / BUCKET_FLOWS, slot % BUCKET_FLOWS);
        self.flows
            .word(bucket, offset_of!(Bucket, values) + lane * 8)
    }

    /// Frees a flow, if its value still is what a scan saw. One compare-and-exchange.
    #[must_use]
    pub fn free_flow(&self, flow: &FlowSlot) -> bool {
        self.value_word(flow.slot)
            .compare_exchange(flow.value.0, 0, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    }

    /// Cuts a flow at the tick `now`, if its value still is what a scan saw: from then on each of its
    /// packets is answered with a RST. One compare-and-exchange.
    #[must_use]
    pub fn cut_flow(&self, flow: &FlowSlot, now: u32) -> bool {
        let cut = flow.value.cut(now).0;
        self.value_word(flow.slot)
            .compare_exchange(flow.value.0, cut, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    }
}

/// Fills a split table that nothing reads.
pub(super) fn fill_split(
    maps: &Mapping<SplitTable>,
    table: u8,
    header: &SplitHeader,
    slots: &[u8; SLOTS],
) {
    let target = maps.pointer(usize::from(table) & (TABLES - 1));
    // SAFETY: the table is not current, so nothing reads it; both places are valid for the copy
    // and do not overlap.
    unsafe {
        (&raw mut (*target).header).write_volatile(*header);
        std::ptr::copy_nonoverlapping(slots.as_ptr(), (&raw mut (*target).slots).cast(), SLOTS);
    }
}

/// Fills what goes before the slots of a split table that nothing reads.
pub(super) fn fill_routes(maps: &Mapping<SplitTable>, table: u8, routes: &Routes) {
    let target = maps.pointer(usize::from(table) & (TABLES - 1));
    // SAFETY: the table is not current, so nothing reads it; the place is valid for the whole value.
    unsafe { std::ptr::copy_nonoverlapping(routes, &raw mut (*target).routes, 1) };
}

/// Fills a track table that nothing reads yet.
pub(super) fn fill_track(map: &Mapping<TrackTable>, entries: &[u16]) {
    let target = map.pointer(0);
    let length = entries.len().min(splitter_ebpf::abi::MAGLEV);
    // SAFETY: at most the array's length, into memory that nothing else uses yet.
    unsafe {
        std::ptr::copy_nonoverlapping(
            entries.as_ptr(),
            (&raw mut (*target).backends).cast(),
            length,
        )
    };
}

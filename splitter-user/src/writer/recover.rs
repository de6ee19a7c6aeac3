//! At a start: what the journal says, what the data plane has, and making the two agree. The
//! selector decides whether a change that was prepared has happened.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use splitter_ebpf::abi::{Binding, ROWS, Row, Selector};
use tokio::sync::watch;

use super::{Grace, Writer, WriterError, observe, record, scan, sync};
use crate::dataplane::{DataPlane, PlaneError};
use crate::nexthop::NextHops;
use crate::state::{IdState, World};
use crate::store::Store;

impl<D: DataPlane + 'static> Writer<D> {
    /// A writer over `plane` and `store`. With `adopted` the data plane ran before and is only
    /// completed; else it is empty and gets everything that the journal holds.
    ///
    /// # Errors
    /// [`WriterError`]; traffic goes on as it did.
    pub fn recover(
        plane: D,
        store: Store,
        secret: [u8; 32],
        adopted: bool,
        grace: Grace,
        addresses: watch::Sender<BTreeSet<IpAddr>>,
    ) -> Result<Self, WriterError> {
        let layout = plane.tables().layout;
        let limit = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        let mut writer = Self {
            world: World::empty(
                limit(layout.services),
                limit(layout.listeners),
                limit(layout.backends),
            ),
            scan: scan::Scan::new(&plane, Instant::now()),
            plane,
            store,
            secret,
            grace,
            tables_retired: BTreeMap::new(),
            rows_retired: [0; ROWS],
            tracks: BTreeMap::new(),
            replies_freed: BTreeSet::new(),
            hops: NextHops::default(),
            addresses,
            expected: BTreeMap::new(),
            tidy_after: None,
            observe: observe::Observations::default(),
            conditions: BTreeMap::new(),
        };
        writer.settle_journal(adopted)?;
        for record in writer.store.load_services()? {
            let service = record::read_service(&record)?;
            writer.world.services.insert(record.name, service);
        }
        record::read_ids(&writer.store.load_ids()?, &mut writer.world)?;
        writer.make_good(adopted)?;
        writer.need_proof_of_all();
        writer.publish_addresses();
        Ok(writer)
    }

    /// Commits or discards what was prepared when the last agent ended.
    fn settle_journal(&mut self, adopted: bool) -> Result<(), WriterError> {
        let Some(pending) = self.store.pending()? else {
            return Ok(());
        };
        let flipped = adopted && self.plane.tables().selector().0 == pending.selector_after;
        if flipped {
            tracing::info!(
                sequence = pending.sequence,
                "the last agent ended after a flip: committing it"
            );
            self.store.commit(pending.sequence)?;
        } else {
            tracing::info!(
                sequence = pending.sequence,
                "the last agent ended before a flip: forgetting it"
            );
            self.store.discard(pending.sequence)?;
        }
        Ok(())
    }

    /// Makes the tables hold what the journal says.
    fn make_good(&mut self, adopted: bool) -> Result<(), WriterError> {
        let world = self.world.clone();
        let mut selector = self.plane.tables().selector();
        if !adopted {
            // Never behind a number that the journal has seen.
            selector = Selector::new(self.store.committed()?.unwrap_or(0), 0);
        }
        self.write_backends(&world);
        let ids: Vec<(String, u16)> = world
            .service_ids
            .iter()
            .map(|(id, name, _)| (name.clone(), id))
            .collect();
        let mut owner: BTreeMap<_, u16> = BTreeMap::new();
        for (name, id) in &ids {
            if let Some(service) = world.services.get(name) {
                owner.extend(
                    service
                        .spec
                        .listeners
                        .iter()
                        .map(|listener| (*listener, *id)),
                );
            }
        }
        for (id, listener, state) in world.listener_ids.iter() {
            if state == IdState::Quarantined {
                continue;
            }
            let service = owner.get(listener).copied().unwrap_or(0);
            let binding = Binding::new(service, service, selector.short());
            let record = sync::wire_listener(listener, binding);
            let there = self.plane.tables().listener(id);
            if (there.address, there.port, there.protocol)
                == (record.address, record.port, record.protocol)
            {
                self.plane.tables().bind(id, binding);
            } else {
                self.plane.tables().write_listener(id, record);
            }
        }
        self.sync_tracks(&sync::tracks(&world))?;
        self.sync_endpoints(&sync::endpoints(&world), true)?;
        let mut row = if adopted {
            *self.plane.tables().row(selector.row())
        } else {
            Row { table: [0; 4096] }
        };
        let mut repaired = !adopted;
        for (name, id) in ids {
            let Some(service) = world.services.get(&name) else {
                continue;
            };
            self.plane.add_service(id)?;
            let current = &mut row.table[usize::from(id)];
            let agrees = *current == service.split.table
                && self.holds(id, &service.split)?
                && service
                    .anchor
                    .as_ref()
                    .map_or(Ok(true), |anchor| self.holds(id, &anchor.split))?;
            if agrees && adopted {
                continue;
            }
            if adopted {
                tracing::warn!(
                    service = name,
                    "the data plane has another split than the journal: putting it right"
                );
            }
            repaired = true;
            self.replace_split(&name, id, *current, adopted)?;
            let table = self
                .world
                .services
                .get(&name)
                .map_or(0, |service| service.split.table);
            row.table[usize::from(id)] = table;
        }
        if repaired {
            let next = if adopted { (selector.row() + 1) % 8 } else { 0 };
            self.plane.tables().write_row(next, &row);
            let sequence = if adopted {
                selector.sequence() + 1
            } else {
                selector.sequence()
            };
            self.plane
                .tables()
                .flip(Selector::new(sequence, u8::try_from(next).unwrap_or(0)));
        }
        self.plane.barrier()?;
        self.plane.tables_mut().endpoints.settle();
        self.replies_freed.clear();
        Ok(())
    }

    fn holds(&self, id: u16, split: &crate::state::Split) -> Result<bool, PlaneError> {
        let (header, slots) = self.plane.tables().read_split(id, split.table)?;
        Ok(header == split.header(&self.secret) && slots.as_slice() == split.slots.as_bytes())
    }

    /// Writes a service's splits into tables that are not current.
    fn replace_split(
        &mut self,
        name: &str,
        id: u16,
        current: u8,
        adopted: bool,
    ) -> Result<(), PlaneError> {
        let secret = self.secret;
        let Some(service) = self.world.services.get_mut(name) else {
            return Ok(());
        };
        if adopted {
            let free: Vec<u8> = (0..4).filter(|table| *table != current).collect();
            service.split.table = free[0];
            if let Some(anchor) = &mut service.anchor {
                anchor.split.table = free[1];
            }
        }
        let tables = self.plane.tables();
        for split in service
            .anchor
            .iter()
            .map(|anchor| &anchor.split)
            .chain([&service.split])
        {
            tables.write_split(
                id,
                split.table,
                &split.header(&secret),
                split.slots.as_bytes(),
            )?;
        }
        Ok(())
    }
}

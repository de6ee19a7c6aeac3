//! At a start: what the journal says, what the data plane has, and making the two agree. The
//! selector decides whether a change that was prepared has happened.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use splitter_ebpf::abi::{Binding, ROWS, Row, Selector};
use tokio::sync::watch;

use super::{Grace, Writer, WriterError, clock, observe, record, scan, sync};
use crate::dataplane::{DataPlane, ServiceTables};
use crate::nexthop::NextHops;
use crate::state::{IdState, ServiceState, UNPLACED, World};
use crate::store::{IdRecord, Prepared, Store};

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
            closer: super::close::Closer::new(&secret, Instant::now()),
            plane,
            store,
            secret,
            grace,
            tables_retired: BTreeMap::new(),
            rows_retired: [0; ROWS],
            tracks: BTreeMap::new(),
            replies_freed: BTreeSet::new(),
            hops: NextHops::default(),
            vlans_due: false,
            nat: crate::config::Nat::default(),
            addresses,
            expected: BTreeMap::new(),
            resync: false,
            leftover: None,
            numbers_due: false,
            ramps: super::ramp::Ramps::default(),
            tidy_after: None,
            frozen: None,
            refusals: super::policy::Refusals::default(),
            observe: observe::Observations::default(),
            conditions: BTreeMap::new(),
        };
        let unsure = writer.settle_journal(adopted)?;
        writer.recall_secret()?;
        let blank = writer.store.committed()?.is_none()
            && unsure.is_none()
            && writer.store.load_ids()?.is_empty();
        if adopted && blank && writer.plane.tables().endpoints.iter().next().is_some() {
            return Err(WriterError::StateGone);
        }
        for record in writer.store.load_services()? {
            let mut service = record::read_service(&record)?;
            let tracks = service.drained_tracks.values_mut();
            for drain in tracks.chain(service.drained_backends.values_mut()) {
                clock::again(&mut drain.since, &mut drain.deadline, super::now_ms());
            }
            for closing in service.closings.values_mut() {
                closing.since = closing.since.min(super::now_ms());
            }
            writer.world.services.insert(record.name, service);
        }
        let mut ids = writer.store.load_ids()?;
        let known = |record: &IdRecord| (record.kind.clone(), record.id);
        let there: BTreeSet<(String, u32)> = ids.iter().map(known).collect();
        if adopted {
            let given = unsure.iter().flat_map(|change| &change.ids);
            let unknown = given
                .filter(|record| record.state != IdRecord::FREE && !there.contains(&known(record)));
            ids.extend(unknown.cloned());
        } else {
            // No flow has outlived the tables.
            let active = record::active();
            ids.retain(|record| record.state == active);
        }
        record::read_ids(&ids, &mut writer.world)?;
        let world = &mut writer.world;
        let backends = world
            .backend_ids
            .deletions_mut()
            .map(|(_, _, deletion)| deletion);
        let listeners = world
            .listener_ids
            .deletions_mut()
            .map(|(_, _, deletion)| deletion);
        for deletion in backends.chain(listeners) {
            clock::again(&mut deletion.since, &mut deletion.deadline, super::now_ms());
        }
        writer.forget_former_services();
        writer.check_limits()?;
        writer.delete_unwanted();
        // Before the change is forgotten: what it gave out is in no other record.
        writer.record_ids();
        if let Some(change) = unsure {
            writer.store.discard(change.sequence)?;
        }
        writer.make_good(adopted)?;
        writer.recall_applied()?;
        writer.recall_freeze()?;
        writer.need_proof_of_all();
        writer.publish_addresses();
        Ok(writer)
    }

    /// Every number must lie in the tables.
    fn check_limits(&self) -> Result<(), WriterError> {
        fn highest<K: Ord + Clone>(ids: &crate::state::Ids<K>) -> u16 {
            ids.iter().map(|(id, _, _)| id).max().unwrap_or(0)
        }
        let layout = self.plane.tables().layout;
        for (what, limit, needed, have) in [
            (
                "services",
                "limits.services",
                highest(&self.world.service_ids),
                layout.services,
            ),
            (
                "listeners",
                "limits.services (4 listeners each)",
                highest(&self.world.listener_ids),
                layout.listeners,
            ),
            (
                "backends",
                "limits.backends",
                highest(&self.world.backend_ids),
                layout.backends,
            ),
        ] {
            if u32::from(needed) > have {
                return Err(WriterError::Limit {
                    what,
                    limit,
                    needed,
                    have,
                });
            }
        }
        Ok(())
    }

    /// Marks numbers that nothing in force needs as deleting.
    pub(super) fn delete_unwanted(&mut self) {
        let before = self.world.clone();
        if let Err(error) = self.world.number(&before, super::now_ms()) {
            tracing::error!(%error, "what is in force has no number");
        }
    }

    /// Commits what was prepared when the last agent ended, if it was flipped; else gives it back to
    /// be discarded: packets may have met its backends.
    fn settle_journal(&mut self, adopted: bool) -> Result<Option<Prepared>, WriterError> {
        let Some(pending) = self.store.pending()? else {
            return Ok(None);
        };
        // A change that has no flip is not decisive before it is committed.
        let flips = pending.selector_before != pending.selector_after;
        let flipped =
            adopted && flips && self.plane.tables().selector().0 == pending.selector_after;
        if flipped {
            tracing::info!(
                sequence = pending.sequence,
                "the last agent ended after a flip: committing it"
            );
            self.store.commit(pending.sequence)?;
            Ok(None)
        } else {
            tracing::info!(
                sequence = pending.sequence,
                "the last agent ended before a flip: forgetting it"
            );
            Ok(Some(pending))
        }
    }

    /// Frees the numbers of services that were deleted right before the last agent ended.
    fn forget_former_services(&mut self) {
        let former: Vec<u16> = self
            .world
            .service_ids
            .iter()
            .filter(|(_, name, _)| !self.world.services.contains_key(*name))
            .map(|(id, _, _)| id)
            .collect();
        for id in former {
            self.world.service_ids.free(id);
        }
    }

    /// Makes the tables hold what the journal says.
    fn make_good(&mut self, adopted: bool) -> Result<(), WriterError> {
        if adopted {
            // The last agent may have flipped a moment ago.
            self.plane.barrier()?;
        }
        let world = self.world.clone();
        let mut selector = self.plane.tables().selector();
        if !adopted {
            // Never behind a number that the journal has seen.
            selector = Selector::new(self.store.committed()?.unwrap_or(0), 0);
        }
        self.write_backends(&world);
        self.write_words(&world, sync::Words::All);
        let ids: Vec<(String, u16)> = world
            .service_ids
            .iter()
            .map(|(id, name, _)| (name.clone(), id))
            .collect();
        let mut owner: BTreeMap<_, u16> = BTreeMap::new();
        for (name, id) in &ids {
            if let Some(service) = world.services.get(name) {
                owner.extend(service.spec.dialled().map(|listener| (*listener, *id)));
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
        self.sync_tracks(&sync::tracks(&world, super::now_ms()))?;
        self.sync_endpoints(&sync::endpoints(&world), true)?;
        let mut row = if adopted {
            *self.plane.tables().row(selector.row())
        } else {
            Row { table: [0; 4096] }
        };
        let mut sets = Vec::new();
        for (name, id) in ids {
            let Some(service) = self.world.services.get_mut(&name) else {
                continue;
            };
            // Where the data plane looks already; the same content is put there.
            let current = if adopted {
                row.table[usize::from(id)] % 4
            } else {
                service.split.table % 4
            };
            row.table[usize::from(id)] = current;
            service.split.table = current;
            for anchor in &mut service.anchors {
                anchor.split.table = UNPLACED;
            }
            if let Some(newest) = service.anchors.first_mut() {
                newest.split.table = (current + 1) % 4;
            }
            sets.push((name, id));
        }
        let sets: Vec<ServiceTables> = sets
            .iter()
            .filter_map(|(name, id)| {
                let service = self.world.services.get(name)?;
                Some(self.tables_for(*id, service, &self.world))
            })
            .collect();
        self.plane.install_services(&sets)?;
        if !adopted {
            self.plane.tables().write_row(0, &row);
            self.plane.tables().flip(selector);
        }
        self.plane.barrier()?;
        self.plane.tables_mut().endpoints.settle();
        self.replies_freed.clear();
        Ok(())
    }

    /// A service's splits, each in its table.
    pub(super) fn tables_for(
        &self,
        id: u16,
        service: &ServiceState,
        world: &World,
    ) -> ServiceTables {
        let anchor = service.anchor().map(|anchor| &anchor.split);
        let splits = || anchor.into_iter().chain([&service.split]);
        ServiceTables {
            service: id,
            tables: splits()
                .map(|split| {
                    (
                        split.table,
                        split.header(&self.secret, &world.listener_ids),
                        Arc::clone(&split.slots),
                    )
                })
                .collect(),
            routes: splits()
                .filter(|split| !split.steering.routes.is_empty())
                .map(|split| (split.table, split.steering.routes.table()))
                .collect(),
        }
    }
}

//! Carrying out a plan: all of it or nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use splitter_ebpf::abi::{Binding, ROWS, Selector, TABLES};

use super::clock::wall_ms;
use super::policy::{Refusal, act};
use super::{Writer, now_ms, record, sync};
use crate::api::types::{Actor, ApiError, Change, ChangeRequest, ErrorCode};
use crate::dataplane::{DataPlane, PlaneError};
use crate::plan::{Plan, check_generation, plan};
use crate::state::{IdState, ServiceState, Split, UNPLACED, World};
use crate::store::{Audit, Prepared, StoreError};

/// A flip that is ready to be made.
pub(super) struct Flip {
    from: Selector,
    to: Selector,
}

impl<D: DataPlane + 'static> Writer<D> {
    /// Carries out a request, or says what it would do. What is refused goes into the audit log too.
    pub(super) fn change(
        &mut self,
        request: &ChangeRequest,
        actor: Actor,
    ) -> Result<Vec<Change>, ApiError> {
        let outcome = self.try_change(request, actor);
        if let (Err(error), false) = (&outcome, request.dry_run) {
            self.refused(Refusal::of(request, actor, error));
        }
        outcome
    }

    fn try_change(
        &mut self,
        request: &ChangeRequest,
        actor: Actor,
    ) -> Result<Vec<Change>, ApiError> {
        self.discard_leftover()?;
        let now = now_ms();
        let verb = request.command.verb();
        check_generation(&self.world, &request.command, request.expect_generation)?;
        if !request.dry_run {
            self.check_freeze(verb)?;
        }
        let mut plan = plan(
            &self.world,
            &request.command,
            request.expect_generation,
            now,
        )?;
        if plan.layout {
            sync::check_pairs(&plan.next)?;
        }
        self.check_secret(&plan)?;
        self.note_unpinned(&mut plan);
        self.note_gateways(&mut plan);
        if request.dry_run {
            for change in &mut plan.changes {
                change.dry_run = true;
            }
            self.note_freeze(verb, &mut plan.changes);
            return Ok(plan.changes);
        }
        let applied = std::mem::take(&mut plan.next.applied);
        if plan.is_empty() {
            self.keep_applied(applied);
            return Ok(plan.changes);
        }
        self.observe_new(&plan.next)
            .map_err(|error| ApiError::internal(format!("nothing was changed: {error}")))?;
        let audit = audit(request, actor, &plan, wall_ms());
        self.place(&mut plan)?;
        self.settle_bindings(&plan)?;
        let flip = self
            .needs_flip(&plan)
            .then(|| self.next_flip())
            .transpose()?;
        // In force from here on, and kept with the change.
        let secret = self.secret;
        self.secret = plan.secret.unwrap_or(secret);
        let done = match &flip {
            Some(flip) => self.flip_to(&plan, flip, audit).map(Some),
            None => self.without_flip(&plan, audit).map(|()| None),
        };
        let took = match done {
            Ok(took) => took,
            Err(error) => {
                self.secret = secret;
                return Err(error);
            }
        };
        crate::crash::point();
        let nanoseconds = took.map(|took| u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        for change in &mut plan.changes {
            change.flip_nanoseconds = nanoseconds;
            tracing::info!(
                uid = actor.uid,
                gid = actor.gid,
                pid = actor.pid,
                verb = request.command.verb(),
                service = change.service,
                generation = change.generation,
                from = ?change.before,
                to = ?change.after,
                flip_ns = nanoseconds,
                reason = request.reason.as_deref().unwrap_or(""),
                "change"
            );
        }
        let before = std::mem::take(&mut self.world.applied);
        self.world = plan.next;
        self.world.applied = before;
        self.keep_applied(applied);
        self.write_words(&self.world, sync::Words::All);
        self.after_change();
        if plan.layout {
            // A number that came back may name what clients were translated to long ago.
            self.renew_pools();
        }
        self.judge_backends();
        self.judge_ways();
        match flip {
            Some(flip) if self.plane.tables().selector() != flip.to => Err(ApiError::internal(
                "the change is committed, and the data plane does not have it: another process writes to its maps; \
                 restart the agent, which puts in force what is committed",
            )),
            _ => Ok(plan.changes),
        }
    }

    /// Gives every new split a table that no packet can be reading, and that undo does not need.
    pub(super) fn place(&mut self, plan: &mut Plan) -> Result<(), ApiError> {
        for name in &plan.touched {
            let before = self.world.services.get(name);
            let Some(id) = plan.next.service_ids.get(name) else {
                continue;
            };
            let after = plan.next.services.get(name);
            let placed = after.is_some_and(|after| self.holds(id, &after.split, &plan.next));
            let Some(after) = plan.next.services.get_mut(name).filter(|_| !placed) else {
                continue;
            };
            let mut busy = [false; TABLES];
            let held = before.map(|b| b.split.table).into_iter().chain(
                before
                    .and_then(ServiceState::anchor)
                    .map(|anchor| anchor.split.table),
            );
            for table in held.chain(after.anchor().map(|anchor| anchor.split.table)) {
                if let Some(busy) = busy.get_mut(usize::from(table)) {
                    *busy = true;
                }
            }
            let retired = self.tables_retired.entry(id).or_default();
            let free = (0..TABLES)
                .filter(|table| !busy[*table])
                .min_by_key(|table| retired[*table]);
            let table = free.ok_or_else(|| ApiError::internal("no split table is free"))?;
            if retired[table] > self.grace.completed() && !self.grace.wait_for(retired[table]) {
                return Err(ApiError::internal(
                    "no grace period passes: the kernel holds an old split in use",
                ));
            }
            after.split.table = u8::try_from(table).unwrap_or(0);
            if before.is_none()
                && let Some(anchor) = after.anchors.first_mut()
            {
                // It came with the service; all other tables are free.
                anchor.split.table = u8::try_from((table + 1) % TABLES).unwrap_or(0);
            }
        }
        Ok(())
    }

    /// Whether a split's table holds it as it has to be now: the number of its preview's listener may have been
    /// given to another one since it was written.
    fn holds(&self, service: u16, split: &Split, next: &World) -> bool {
        if split.table == UNPLACED {
            return false;
        }
        let wanted = split.header(&self.secret, &next.listener_ids);
        let held = self.plane.tables().read_split(service, split.table);
        held.is_ok_and(|(header, _)| header == wanted)
    }

    /// Whether anything changes that packets must see at once: a split, or a listener's owner.
    pub(super) fn needs_flip(&self, plan: &Plan) -> bool {
        let split_of = |world: &World, name: &String| {
            world.services.get(name).map(|service| service.split.table)
        };
        let resplit = plan
            .touched
            .iter()
            .any(|name| split_of(&self.world, name) != split_of(&plan.next, name));
        resplit || !plan.deleted.is_empty() || owners(&self.world) != owners(&plan.next)
    }

    pub(super) fn next_flip(&self) -> Result<Flip, ApiError> {
        let from = self.plane.tables().selector();
        let rows = (0..ROWS).filter(|row| u32::try_from(*row) != Ok(from.row()));
        let row = rows.min_by_key(|row| self.rows_retired[*row]).unwrap_or(0);
        let retired = self.rows_retired[row];
        if retired > self.grace.completed() && !self.grace.wait_for(retired) {
            return Err(ApiError::internal(
                "no grace period passes: the kernel holds an old row in use",
            ));
        }
        Ok(Flip {
            from,
            to: Selector::new(from.sequence() + 1, u8::try_from(row).unwrap_or(0)),
        })
    }

    /// prepared -> tables -> flip -> committed.
    pub(super) fn flip_to(
        &mut self,
        plan: &Plan,
        flip: &Flip,
        audit: Audit,
    ) -> Result<Duration, ApiError> {
        let prepared = self.prepared(plan, flip.from, flip.to, audit);
        self.store.prepare(&prepared).map_err(not_recorded)?;
        if let Err(error) = self.prepare_tables(plan, flip) {
            return Err(self.take_back(plan, flip, &error.to_string()));
        }
        let took = self.plane.tables().flip(flip.to);
        let sequence = flip.to.sequence();
        if let Err(error) = self.store.commit(sequence) {
            let back = Selector::new(sequence + 1, u8::try_from(flip.from.row()).unwrap_or(0));
            // Owners go back in the very flip that takes the split back.
            self.retire(plan, flip, sequence);
            if self.grace.wait_for(sequence) {
                self.rebind(&plan.next, &self.world, back);
            }
            self.plane.tables().flip(back);
            self.retire(plan, flip, back.sequence());
            return Err(self.take_back(plan, flip, &error.to_string()));
        }
        self.retire(plan, flip, sequence);
        Ok(took)
    }

    /// Goes as far as an agent does that is killed right before its flip, or right after it.
    #[cfg(test)]
    pub(super) fn cut_short(&mut self, plan: &mut Plan, flipped: bool) {
        let request = ChangeRequest::new(crate::api::types::Command::Undo {
            target: crate::api::types::Target::Service(String::new()),
            to_generation: None,
            existing: crate::api::types::Existing::Keep,
        });
        let actor = Actor {
            uid: 0,
            gid: 0,
            pid: None,
        };
        let audit = audit(&request, actor, plan, 0);
        self.place(plan).expect("a free table");
        let flip = self.next_flip().expect("a free row");
        let prepared = self.prepared(plan, flip.from, flip.to, audit);
        self.store.prepare(&prepared).expect("room in the journal");
        self.prepare_tables(plan, &flip).expect("memory");
        if flipped {
            self.plane.tables().flip(flip.to);
        }
    }

    /// Takes back what [`cut_short`](Self::cut_short) left before its flip.
    #[cfg(test)]
    pub(super) fn take_back_last(&mut self, plan: &Plan, why: &str) -> ApiError {
        let pending = self.store.pending().expect("readable").expect("a change");
        let flip = Flip {
            from: Selector(pending.selector_before),
            to: Selector(pending.selector_after),
        };
        self.take_back(plan, &flip, why)
    }

    /// Notes since when the old tables and the old row are out of use, and asks for the grace period
    /// after which they may be written again.
    fn retire(&mut self, plan: &Plan, flip: &Flip, sequence: u64) {
        self.rows_retired[flip.from.row() as usize] = sequence;
        self.rows_retired[flip.to.row() as usize] = sequence;
        for name in plan.touched.iter().chain(&plan.deleted) {
            // Both: if the flip is taken back, the new table is the one that packets have left.
            for world in [&self.world, &plan.next] {
                if let (Some(id), Some(service)) =
                    (world.service_ids.get(name), world.services.get(name))
                    && let Some(table) = self
                        .tables_retired
                        .entry(id)
                        .or_default()
                        .get_mut(usize::from(service.split.table))
                {
                    *table = sequence;
                }
            }
        }
        self.grace.request(sequence);
        self.tidy_after = Some(sequence);
    }

    fn prepared(&self, plan: &Plan, from: Selector, to: Selector, audit: Audit) -> Prepared {
        let services = plan.touched.iter().filter_map(|name| {
            Some(record::service(
                plan.next.services.get(name)?,
                plan.next.service_ids.get(name)?,
            ))
        });
        Prepared {
            sequence: to.sequence(),
            selector_before: from.0,
            selector_after: to.0,
            services: services.collect(),
            deleted: plan.deleted.clone(),
            ids: record::changed_ids(&self.world, &plan.next),
            metas: Self::secret_kept(plan),
            audit,
        }
    }

    /// Everything that has to be in place before the flip, none of it decisive for any packet yet.
    fn prepare_tables(&mut self, plan: &Plan, flip: &Flip) -> Result<(), PlaneError> {
        self.write_words(&plan.next, sync::Words::New);
        if plan.layout {
            self.write_backends(&plan.next);
            self.rebind(&self.world, &plan.next, flip.to);
            self.sync_endpoints(&sync::endpoints(&plan.next), false)?;
            // A track that loses its last backend keeps its table until packets have left it.
            let mut early = sync::tracks(&plan.next, now_ms());
            early.retain(|index, members| !members.is_empty() || !self.tracks.contains_key(index));
            self.sync_tracks(&early)?;
        }
        let mut row = self.plane.tables().row(flip.from.row());
        for name in &plan.touched {
            let (Some(id), Some(after)) = (
                plan.next.service_ids.get(name),
                plan.next.services.get(name),
            ) else {
                continue;
            };
            if !self.plane.tables().has_service(id) {
                let tables = self.tables_for(id, after, &plan.next);
                self.plane.install_services(&[tables])?;
            }
            let kept = self.world.services.get(name).is_some_and(|before| {
                let anchored = before
                    .anchor()
                    .is_some_and(|anchor| anchor.split == after.split);
                before.split == after.split || anchored
            });
            if !kept {
                let header = after.split.header(&self.secret, &plan.next.listener_ids);
                self.plane.tables().write_split(
                    id,
                    after.split.table,
                    &header,
                    after.split.slots.as_bytes(),
                )?;
                let routes = &after.split.steering.routes;
                if !routes.is_empty() {
                    let table = after.split.table;
                    self.plane
                        .tables()
                        .write_routes(id, table, &routes.table())?;
                }
            }
            row.table[usize::from(id)] = after.split.table;
        }
        self.plane.tables().write_row(flip.to.row(), &row);
        Ok(())
    }

    /// A binding knows one flip. If listeners are to change their owner again, a packet that still
    /// reads the selector of before the last flip must be done first.
    fn settle_bindings(&self, plan: &Plan) -> Result<(), ApiError> {
        match self.tidy_after {
            Some(flip)
                if owners(&self.world) != owners(&plan.next) && !self.grace.wait_for(flip) =>
            {
                Err(ApiError::internal(
                    "no grace period passes: the kernel holds an old owner of a listener in use",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Lets listeners change their owner with the flip to `to`.
    fn rebind(&self, before: &World, after: &World, to: Selector) {
        let (old, new) = (owners(before), owners(after));
        for (id, listener, state) in after.listener_ids.iter() {
            if state == IdState::Quarantined {
                continue;
            }
            let (was, is) = (
                old.get(&id).copied().unwrap_or(0),
                new.get(&id).copied().unwrap_or(0),
            );
            let binding = Binding::new(was, is, to.short());
            let record = sync::wire_listener(listener, binding);
            let there = self.plane.tables().listener(id);
            if (there.address, there.port, there.protocol)
                != (record.address, record.port, record.protocol)
            {
                self.plane.tables().write_listener(id, record);
            } else if was != is || Binding(there.binding).service(to) != is {
                self.plane.tables().bind(id, binding);
            }
        }
    }

    /// Puts back what packets can see after a change that failed before its flip.
    fn take_back(&mut self, plan: &Plan, flip: &Flip, why: &str) -> ApiError {
        let mut message =
            format!("the change failed and was taken back, traffic is as before: {why}");
        self.keep_numbers_of(&plan.next);
        self.rebind(&self.world, &self.world, flip.to);
        let undone = self.sync_all();
        if let Err(error) = undone {
            message = format!("{message}; taking back some tables failed too and goes on: {error}");
        }
        let sequence = flip.to.sequence();
        if let Err(error) = self.forget(sequence) {
            self.leftover = Some(sequence);
            message = format!(
                "{message}; the journal still holds it, and it will be discarded as soon as that can be written: {error}"
            );
        }
        tracing::error!(message, "change taken back");
        ApiError::new(ErrorCode::RolledBack, message)
    }

    /// A change that no packet has to see at once: backends within their tracks.
    pub(super) fn without_flip(&mut self, plan: &Plan, audit: Audit) -> Result<(), ApiError> {
        let selector = self.plane.tables().selector();
        let prepared = self.prepared(plan, selector, selector, audit);
        self.store.prepare(&prepared).map_err(not_recorded)?;
        let mut done = Ok(());
        if plan.layout {
            self.write_backends(&plan.next);
            done = self
                .sync_endpoints(&sync::endpoints(&plan.next), false)
                .and_then(|()| self.sync_tracks(&sync::tracks(&plan.next, now_ms())));
        }
        let done = done.map_err(|error| error.to_string()).and_then(|()| {
            let committed = self.store.commit(selector.sequence());
            committed.map_err(|error| error.to_string())
        });
        let flip = Flip {
            from: selector,
            to: selector,
        };
        done.map_err(|why| self.take_back(plan, &flip, &why))
    }

    /// What waits for packets in flight: done once the grace period after the last flip is over.
    pub(super) fn tidy_up(&mut self) -> Result<(), PlaneError> {
        let Some(flip) = self
            .tidy_after
            .filter(|flip| self.grace.completed() >= *flip)
        else {
            return Ok(());
        };
        let tracks = sync::tracks(&self.world, now_ms());
        self.sync_tracks(&tracks)?;
        self.drop_tracks(&tracks)?;
        let gone: Vec<(u16, String)> = self
            .world
            .service_ids
            .iter()
            .filter(|(_, name, _)| !self.world.services.contains_key(*name))
            .map(|(id, name, _)| (id, name.clone()))
            .collect();
        let any = !gone.is_empty();
        for (id, name) in gone {
            self.plane.remove_service(id)?;
            self.tables_retired.remove(&id);
            tracing::debug!(service = name, id, "its tables are gone");
            self.world.service_ids.free(id);
        }
        for (id, owner) in owners(&self.world) {
            self.plane.tables().bind(
                id,
                Binding::new(owner, owner, Selector::new(flip, 0).short()),
            );
        }
        self.plane.tables_mut().endpoints.settle();
        self.replies_freed.clear();
        if any {
            self.record_ids();
        }
        self.tidy_after = None;
        Ok(())
    }

    /// Numbers that a change gave out and that was taken back may have pins by now: they go as those
    /// of things that were deleted.
    fn keep_numbers_of(&mut self, next: &World) {
        for (id, key, _) in next.backend_ids.iter() {
            if self.world.backend_ids.state_of(id).is_none() {
                self.world
                    .backend_ids
                    .restore(id, key.clone(), IdState::Active);
            }
        }
        for (id, key, _) in next.listener_ids.iter() {
            if self.world.listener_ids.state_of(id).is_none() {
                self.world.listener_ids.restore(id, *key, IdState::Active);
            }
        }
        for (id, services) in &next.listener_services {
            let known = self.world.listener_services.entry(*id).or_default();
            known.extend(services.iter().cloned());
        }
        self.delete_unwanted();
        self.after_change();
    }

    /// Makes every table hold what is in force, and waits until no packet reads what was before. If
    /// it fails, housekeeping tries again before it does anything else.
    pub(super) fn sync_all(&mut self) -> Result<(), PlaneError> {
        self.resync = true;
        let world = self.world.clone();
        self.write_words(&world, sync::Words::All);
        self.sync_tracks(&sync::tracks(&world, now_ms()))?;
        self.sync_endpoints(&sync::endpoints(&world), true)?;
        self.plane.barrier()?;
        self.plane.tables_mut().endpoints.settle();
        self.replies_freed.clear();
        self.resync = false;
        Ok(())
    }

    /// A change that was taken back and could not be discarded is discarded before the next one, or as soon
    /// as the journal can be written.
    pub(super) fn discard_leftover(&mut self) -> Result<(), ApiError> {
        if let Some(sequence) = self.leftover {
            self.forget(sequence).map_err(not_recorded)?;
            self.leftover = None;
        }
        Ok(())
    }

    /// Forgets a change that was taken back, once the numbers that it gave out, which packets may have
    /// met, stand in another record.
    fn forget(&mut self, sequence: u64) -> Result<(), StoreError> {
        self.store.replace_ids(&record::ids(&self.world))?;
        self.store.discard(sequence)
    }

    /// Writes down which numbers are in use; what fails is tried again with the next scan.
    pub(super) fn record_ids(&mut self) {
        let recorded = self.store.replace_ids(&record::ids(&self.world));
        self.numbers_due = recorded.is_err();
        if let Err(error) = recorded {
            tracing::error!(%error, "cannot write down which numbers are in use");
        }
    }
}

/// Listeners that are in force, by number, and the number of the service that owns each.
fn owners(world: &World) -> BTreeMap<u16, u16> {
    let mut owners = BTreeMap::new();
    for (name, service) in &world.services {
        let Some(service_id) = world.service_ids.get(name) else {
            continue;
        };
        for listener in service.spec.dialled() {
            if let Some(id) = world.listener_ids.get(listener) {
                owners.insert(id, service_id);
            }
        }
    }
    owners
}

fn not_recorded(error: StoreError) -> ApiError {
    ApiError::internal(format!(
        "the change could not be written to the journal, nothing was changed: {error}"
    ))
}

/// Of a step that nobody asked for by itself: it leaves no line of its own.
pub(super) fn step_audit(services: &[String], now: u64) -> Audit {
    Audit {
        unix_ms: now,
        uid: 0,
        gid: 0,
        pid: 0,
        verb: Audit::STEP.to_owned(),
        service: services.join(","),
        reason: None,
        command: None,
        refused: None,
        from_json: None,
        to_json: None,
    }
}

fn audit(request: &ChangeRequest, actor: Actor, plan: &Plan, now: u64) -> Audit {
    let all = |pick: fn(&Change) -> &BTreeMap<String, String>| {
        let weights: BTreeMap<&str, _> = plan
            .changes
            .iter()
            .map(|c| (c.service.as_str(), pick(c)))
            .collect();
        serde_json::to_string(&weights).ok()
    };
    let services = plan.changes.iter().map(|change| change.service.as_str());
    Audit {
        unix_ms: now,
        from_json: all(|change| &change.before),
        to_json: all(|change| &change.after),
        command: Some(request.line()),
        ..act(
            request.command.verb(),
            services.collect::<Vec<_>>().join(","),
            request.reason.clone(),
            actor,
        )
    }
}

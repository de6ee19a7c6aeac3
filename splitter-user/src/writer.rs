//! The one thread that changes the data plane. Commands, questions and news of next hops reach it
//! over a bounded channel; between them it scans the flow table, bit by bit.
//!
//! A change goes: plan (pure) -> journal: prepared -> tables that nobody reads yet -> flip ->
//! journal: committed -> answer. What has to wait for packets in flight waits after the flip.

mod annals;
mod applied;
mod clock;
mod close;
mod execute;
mod explain;
mod grace;
mod import;
mod observe;
mod policy;
mod pools;
mod ramp;
mod record;
mod recover;
mod scan;
mod sync;
mod views;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use splitter_ebpf::abi::{ROWS, TABLES};
use tokio::sync::{oneshot, watch};

use crate::api::types::{
    Actor, ApiError, AuditFilter, AuditList, Change, ChangeRequest, Condition, DiffRequest,
    DiffView, DrainTarget, DrainView, ErrorCode, ExplainQuery, Explanation, FlowFilter, FlowList,
    FlowTableView, FreezeRequest, FreezeView, HistoryFilter, HistoryList, LimitsView,
    ServiceStatus, ServiceView, Which,
};
use crate::config::Nat;
use crate::dataplane::{DataPlane, PlaneError};
use crate::loader::Again;
use crate::nexthop::NextHops;
use crate::plan::difference;
use crate::state::{Freeze, World};
use crate::store::{Store, StoreError};
use crate::table::maglev::Member;

use clock::now_ms;
use pools::Pools;

pub use close::Closes;
pub use grace::Grace;
pub use observe::Figures;
pub use policy::Refusal;

/// Requests that may wait for the writer; beyond that callers are told that it is busy.
const QUEUE: usize = 256;

/// An answer on its way.
pub type Answer<T> = oneshot::Sender<Result<T, ApiError>>;

/// What the writer can be asked.
pub enum Request {
    /// Change something.
    Change(Box<ChangeRequest>, Actor, Answer<Vec<Change>>),
    /// Services, all or one.
    Services(Option<String>, Answer<Vec<ServiceView>>),
    /// Pinned flows.
    Flows(FlowFilter, Answer<FlowList>),
    /// Where a packet would go, and why.
    Explain(ExplainQuery, Answer<Explanation>),
    /// Which track a client meets.
    Which(IpAddr, String, Answer<Which>),
    /// How the data plane stands.
    Status(Answer<PlaneStatus>),
    /// Everything in force, as YAML.
    Export(Answer<String>),
    /// A text compared with what is in force.
    Diff(Box<DiffRequest>, Answer<DiffView>),
    /// Generations of services.
    History(HistoryFilter, Answer<HistoryList>),
    /// Requests to change something.
    Audit(AuditFilter, Answer<AuditList>),
    /// Refuse changes from now on, or no longer.
    Freeze(FreezeRequest, Actor, Answer<FreezeView>),
    /// The data plane is to be removed: whether it may be, and noted.
    BeginDetach(Actor, Answer<()>),
    /// The same with slots and secret, of all services or one.
    ExportState(Option<String>, Actor, Answer<String>),
    /// How a drain stands.
    Drain(String, DrainTarget, Answer<DrainView>),
    /// Figures for metrics.
    Figures(Answer<Figures>),
    /// Addresses that a change to come will send packets to: the ways to them are wanted already.
    Expect(BTreeSet<IpAddr>),
    /// That change has come, or will not.
    NoLongerExpect(BTreeSet<IpAddr>),
    /// Next hops towards the backends.
    Hops(NextHops),
    /// Routes or neighbours have changed.
    RoutesChanged,
    /// Something outside the writer stands as this says, or no longer does (`None`).
    Condition(crate::api::types::ConditionKind, Option<String>),
    /// Interfaces may have gone and come back: put the program on them.
    AttachAgain(Answer<Again>),
    /// A value to keep beside the state, and to ask for.
    Remember(String, String, Answer<()>),
    /// A value kept beside the state.
    Recall(String, Answer<Option<String>>),
    /// End; the data plane stays as it is.
    Stop(oneshot::Sender<()>),
}

/// The data plane's part of the status.
#[derive(Debug, Clone)]
pub struct PlaneStatus {
    /// Flips so far.
    pub selector_sequence: u64,
    /// Sizes in force.
    pub limits: LimitsView,
    /// The flow table.
    pub flow_table: FlowTableView,
    /// What is not as it should be.
    pub conditions: Vec<Condition>,
    /// Services.
    pub services: Vec<ServiceStatus>,
}

/// How to reach the writer.
#[derive(Debug, Clone)]
pub struct Handle {
    queue: SyncSender<Request>,
    denials: policy::Denials,
}

impl Handle {
    /// Sends a request that has no answer and that a full queue may drop.
    pub fn tell(&self, request: Request) {
        if self.queue.try_send(request).is_err() {
            tracing::warn!("the writer's queue is full: a message to it was dropped");
        }
    }

    /// Takes note of what was refused before the writer was asked: at once, and without a place in its queue.
    pub fn refused(&self, refusal: Refusal) {
        self.denials.add(refusal);
    }

    /// Sends a request that must arrive: waits while the queue is full.
    pub async fn insist(&self, request: Request) {
        let queue = self.queue.clone();
        // The writer is gone only when the agent stops, and then nothing has to arrive.
        let _sent = tokio::task::spawn_blocking(move || queue.send(request)).await;
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The answer's own, or that the writer is busy or gone.
    pub async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, ApiError> {
        let (answer, answered) = oneshot::channel();
        self.queue
            .try_send(request(answer))
            .map_err(|error| match error {
                TrySendError::Full(_) => ApiError::new(
                    ErrorCode::Busy,
                    format!("the agent is busy: {QUEUE} requests wait already; try again"),
                ),
                TrySendError::Disconnected(_) => ApiError::internal("the agent is stopping"),
            })?;
        answered
            .await
            .map_err(|_| ApiError::internal("the agent is stopping"))?
    }
}

/// Why the writer cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// The journal.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data plane.
    #[error(transparent)]
    Plane(#[from] PlaneError),
    /// The journal is empty, the data plane is not.
    #[error(
        "the data plane carries traffic, but state_dir holds no state: put state.db back, or run `splitterd --config FILE \
         --detach`, which cuts every flow"
    )]
    StateGone,
    /// What is in force needs more room than the limits give.
    #[error(
        "the state needs room for {needed} {what}, {limit} gives {have}: raise it to at least {needed}"
    )]
    Limit {
        /// Of what.
        what: &'static str,
        /// The limit's name.
        limit: &'static str,
        /// The highest number in use.
        needed: u16,
        /// What the limit allows.
        have: u32,
    },
    /// An imported secret that is none: with another one every client would meet another track.
    #[error(
        "the secret of an import is kept in state.db with {length} characters, a secret has 64 hexadecimal digits: put state.db \
         back from a backup; the data plane goes on as it is"
    )]
    ImportedSecret {
        /// Its length.
        length: usize,
    },
    /// The journal holds something that this agent cannot read.
    #[error(
        "the state of service {service} cannot be read: {message}; it was written by another version of the agent"
    )]
    Record {
        /// The service.
        service: String,
        /// What is wrong.
        message: String,
    },
}

/// The writer.
pub struct Writer<D> {
    plane: D,
    store: Store,
    secret: [u8; 32],
    world: World,
    grace: Grace,
    /// Flip at which each service's tables were last current.
    tables_retired: BTreeMap<u16, [u64; TABLES]>,
    /// The same for rows.
    rows_retired: [u64; ROWS],
    /// What the track tables were last filled from.
    tracks: BTreeMap<u32, Vec<Member>>,
    /// Reply records that packets may still read.
    replies_freed: BTreeSet<u32>,
    hops: NextHops,
    /// The program has not been told of all VLANs: the last attempt failed.
    vlans_due: bool,
    /// What clients of mode `fullnat` are translated to.
    nat: Nat,
    /// Addresses of backends, for whoever finds the ways to them.
    addresses: watch::Sender<BTreeSet<IpAddr>>,
    /// Addresses of backends to come, and by how many changes each is expected.
    expected: BTreeMap<IpAddr, usize>,
    /// Tables do not hold what is in force: the last attempt failed.
    resync: bool,
    /// A change that was taken back and still stands in the journal, by its sequence.
    leftover: Option<u64>,
    /// The journal does not say which numbers are in use: the last attempt failed.
    numbers_due: bool,
    ramps: ramp::Ramps,
    /// A flip after which something is to be tidied up, once packets in flight are done.
    tidy_after: Option<u64>,
    /// Changes are refused.
    frozen: Option<Freeze>,
    refusals: policy::Refusals,
    scan: scan::Scan,
    closer: close::Closer,
    observe: observe::Observations,
    conditions: BTreeMap<crate::api::types::ConditionKind, (String, SystemTime)>,
}

/// Ends the whole agent if the writer panics: without its writer it would answer nobody and expire nothing, while whoever
/// starts it (systemd) took it to be well. What is in the journal is whole, and the data plane goes on.
struct EndOnPanic;

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the writer has panicked: the agent ends, the data plane goes on");
            std::process::abort();
        }
    }
}

impl<D: DataPlane + 'static> Writer<D> {
    /// Starts the writer's thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(self) -> std::io::Result<(Handle, std::thread::JoinHandle<D>)> {
        let (queue, requests) = sync_channel(QUEUE);
        let denials = self.refusals.denials();
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || {
                let _guard = EndOnPanic;
                self.run(&requests)
            })?;
        Ok((Handle { queue, denials }, thread))
    }

    /// The data plane, before the thread runs.
    pub fn plane_mut(&mut self) -> &mut D {
        &mut self.plane
    }

    /// The route epoch that caches may hold entries of.
    #[must_use]
    pub fn route_epoch(&self) -> u32 {
        self.plane.tables().route_epoch()
    }

    /// Notes that the configuration asks for other sizes than the pinned maps have.
    pub fn limits_pending(&mut self, wanted: &crate::loader::Layout) {
        let have = self.plane.tables().layout;
        self.raise(
            crate::api::types::ConditionKind::LimitsPending,
            format!(
                "the maps have room for {} services, {} backends and {} flows, the configuration asks for {}, {} and {}: \
                 it takes effect after `splitterctl detach` and a start",
                have.services,
                have.backends,
                have.flow_slots() / 2,
                wanted.services,
                wanted.backends,
                wanted.flow_slots() / 2
            ),
        );
    }

    fn run(mut self, requests: &Receiver<Request>) -> D {
        let mut stop = None;
        while stop.is_none() {
            let wait = self.next_work(Instant::now());
            match requests.recv_timeout(wait) {
                Ok(Request::Stop(done)) => stop = Some(done),
                Ok(request) => self.serve(request),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Err(error) = self.housekeep(Instant::now()) {
                tracing::error!(%error, "housekeeping failed; it goes on in a second");
                self.scan.postpone(Instant::now());
            }
        }
        self.write_refusals();
        let Self { plane, store, .. } = self;
        drop(store);
        if let Some(done) = stop {
            // Nobody waits for it if the asker is gone.
            let _gone = done.send(());
        }
        plane
    }

    fn serve(&mut self, request: Request) {
        // An asker that is gone by now does not want the answer.
        match request {
            Request::Change(change, actor, answer) => {
                drop(answer.send(self.change(&change, actor)))
            }
            Request::Services(name, answer) => {
                drop(answer.send(self.service_views(name.as_deref())))
            }
            Request::Flows(filter, answer) => drop(answer.send(self.flow_list(&filter))),
            Request::Explain(query, answer) => drop(answer.send(self.explain(&query))),
            Request::Which(client, service, answer) => {
                drop(answer.send(self.which(client, &service)))
            }
            Request::Status(answer) => drop(answer.send(Ok(self.status()))),
            Request::Export(answer) => drop(answer.send(self.export())),
            Request::ExportState(service, actor, answer) => {
                drop(answer.send(self.export_state(service.as_deref(), actor)))
            }
            Request::Diff(request, answer) => {
                drop(answer.send(difference(&self.world, &request, now_ms())))
            }
            Request::History(filter, answer) => drop(answer.send(self.history(&filter))),
            Request::Audit(filter, answer) => drop(answer.send(self.audit_list(&filter))),
            Request::Freeze(request, actor, answer) => {
                drop(answer.send(self.freeze(&request, actor)))
            }
            Request::BeginDetach(actor, answer) => drop(answer.send(self.begin_detach(actor))),
            Request::Drain(service, what, answer) => {
                drop(answer.send(self.drain_view(&service, &what)))
            }
            Request::Figures(answer) => drop(answer.send(self.figures())),
            Request::Expect(addresses) => self.expect(addresses),
            Request::NoLongerExpect(addresses) => self.no_longer_expect(&addresses),
            Request::Hops(hops) => self.set_hops(hops),
            Request::RoutesChanged => self.plane.tables().bump_route_epoch(),
            Request::AttachAgain(answer) => {
                let again = self.plane.attach_again();
                drop(answer.send(again.map_err(|error| ApiError::internal(error.to_string()))));
            }
            Request::Condition(kind, Some(message)) => self.raise(kind, message),
            Request::Condition(kind, None) => self.lower(kind),
            Request::Remember(key, value, answer) => drop(
                answer.send(
                    self.store
                        .set_meta(&key, &value)
                        .map_err(|error| ApiError::internal(error.to_string())),
                ),
            ),
            Request::Recall(key, answer) => {
                drop(
                    answer.send(
                        self.store
                            .meta(&key)
                            .map_err(|error| ApiError::internal(error.to_string())),
                    ),
                );
            }
            Request::Stop(done) => drop(done),
        }
    }

    /// Says what clients of mode `fullnat` are translated to, before the thread runs.
    pub fn translate_to(&mut self, nat: Nat) {
        self.nat = nat;
        self.renew_pools();
    }

    fn set_hops(&mut self, hops: NextHops) {
        self.hops = hops;
        self.write_vlan_devices();
        self.renew_pools();
        if self.write_hops()
            && let Err(error) = self.plane.barrier()
        {
            tracing::warn!(%error, "no grace period after a change of next hops");
        }
        self.judge_ways();
    }

    /// Writes the next hop of every backend that has one; says whether any changed.
    fn write_hops(&self) -> bool {
        let mut changed = false;
        let tables = self.plane.tables();
        let mut pools = Pools::read(tables, [&self.world]);
        for (id, key, _) in self.world.backend_ids.iter() {
            let named = tables.backend(id).pool;
            let Some(pool) = self.choose_pool(key, named, &mut pools) else {
                continue;
            };
            if pool != named {
                tables.set_pool(id, pool);
            }
            if let Some((hop, path)) = self.hop_of(key) {
                changed |= tables.set_hop(id, hop, path);
            }
        }
        changed
    }

    fn expect(&mut self, addresses: BTreeSet<IpAddr>) {
        for address in addresses {
            *self.expected.entry(address).or_default() += 1;
        }
        self.publish_addresses();
    }

    fn no_longer_expect(&mut self, addresses: &BTreeSet<IpAddr>) {
        for address in addresses {
            if let Some(changes) = self.expected.get_mut(address) {
                *changes = changes.saturating_sub(1);
            }
        }
        self.expected.retain(|_, changes| *changes > 0);
        self.publish_addresses();
    }

    /// Tells which backends packets may go to, now or soon.
    fn publish_addresses(&self) {
        let wanted: BTreeSet<IpAddr> = self
            .world
            .backend_ids
            .iter()
            .map(|(_, key, _)| key.address)
            .chain(self.expected.keys().copied())
            .collect();
        self.addresses.send_if_modified(|addresses| {
            let changed = *addresses != wanted;
            *addresses = wanted;
            changed
        });
    }

    fn raise(&mut self, kind: crate::api::types::ConditionKind, message: String) {
        let entry = self.conditions.entry(kind).or_insert_with(|| {
            tracing::warn!(condition = ?kind, message, "condition");
            (String::new(), SystemTime::now())
        });
        entry.0 = message;
    }

    fn lower(&mut self, kind: crate::api::types::ConditionKind) {
        if self.conditions.remove(&kind).is_some() {
            tracing::info!(condition = ?kind, "condition is over");
        }
    }
}

/// The moment that `ms` milliseconds since 1970 is.
fn moment(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

#[cfg(test)]
mod tests;

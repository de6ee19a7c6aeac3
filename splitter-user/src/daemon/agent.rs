//! What the API's server calls.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::names::Names;
use crate::api::types::{
    Actor, AgentView, ApiError, AuditFilter, AuditList, Change, ChangeRequest, Command, Condition,
    ConditionKind, DiffRequest, DiffView, DrainTarget, DrainView, ExplainQuery, Explanation,
    Finding, FlowFilter, FlowList, FreezeRequest, FreezeView, HistoryFilter, HistoryList,
    InterfaceView, ServiceView, StatusView, Which, XdpMode,
};
use crate::api::{Agent, Denied};
use crate::config::Config;
use crate::interface;
use crate::loader::{Attached, Pins};
use crate::nexthop::NextHops;
use crate::writer::{Handle, Request};

/// How long an apply waits for the next hops of backends that are new, so that their first packets
/// do not meet an unknown neighbour.
const NEW_HOPS_WAIT: Duration = Duration::from_secs(3);

/// The agent.
pub(super) struct Daemon {
    pub config: Config,
    pub writer: Handle,
    pub started: Instant,
    pub attached: Vec<Attached>,
    pub hops: watch::Receiver<NextHops>,
    pub stop: CancellationToken,
    pub detach: Arc<AtomicBool>,
    pub names: Names,
    pub work: Work,
}

/// Questions that cost much are answered one at a time: those who change something wait for one of them at most, and
/// only one large answer is made at once.
pub(super) struct Work(Arc<Semaphore>);

impl Default for Work {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Work {
    /// Waits for its turn, and then does this to its end: a caller that hangs up makes no room for the next one before.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        let gone = |error: &dyn std::error::Error| ApiError::internal(error.to_string());
        let turn = Arc::clone(&self.0).acquire_owned().await;
        let turn = turn.map_err(|error| gone(&error))?;
        let worker = tokio::spawn(async move {
            let done = work.await;
            drop(turn);
            done
        });
        worker.await.map_err(|error| gone(&error))?
    }
}

impl Daemon {
    /// Finds the ways to the backends of an apply that will be accepted, before they take flows. What is given back has to
    /// live until they are in force.
    async fn find_ways(
        &self,
        request: &ChangeRequest,
        yaml: &str,
        actor: Actor,
    ) -> Result<Option<Expected<'_>>, ApiError> {
        let Ok(file) = crate::resource::read(yaml, "") else {
            return Ok(None);
        };
        let backends = file
            .services
            .iter()
            .flat_map(|service| &service.tracks)
            .flat_map(|track| &track.backends);
        let asked: BTreeSet<IpAddr> = backends.map(|backend| backend.address).collect();
        let known = |hops: &NextHops| asked.iter().all(|address| hops.hops.contains_key(address));
        let mut hops = self.hops.clone();
        if known(&hops.borrow()) {
            return Ok(None);
        }
        // What will be refused is refused at once, by the change itself, which the audit tells of; nobody is asked for
        // neighbours on its behalf.
        let mut rehearsal = request.clone();
        rehearsal.dry_run = true;
        if self.is_frozen().await? || self.ask_for_change(rehearsal, actor).await.is_err() {
            return Ok(None);
        }
        let expected = Expected::new(&self.writer, asked.clone());
        // A neighbour that does not answer is a condition of the service, not a reason to refuse it.
        let _known = tokio::time::timeout(NEW_HOPS_WAIT, hops.wait_for(known)).await;
        // Held until it is queued, so that nothing newer overtakes it.
        let found = self.hops.borrow();
        self.writer.tell(Request::Hops(found.clone()));
        drop(found);
        Ok(Some(expected))
    }

    /// Whether every apply is refused now; its rehearsal is not.
    async fn is_frozen(&self) -> Result<bool, ApiError> {
        let conditions = self.writer.ask(Request::Status).await?.conditions;
        let is_frozen = |condition: &Condition| condition.kind == ConditionKind::Frozen;
        Ok(conditions.iter().any(is_frozen))
    }

    async fn ask_for_change(
        &self,
        request: ChangeRequest,
        actor: Actor,
    ) -> Result<Vec<Change>, ApiError> {
        self.writer
            .ask(|answer| Request::Change(Box::new(request), actor, answer))
            .await
    }
}

/// Addresses whose ways are wanted for as long as this lives, whatever becomes of the caller.
struct Expected<'w> {
    writer: &'w Handle,
    addresses: BTreeSet<IpAddr>,
}

impl<'w> Expected<'w> {
    fn new(writer: &'w Handle, addresses: BTreeSet<IpAddr>) -> Self {
        writer.tell(Request::Expect(addresses.clone()));
        Self { writer, addresses }
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        let addresses = std::mem::take(&mut self.addresses);
        self.writer.tell(Request::NoLongerExpect(addresses));
    }
}

impl Agent for Daemon {
    async fn change(&self, request: ChangeRequest, actor: Actor) -> Result<Vec<Change>, ApiError> {
        let ways = match (&request.command, request.dry_run) {
            (Command::Apply { yaml, .. } | Command::ApplyAndPrune { yaml, .. }, false) => {
                self.find_ways(&request, yaml, actor).await?
            }
            _ => None,
        };
        let changes = self.ask_for_change(request, actor).await;
        drop(ways);
        changes
    }

    async fn services(&self, name: Option<&str>) -> Result<Vec<ServiceView>, ApiError> {
        self.writer
            .ask(|answer| Request::Services(name.map(str::to_owned), answer))
            .await
    }

    async fn flows(&self, filter: FlowFilter) -> Result<FlowList, ApiError> {
        let writer = self.writer.clone();
        let listing = async move { writer.ask(|answer| Request::Flows(filter, answer)).await };
        self.work.in_turn(listing).await
    }

    async fn explain(&self, query: ExplainQuery) -> Result<Explanation, ApiError> {
        self.writer
            .ask(|answer| Request::Explain(query, answer))
            .await
    }

    async fn which(&self, client: IpAddr, service: &str) -> Result<Which, ApiError> {
        self.writer
            .ask(|answer| Request::Which(client, service.to_owned(), answer))
            .await
    }

    async fn status(&self) -> Result<StatusView, ApiError> {
        let plane = self.writer.ask(Request::Status).await?;
        let there = interface::list().unwrap_or_default();
        let interfaces = self.attached.iter().map(|attached| {
            let now = there
                .iter()
                .find(|interface| interface.name == attached.name);
            InterfaceView {
                name: attached.name.clone(),
                index: now.map(|interface| interface.index),
                xdp_mode: now
                    .and_then(|interface| interface.xdp)
                    .map(|xdp| match xdp.mode {
                        interface::XdpMode::Generic => XdpMode::Generic,
                        interface::XdpMode::Native
                        | interface::XdpMode::Hardware
                        | interface::XdpMode::Several => XdpMode::Native,
                    }),
            }
        });
        Ok(StatusView {
            agent: AgentView {
                name: self.config.name.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                uptime_seconds: self.started.elapsed().as_secs(),
            },
            interfaces: interfaces.collect(),
            selector_sequence: plane.selector_sequence,
            limits: plane.limits,
            flow_table: plane.flow_table,
            conditions: plane.conditions,
            services: plane.services,
        })
    }

    async fn export(&self) -> Result<String, ApiError> {
        self.writer.ask(Request::Export).await
    }

    async fn diff(&self, request: DiffRequest) -> Result<DiffView, ApiError> {
        let writer = self.writer.clone();
        let comparing = async move {
            // Most of what can be wrong is found where no change waits for it.
            let read = tokio::task::spawn_blocking(move || {
                crate::plan::read(&request.yaml, &request.origin).map(|_| request)
            });
            let request = read
                .await
                .map_err(|error| ApiError::internal(error.to_string()))??;
            writer
                .ask(|answer| Request::Diff(Box::new(request), answer))
                .await
        };
        self.work.in_turn(comparing).await
    }

    async fn export_state(
        &self,
        service: Option<String>,
        actor: Actor,
    ) -> Result<String, ApiError> {
        self.writer
            .ask(|answer| Request::ExportState(service, actor, answer))
            .await
    }

    async fn doctor(&self) -> Result<Vec<Finding>, ApiError> {
        let services = self
            .writer
            .ask(|answer| Request::Services(None, answer))
            .await?;
        let vips: BTreeSet<IpAddr> = services
            .iter()
            .flat_map(|service| {
                let preview = service.preview.iter().map(|preview| &preview.listener);
                service.listeners.iter().chain(preview)
            })
            .map(|listener| listener.vip)
            .collect();
        let inputs = crate::doctor::Inputs {
            interfaces: self.config.interfaces.clone(),
            vips: vips.into_iter().collect(),
            nat: self.config.nat.addresses.clone(),
            bpffs: self.config.bpffs.clone(),
        };
        let mut findings =
            tokio::task::spawn_blocking(move || crate::doctor::local_findings(&inputs))
                .await
                .map_err(|error| ApiError::internal(error.to_string()))?;
        for condition in self.writer.ask(Request::Status).await?.conditions {
            findings.push(Finding {
                check: format!("{:?}", condition.kind),
                ok: !condition.kind.impairs_traffic(),
                message: condition.message,
                fix: None,
            });
        }
        Ok(findings)
    }

    async fn history(&self, filter: HistoryFilter) -> Result<HistoryList, ApiError> {
        let writer = self.writer.clone();
        let listing = async move { writer.ask(|answer| Request::History(filter, answer)).await };
        let mut list = self.work.in_turn(listing).await?;
        let names = self
            .names
            .of(list.items.iter().map(|item| item.by.uid))
            .await;
        for item in &mut list.items {
            item.by.user = names.get(&item.by.uid).cloned();
        }
        Ok(list)
    }

    async fn audit(&self, filter: AuditFilter) -> Result<AuditList, ApiError> {
        let writer = self.writer.clone();
        let listing = async move { writer.ask(|answer| Request::Audit(filter, answer)).await };
        let mut list = self.work.in_turn(listing).await?;
        let names = self
            .names
            .of(list.items.iter().map(|item| item.by.uid))
            .await;
        for item in &mut list.items {
            item.by.user = names.get(&item.by.uid).cloned();
        }
        Ok(list)
    }

    async fn freeze(&self, request: FreezeRequest, actor: Actor) -> Result<FreezeView, ApiError> {
        let mut view = self
            .writer
            .ask(|answer| Request::Freeze(request, actor, answer))
            .await?;
        if let Some(by) = &mut view.by {
            by.user = self.names.of([by.uid]).await.remove(&by.uid);
        }
        Ok(view)
    }

    fn refused(&self, denied: Denied) {
        self.writer.refused(denied);
    }

    async fn detach(&self, actor: Actor) -> Result<(), ApiError> {
        self.writer
            .ask(|answer| Request::BeginDetach(actor, answer))
            .await?;
        tracing::info!(%actor, "detach");
        // Answered when it is done: who asks may take the interfaces away next.
        let pins = Pins::new(&self.config.bpffs, &self.config.name);
        let removed = tokio::task::spawn_blocking(move || pins.remove()).await;
        removed
            .map_err(|error| ApiError::internal(error.to_string()))?
            .map_err(|error| {
                ApiError::internal(format!(
                    "{error}; the data plane may be there still, in part: detach again"
                ))
            })?;
        tracing::info!("detached: the program is off all interfaces, all flows are forgotten");
        self.detach.store(true, Ordering::SeqCst);
        self.stop.cancel();
        Ok(())
    }

    async fn drain_state(&self, service: &str, what: &DrainTarget) -> Result<DrainView, ApiError> {
        self.writer
            .ask(|answer| Request::Drain(service.to_owned(), what.clone(), answer))
            .await
    }
}

#[cfg(test)]
mod tests;

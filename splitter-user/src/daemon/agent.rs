//! What the API's server calls.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::names::Names;
use crate::api::types::{
    Actor, AgentView, ApiError, AuditFilter, AuditList, Change, ChangeRequest, Command,
    DiffRequest, DiffView, DrainTarget, DrainView, ExplainQuery, Explanation, Finding, FlowFilter,
    FlowList, FreezeRequest, FreezeView, HistoryFilter, HistoryList, InterfaceView, ServiceView,
    StatusView, Which, XdpMode,
};
use crate::api::{Agent, Denied};
use crate::config::Config;
use crate::interface;
use crate::loader::Attached;
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
        // What is refused has its answer at once, and nobody is asked for neighbours on its behalf.
        let mut rehearsal = request.clone();
        rehearsal.dry_run = true;
        self.ask_for_change(rehearsal, actor).await?;
        let expected = Expected::new(&self.writer, asked.clone());
        // A neighbour that does not answer is a condition of the service, not a reason to refuse it.
        let _known = tokio::time::timeout(NEW_HOPS_WAIT, hops.wait_for(known)).await;
        // Held until it is queued, so that nothing newer overtakes it.
        let found = self.hops.borrow();
        self.writer.tell(Request::Hops(found.clone()));
        drop(found);
        Ok(Some(expected))
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
        self.writer
            .ask(|answer| Request::Flows(filter, answer))
            .await
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
        self.writer
            .ask(|answer| Request::Diff(Box::new(request), answer))
            .await
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
        let mut list = self
            .writer
            .ask(|answer| Request::History(filter, answer))
            .await?;
        let names = Names::of(list.items.iter().map(|item| item.by.uid)).await;
        for item in &mut list.items {
            item.by.user = names.get(item.by.uid);
        }
        Ok(list)
    }

    async fn audit(&self, filter: AuditFilter) -> Result<AuditList, ApiError> {
        let mut list = self
            .writer
            .ask(|answer| Request::Audit(filter, answer))
            .await?;
        let names = Names::of(list.items.iter().map(|item| item.by.uid)).await;
        for item in &mut list.items {
            item.by.user = names.get(item.by.uid);
        }
        Ok(list)
    }

    async fn freeze(&self, request: FreezeRequest, actor: Actor) -> Result<FreezeView, ApiError> {
        let mut view = self
            .writer
            .ask(|answer| Request::Freeze(request, actor, answer))
            .await?;
        if let Some(by) = &mut view.by {
            by.user = Names::of([by.uid]).await.get(by.uid);
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

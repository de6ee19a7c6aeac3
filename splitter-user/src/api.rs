//! The agent's interface to the outside: JSON over HTTP over a unix socket.
//!
//! [`types`] is what travels, [`server`] answers for anything that implements [`Agent`], [`client`] asks.

pub mod client;
#[cfg(test)]
pub(crate) mod fake;
pub mod server;
pub mod types;

use std::future::Future;
use std::net::IpAddr;

use types::{
    Actor, ApiError, AuditFilter, AuditList, Change, ChangeRequest, DiffRequest, DiffView,
    DrainTarget, DrainView, ExplainQuery, Explanation, Finding, FlowFilter, FlowList,
    FreezeRequest, FreezeView, HistoryFilter, HistoryList, ServiceView, StatusView, Which,
};

/// Something that a caller's role does not cover.
pub use crate::writer::Refusal as Denied;

/// What the server calls. Implemented by the agent, and by a fake in tests.
///
/// A call may be dropped before it ends (the client went away, the time ran out): implementations hand changes over to the
/// writer, so that a change that has begun ends whether anyone waits for it or not.
pub trait Agent: Send + Sync + 'static {
    /// Carries out a change and returns once the data plane has it, read back: one item for each service concerned.
    fn change(
        &self,
        request: ChangeRequest,
        actor: Actor,
    ) -> impl Future<Output = Result<Vec<Change>, ApiError>> + Send;

    /// All services by name, or the one named ([`ErrorCode::NotFound`](types::ErrorCode::NotFound) if there is none).
    fn services(
        &self,
        name: Option<&str>,
    ) -> impl Future<Output = Result<Vec<ServiceView>, ApiError>> + Send;

    /// Pinned flows.
    fn flows(&self, filter: FlowFilter) -> impl Future<Output = Result<FlowList, ApiError>> + Send;

    /// Where a packet would go at this moment, and why.
    fn explain(
        &self,
        query: ExplainQuery,
    ) -> impl Future<Output = Result<Explanation, ApiError>> + Send;

    /// Which track the new flows of a client meet.
    fn which(
        &self,
        client: IpAddr,
        service: &str,
    ) -> impl Future<Output = Result<Which, ApiError>> + Send;

    /// How the agent and its services stand.
    fn status(&self) -> impl Future<Output = Result<StatusView, ApiError>> + Send;

    /// Everything needed to have the same split elsewhere, as YAML.
    fn export(&self) -> impl Future<Output = Result<String, ApiError>> + Send;

    /// A text compared with what is in force and what was applied last.
    fn diff(&self, request: DiffRequest)
    -> impl Future<Output = Result<DiffView, ApiError>> + Send;

    /// The resources with slots and secret, of all services or one: what `import` takes.
    fn export_state(
        &self,
        service: Option<String>,
        actor: Actor,
    ) -> impl Future<Output = Result<String, ApiError>> + Send;

    /// What the agent can check of itself and its host.
    fn doctor(&self) -> impl Future<Output = Result<Vec<Finding>, ApiError>> + Send;

    /// Removes the data plane. The agent exits once the answer is sent.
    fn detach(&self, actor: Actor) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Generations of services, newest first.
    fn history(
        &self,
        filter: HistoryFilter,
    ) -> impl Future<Output = Result<HistoryList, ApiError>> + Send;

    /// Requests to change something, newest first.
    fn audit(
        &self,
        filter: AuditFilter,
    ) -> impl Future<Output = Result<AuditList, ApiError>> + Send;

    /// Refuses changes from now on, or no longer.
    fn freeze(
        &self,
        request: FreezeRequest,
        actor: Actor,
    ) -> impl Future<Output = Result<FreezeView, ApiError>> + Send;

    /// Takes note of what was refused before the agent was asked.
    fn refused(&self, denied: Denied);

    /// How a drain stands, at once.
    fn drain_state(
        &self,
        service: &str,
        what: &DrainTarget,
    ) -> impl Future<Output = Result<DrainView, ApiError>> + Send;
}

#[cfg(test)]
mod tests;

//! Paths and handlers. All of them are under `/v1`.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::peer::Peer;
use super::reply::{Refusal, parse, too_large};
use super::text::{self, MAX_LINE, MAX_TEXT};
use super::{MAX_BODY, REQUEST_TIME};
use super::{access, description};
use crate::api::types::{
    ApiError, AuditFilter, AuditList, ChangeReply, ChangeRequest, Command, DiffRequest, DiffView,
    DrainTarget, DrainView, ErrorCode, ExplainQuery, Explanation, FindingList, FlowFilter,
    FlowList, FreezeRequest, FreezeView, HistoryFilter, HistoryList, MAX_FLOW_LIMIT,
    ServiceDocument, ServiceList, StatusView, Which,
};
use crate::api::{Agent, Denied};

/// Largest YAML of one `apply`.
pub const MAX_YAML: usize = 1 << 20;
/// Longest time a drain's state may be waited for in one request; shorter than [`REQUEST_TIME`].
pub const LONG_POLL: Duration = Duration::from_secs(20);
/// How often a waiting request looks at the drain.
const LOOK: Duration = Duration::from_millis(100);

struct Shared<A> {
    agent: Arc<A>,
    stop: CancellationToken,
}

impl<A> Clone for Shared<A> {
    fn clone(&self) -> Self {
        Self {
            agent: Arc::clone(&self.agent),
            stop: self.stop.clone(),
        }
    }
}

impl<A: Agent> Shared<A> {
    /// Refuses what the caller's role does not cover, and has it noted if it would have changed something.
    fn permit(
        &self,
        peer: Peer,
        verb: &str,
        denied: impl FnOnce(ApiError) -> Denied,
    ) -> Result<(), Refusal> {
        access::check(peer, verb).map_err(|error| {
            self.agent.refused(denied(error.clone()));
            error.into()
        })
    }
}

/// The note of something refused that moves no weights.
fn denied(
    verb: &str,
    target: &str,
    reason: Option<&String>,
    peer: Peer,
) -> impl FnOnce(ApiError) -> Denied {
    move |error| Denied {
        verb: verb.to_owned(),
        target: target.to_owned(),
        command: None,
        reason: reason.cloned(),
        actor: peer.actor,
        error,
    }
}

/// Refuses a text that is longer than the agent reads at once.
fn short_enough(text: &str, origin: &str, fix: &str) -> Result<(), Refusal> {
    if text.len() <= MAX_YAML {
        return Ok(());
    }
    let message = format!(
        "{origin}: {} bytes of YAML; at most {MAX_YAML} at once, {fix}",
        text.len()
    );
    Err(Refusal::with_status(StatusCode::PAYLOAD_TOO_LARGE, message))
}

/// Every path and what answers there. Each is in [`description`] too.
fn routes<A: Agent>() -> Vec<(&'static str, MethodRouter<Shared<A>>)> {
    vec![
        ("/v1/changes", post(change::<A>)),
        ("/v1/services", get(services::<A>)),
        ("/v1/services/{name}", get(service::<A>)),
        ("/v1/services/{name}/drain", get(drain::<A>)),
        ("/v1/services/{name}/which", get(which::<A>)),
        ("/v1/explain", get(explain::<A>)),
        ("/v1/flows", get(flows::<A>)),
        ("/v1/status", get(status::<A>)),
        ("/v1/export", get(export::<A>)),
        ("/v1/diff", post(diff::<A>)),
        ("/v1/history", get(history::<A>)),
        ("/v1/audit", get(audit::<A>)),
        ("/v1/freeze", post(freeze::<A>)),
        ("/v1/doctor", get(doctor::<A>)),
        ("/v1/detach", post(detach::<A>)),
        ("/openapi.json", get(openapi)),
        ("/schemas", get(schemas)),
        ("/schemas/{name}", get(schema)),
    ]
}

pub fn router<A: Agent>(agent: Arc<A>, stop: CancellationToken) -> Router {
    let router = routes::<A>()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| {
            router.route(path, methods)
        });
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn(small_enough))
        .layer(middleware::from_fn(in_time))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Shared { agent, stop })
}

async fn change<A: Agent>(
    State(shared): State<Shared<A>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ChangeReply>, Refusal> {
    let request: ChangeRequest = parse(body)?;
    text::check_change(&request)?;
    shared.permit(peer, request.command.verb(), |error| {
        Denied::of(&request, peer.actor, &error)
    })?;
    match &request.command {
        Command::Apply { yaml, origin } | Command::ApplyAndPrune { yaml, origin } => {
            short_enough(yaml, origin, "apply fewer resources")?;
        }
        Command::Import { text } => {
            short_enough(text, "import", "export the services one by one")?;
        }
        _ => {}
    }
    let changes = to_its_end(async move { shared.agent.change(request, peer.actor).await }).await?;
    Ok(Json(changes.into()))
}

async fn services<A: Agent>(
    State(shared): State<Shared<A>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
) -> Result<Json<ServiceList>, Refusal> {
    access::check(peer, "get")?;
    Ok(Json(shared.agent.services(None).await?.into()))
}

async fn service<A: Agent>(
    State(shared): State<Shared<A>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
) -> Result<Json<ServiceDocument>, Refusal> {
    access::check(peer, "get")?;
    let found = shared.agent.services(Some(&name)).await?.into_iter().next();
    let service =
        found.ok_or_else(|| ApiError::not_found(format!("there is no service {name:?}")))?;
    Ok(Json(service.into()))
}

/// Which drain, and how long to wait for its end.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrainQuery {
    /// A track by name, or a backend as ADDR:PORT.
    what: DrainTarget,
    /// Answer when the drain has ended, or after so many seconds, at most 20.
    #[serde(default)]
    wait_seconds: u64,
}

async fn drain<A: Agent>(
    State(shared): State<Shared<A>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    query: Result<Query<DrainQuery>, QueryRejection>,
) -> Result<Json<DrainView>, Refusal> {
    access::check(peer, "get")?;
    let Query(query) = query?;
    let end = Instant::now() + Duration::from_secs(query.wait_seconds).min(LONG_POLL);
    loop {
        let view = shared.agent.drain_state(&name, &query.what).await?;
        if view.state.is_final() || Instant::now() >= end || shared.stop.is_cancelled() {
            return Ok(Json(view));
        }
        tokio::select! {
            () = tokio::time::sleep_until(end.min(Instant::now() + LOOK)) => {}
            () = shared.stop.cancelled() => {}
        }
    }
}

async fn explain<A: Agent>(
    State(shared): State<Shared<A>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    query: Result<Query<ExplainQuery>, QueryRejection>,
) -> Result<Json<Explanation>, Refusal> {
    access::check(peer, "explain")?;
    let Query(query) = query?;
    Ok(Json(shared.agent.explain(query).await?))
}

/// Whose track is asked for.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichQuery {
    /// The client's address.
    client: IpAddr,
}

async fn which<A: Agent>(
    State(shared): State<Shared<A>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    query: Result<Query<WhichQuery>, QueryRejection>,
) -> Result<Json<Which>, Refusal> {
    access::check(peer, "which")?;
    let Query(query) = query?;
    Ok(Json(shared.agent.which(query.client, &name).await?))
}

async fn flows<A: Agent>(
    State(shared): State<Shared<A>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    filter: Result<Query<FlowFilter>, QueryRejection>,
) -> Result<Json<FlowList>, Refusal> {
    access::check(peer, "flows")?;
    let Query(filter) = filter?;
    if filter.limit > MAX_FLOW_LIMIT {
        let message = format!(
            "limit={}: at most {MAX_FLOW_LIMIT} flows at once; narrow the filter",
            filter.limit
        );
        return Err(ApiError::refused(message).into());
    }
    Ok(Json(shared.agent.flows(filter).await?))
}

async fn status<A: Agent>(
    State(shared): State<Shared<A>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
) -> Result<Json<StatusView>, Refusal> {
    access::check(peer, "status")?;
    Ok(Json(shared.agent.status().await?))
}

/// What to export.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportQuery {
    /// The whole state for `import`, the secret included: a document of kind HostState.
    #[serde(default)]
    with_secret: bool,
    /// Only the state of this service; for withSecret=true alone.
    service: Option<String>,
}

async fn export<A: Agent>(
    State(shared): State<Shared<A>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    query: Result<Query<ExportQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(query) = query?;
    let yaml = match query {
        ExportQuery {
            with_secret: true,
            service,
        } => {
            let target = service.as_deref().unwrap_or_default();
            text::check("service", target, MAX_TEXT)?;
            let verb = "export --with-secret";
            shared.permit(peer, verb, denied(verb, target, None, peer))?;
            shared.agent.export_state(service, peer.actor).await?
        }
        ExportQuery {
            with_secret: false,
            service: Some(_),
        } => {
            return Err(ApiError::refused("service is for withSecret=true alone").into());
        }
        ExportQuery { .. } => {
            access::check(peer, "export")?;
            shared.agent.export().await?
        }
    };
    Ok(([(header::CONTENT_TYPE, "application/yaml")], yaml).into_response())
}

async fn diff<A: Agent>(
    State(shared): State<Shared<A>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<DiffView>, Refusal> {
    access::check(peer, "diff")?;
    let request: DiffRequest = parse(body)?;
    text::check("origin", &request.origin, MAX_LINE)?;
    short_enough(&request.yaml, &request.origin, "compare fewer resources")?;
    Ok(Json(shared.agent.diff(request).await?))
}

async fn history<A: Agent>(
    State(shared): State<Shared<A>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    filter: Result<Query<HistoryFilter>, QueryRejection>,
) -> Result<Json<HistoryList>, Refusal> {
    access::check(peer, "history")?;
    let Query(filter) = filter?;
    Ok(Json(shared.agent.history(filter).await?))
}

async fn audit<A: Agent>(
    State(shared): State<Shared<A>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    filter: Result<Query<AuditFilter>, QueryRejection>,
) -> Result<Json<AuditList>, Refusal> {
    access::check(peer, "audit")?;
    let Query(filter) = filter?;
    Ok(Json(shared.agent.audit(filter).await?))
}

async fn freeze<A: Agent>(
    State(shared): State<Shared<A>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<FreezeView>, Refusal> {
    let request: FreezeRequest = parse(body)?;
    let verb = if request.frozen { "freeze" } else { "unfreeze" };
    text::check_reason(request.reason.as_deref())?;
    shared.permit(peer, verb, denied(verb, "", request.reason.as_ref(), peer))?;
    let view = to_its_end(async move { shared.agent.freeze(request, peer.actor).await }).await?;
    Ok(Json(view))
}

async fn openapi(ConnectInfo(peer): ConnectInfo<Peer>) -> Result<Json<Value>, Refusal> {
    access::check(peer, "schemas")?;
    Ok(Json(description::openapi()))
}

async fn schemas(ConnectInfo(peer): ConnectInfo<Peer>) -> Result<Json<Value>, Refusal> {
    access::check(peer, "schemas")?;
    let names: Vec<String> = description::schemas().into_keys().collect();
    Ok(Json(json!({"kind": "SchemaList", "items": names})))
}

async fn schema(
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    access::check(peer, "schemas")?;
    let mut all = description::schemas();
    let found = all.remove(name.trim_end_matches(".json")).ok_or_else(|| {
        let known: Vec<String> = all.into_keys().collect();
        ApiError::not_found(format!(
            "there is no schema {name:?}; known: {}",
            known.join(", ")
        ))
    })?;
    Ok(Json(found))
}

async fn doctor<A: Agent>(
    State(shared): State<Shared<A>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
) -> Result<Json<FindingList>, Refusal> {
    access::check(peer, "doctor")?;
    let items = shared.agent.doctor().await?;
    Ok(Json(FindingList { items }))
}

async fn detach<A: Agent>(
    State(shared): State<Shared<A>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
) -> Result<Json<Value>, Refusal> {
    shared.permit(peer, "detach", denied("detach", "", None, peer))?;
    to_its_end(async move { shared.agent.detach(peer.actor).await }).await?;
    Ok(Json(json!({"kind": "Detached"})))
}

/// Runs in a task of its own: a caller that hangs up, or whose time is over, does not stop it half-way.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a change ended with a panic");
        Err(ApiError::internal(
            "the agent failed in the middle of this request; see its log, and `splitterctl status`",
        ))
    })
}

/// Refuses a body that announces itself as too large before it is sent; one that does not is cut by the body limit.
async fn small_enough(request: Request, next: Next) -> Response {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced
        .is_some_and(|length| usize::try_from(length).map_or(true, |length| length > MAX_BODY))
    {
        return too_large().into_response();
    }
    next.run(request).await
}

async fn in_time(request: Request, next: Next) -> Response {
    let changing = request.method() == Method::POST;
    tokio::time::timeout(REQUEST_TIME, next.run(request)).await.unwrap_or_else(|_| {
        let message = if changing {
            format!("no answer within {REQUEST_TIME:?}; the change may still be made: look at `splitterctl get services`")
        } else {
            format!("no answer within {REQUEST_TIME:?}")
        };
        Refusal::from(ApiError::new(ErrorCode::TimedOut, message)).into_response()
    })
}

async fn unknown_path(uri: Uri) -> Refusal {
    ApiError::not_found(format!(
        "{}: no such path; this agent ({}) may be older than its client",
        uri.path(),
        env!("CARGO_PKG_VERSION")
    ))
    .into()
}

async fn unknown_method(method: Method, uri: Uri) -> Refusal {
    Refusal::with_status(
        StatusCode::METHOD_NOT_ALLOWED,
        format!(
            "{method} {}: not possible; reads are GET, changes POST",
            uri.path()
        ),
    )
}

#[cfg(test)]
mod tests;

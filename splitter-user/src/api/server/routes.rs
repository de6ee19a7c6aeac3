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
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::reply::{Refusal, parse, too_large};
use super::{MAX_BODY, REQUEST_TIME};
use crate::api::Agent;
use crate::api::types::{
    Actor, ApiError, ChangeReply, ChangeRequest, Command, DrainTarget, DrainView, ErrorCode,
    ExplainQuery, Explanation, FindingList, FlowFilter, FlowList, MAX_FLOW_LIMIT, ServiceDocument,
    ServiceList, StatusView, Which,
};

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

pub fn router<A: Agent>(agent: Arc<A>, stop: CancellationToken) -> Router {
    Router::new()
        .route("/v1/changes", post(change::<A>))
        .route("/v1/services", get(services::<A>))
        .route("/v1/services/{name}", get(service::<A>))
        .route("/v1/services/{name}/drain", get(drain::<A>))
        .route("/v1/services/{name}/which", get(which::<A>))
        .route("/v1/explain", get(explain::<A>))
        .route("/v1/flows", get(flows::<A>))
        .route("/v1/status", get(status::<A>))
        .route("/v1/export", get(export::<A>))
        .route("/v1/doctor", get(doctor::<A>))
        .route("/v1/detach", post(detach::<A>))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn(small_enough))
        .layer(middleware::from_fn(in_time))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Shared { agent, stop })
}

async fn change<A: Agent>(
    State(shared): State<Shared<A>>,
    ConnectInfo(actor): ConnectInfo<Actor>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ChangeReply>, Refusal> {
    let request: ChangeRequest = parse(body)?;
    if let Command::Apply { yaml, origin } = &request.command
        && yaml.len() > MAX_YAML
    {
        let message = format!(
            "{origin}: {} bytes of YAML; at most {MAX_YAML} at once, apply fewer resources",
            yaml.len()
        );
        return Err(Refusal::with_status(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    let changes = to_its_end(async move { shared.agent.change(request, actor).await }).await?;
    Ok(Json(changes.into()))
}

async fn services<A: Agent>(State(shared): State<Shared<A>>) -> Result<Json<ServiceList>, Refusal> {
    Ok(Json(shared.agent.services(None).await?.into()))
}

async fn service<A: Agent>(
    State(shared): State<Shared<A>>,
    Path(name): Path<String>,
) -> Result<Json<ServiceDocument>, Refusal> {
    let found = shared.agent.services(Some(&name)).await?.into_iter().next();
    let service =
        found.ok_or_else(|| ApiError::not_found(format!("there is no service {name:?}")))?;
    Ok(Json(service.into()))
}

/// Which drain, and how long to wait for its end.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DrainQuery {
    what: DrainTarget,
    #[serde(default)]
    wait_seconds: u64,
}

async fn drain<A: Agent>(
    State(shared): State<Shared<A>>,
    Path(name): Path<String>,
    query: Result<Query<DrainQuery>, QueryRejection>,
) -> Result<Json<DrainView>, Refusal> {
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
    query: Result<Query<ExplainQuery>, QueryRejection>,
) -> Result<Json<Explanation>, Refusal> {
    let Query(query) = query?;
    Ok(Json(shared.agent.explain(query).await?))
}

/// Whose track is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichQuery {
    client: IpAddr,
}

async fn which<A: Agent>(
    State(shared): State<Shared<A>>,
    Path(name): Path<String>,
    query: Result<Query<WhichQuery>, QueryRejection>,
) -> Result<Json<Which>, Refusal> {
    let Query(query) = query?;
    Ok(Json(shared.agent.which(query.client, &name).await?))
}

async fn flows<A: Agent>(
    State(shared): State<Shared<A>>,
    filter: Result<Query<FlowFilter>, QueryRejection>,
) -> Result<Json<FlowList>, Refusal> {
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

async fn status<A: Agent>(State(shared): State<Shared<A>>) -> Result<Json<StatusView>, Refusal> {
    Ok(Json(shared.agent.status().await?))
}

async fn export<A: Agent>(State(shared): State<Shared<A>>) -> Result<Response, Refusal> {
    let yaml = shared.agent.export().await?;
    Ok(([(header::CONTENT_TYPE, "application/yaml")], yaml).into_response())
}

async fn doctor<A: Agent>(State(shared): State<Shared<A>>) -> Result<Json<FindingList>, Refusal> {
    let items = shared.agent.doctor().await?;
    Ok(Json(FindingList { items }))
}

async fn detach<A: Agent>(
    State(shared): State<Shared<A>>,
    ConnectInfo(actor): ConnectInfo<Actor>,
) -> Result<Json<serde_json::Value>, Refusal> {
    to_its_end(async move { shared.agent.detach(actor).await }).await?;
    Ok(Json(serde_json::json!({"kind": "Detached"})))
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

//! Asks the agent over its unix socket.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;

use super::types::{
    ApiError, AuditFilter, AuditList, ChangeReply, ChangeRequest, DiffRequest, DiffView,
    DrainTarget, DrainView, ErrorBody, ErrorCode, ExplainQuery, Explanation, FindingList,
    FlowFilter, FlowList, FreezeRequest, FreezeView, HistoryFilter, HistoryList, ServiceDocument,
    ServiceList, StatusView, Which,
};

/// Longer than the agent takes to say that it takes too long.
const ANSWER_TIME: Duration = Duration::from_secs(45);
/// The host is the socket; HTTP wants a name.
const BASE: &str = "http://splitter/v1";

/// A client of one agent.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    socket: PathBuf,
}

impl Client {
    /// A client of the agent that listens on `socket`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(socket: impl Into<PathBuf>) -> Result<Self, ApiError> {
        let socket = socket.into();
        let http = reqwest::Client::builder()
            .unix_socket(socket.as_path())
            .no_proxy()
            .timeout(ANSWER_TIME)
            .build()
            .map_err(|error| ApiError::internal(format!("no HTTP client: {error}")))?;
        Ok(Self { http, socket })
    }

    /// The agent's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Carries out a change.
    ///
    /// # Errors
    /// What the agent answers, or that it does not.
    pub async fn change(&self, request: &ChangeRequest) -> Result<ChangeReply, ApiError> {
        self.json(self.http.post(url(&["changes"])).json(request))
            .await
    }

    /// All services.
    ///
    /// # Errors
    /// What the agent answers, or that it does not.
    pub async fn services(&self) -> Result<ServiceList, ApiError> {
        self.json(self.http.get(url(&["services"]))).await
    }

    /// One service.
    ///
    /// # Errors
    /// What the agent answers, or that it does not.
    pub async fn service(&self, name: &str) -> Result<ServiceDocument, ApiError> {
        check_name(name)?;
        self.json(self.http.get(url(&["services", name]))).await
    }

    /// How a drain stands: at once, or after at most `wait` when it ends within that time.
    ///
    /// # Errors
    /// What the agent answers, or that it does not.
    pub async fn drain_state(
        &self,
        service: &str,
        what: &DrainTarget,
        wait: Duration,
    ) -> Result<DrainView, ApiError> {
        check_name(service)?;
        let mut url = url(&["services", service, "drain"]);
        url.query_pairs_mut()
            .append_pair("what", &what.to_string())
            .append_pair("waitSeconds", &wait.as_secs().to_string());
        self.json(self.http.get(url)).await
    }

    /// Where a packet would go at this moment, and why.
    ///
    /// # Errors
    /// What the agent answers, or that it does not.
    pub async fn explain(&self, query: &ExplainQuery) -> Result<Explanation, ApiError> {
        let mut url = url(&["explain"]);
        url.query_pairs_mut()
            .append_pair("client", &query.client.to_string())
            .append_pair("to", &query.to.to_string())
            .append_pair("protocol", &query.protocol);
        self.json(self.http.get(url)).await
    }

    /// Which track the new flows of a client meet.
    ///
    /// # Errors
    /// What the agent answers, or that it does not.
    pub async fn which(&self, client: IpAddr, service: &str) -> Result<Which, ApiError> {
        check_name(service)?;
        let mut url = url(&["services", service, "which"]);
        url.query_pairs_mut()
            .append_pair("client", &client.to_string());
        self.json(self.http.get(url)).await
    }

    /// Pinned flows.
    ///
    /// # Errors
    /// What the agent answers, or that it does not.
    pub async fn flows(&self, filter: &FlowFilter) -> Result<FlowList, ApiError> {
        let FlowFilter {
            service,
            track,
            backend,
            source,
            limit,
        } = filter;
        let mut url = url(&["flows"]);
        let pairs = [
            ("service", service.clone()),
            ("track", track.clone()),
            ("backend", backend.map(|backend| backend.to_string())),
            ("source", source.map(|source| source.to_string())),
            ("limit", Some(limit.to_string())),
        ];
        url.query_pairs_mut().extend_pairs(
            pairs
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?))),
        );
        self.json(self.http.get(url)).await
    }

    /// How the agent and its services stand.
    ///
    /// # Errors
    /// What the agent answers, or that it does not.
    pub async fn status(&self) -> Result<StatusView, ApiError> {
        self.json(self.http.get(url(&["status"]))).await
    }

    /// The resources in force, as YAML.
    ///
    /// # Errors
    /// What the agent answers, or that it does not.
    pub async fn export(&self) -> Result<String, ApiError> {
        let response = self.send(self.http.get(url(&["export"]))).await?;
        response.text().await.map_err(|error| self.broken(&error))
    }

    /// A text compared with what is in force and what was applied last.
    ///
    /// # Errors
    /// What the agent answers, or that it does not.
    pub async fn diff(&self, request: &DiffRequest) -> Result<DiffView, ApiError> {
        self.json(self.http.post(url(&["diff"])).json(request))
            .await
    }

    /// Generations of services, newest first.
    ///
    /// # Errors
    /// What the agent answers, or that it does not.
    pub async fn history(&self, filter: &HistoryFilter) -> Result<HistoryList, ApiError> {
        let mut url = url(&["history"]);
        url.query_pairs_mut()
            .append_pair("limit", &filter.limit.to_string())
            .extend_pairs(filter.service.iter().map(|service| ("service", service)));
        self.json(self.http.get(url)).await
    }

    /// Requests to change something, newest first.
    ///
    /// # Errors
    /// What the agent answers, or that it does not.
    pub async fn audit(&self, filter: &AuditFilter) -> Result<AuditList, ApiError> {
        let mut url = url(&["audit"]);
        let since = filter.since_seconds.map(|seconds| seconds.to_string());
        url.query_pairs_mut()
            .append_pair("limit", &filter.limit.to_string())
            .extend_pairs(since.iter().map(|since| ("sinceSeconds", since)));
        self.json(self.http.get(url)).await
    }

    /// Refuses changes from now on, or no longer.
    ///
    /// # Errors
    /// What the agent answers, or that it does not.
    pub async fn freeze(&self, request: &FreezeRequest) -> Result<FreezeView, ApiError> {
        self.json(self.http.post(url(&["freeze"])).json(request))
            .await
    }

    /// The same with slots and secret, of all services or one: what `import` takes.
    ///
    /// # Errors
    /// What the agent answers, or that it does not.
    pub async fn export_state(&self, service: Option<&str>) -> Result<String, ApiError> {
        let mut url = url(&["export"]);
        url.query_pairs_mut()
            .append_pair("withSecret", "true")
            .extend_pairs(service.iter().map(|service| ("service", service)));
        let response = self.send(self.http.get(url)).await?;
        response.text().await.map_err(|error| self.broken(&error))
    }

    /// What the agent finds of itself and its host.
    ///
    /// # Errors
    /// What the agent answers, or that it does not.
    pub async fn doctor(&self) -> Result<FindingList, ApiError> {
        self.json(self.http.get(url(&["doctor"]))).await
    }

    /// Removes the data plane and ends the agent.
    ///
    /// # Errors
    /// What the agent answers, or that it does not.
    pub async fn detach(&self) -> Result<(), ApiError> {
        self.send(self.http.post(url(&["detach"]))).await.map(drop)
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ApiError> {
        let response = self.send(request).await?;
        let bytes = response
            .bytes()
            .await
            .map_err(|error| self.broken(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            ApiError::internal(format!(
                "{}: the answer is not understood ({error}); is the agent of another version? See `splitterctl version`",
                self.socket.display()
            ))
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        let response = request
            .send()
            .await
            .map_err(|error| self.unanswered(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response
            .bytes()
            .await
            .map_err(|error| self.broken(&error))?;
        Err(serde_json::from_slice::<ErrorBody>(&bytes).map_or_else(
            |_| {
                ApiError::internal(format!(
                    "{}: HTTP {status}; is that an agent's socket?",
                    self.socket.display()
                ))
            },
            ApiError::from,
        ))
    }

    /// No answer has begun.
    fn unanswered(&self, error: &reqwest::Error) -> ApiError {
        if !error.is_connect() {
            return self.broken(error);
        }
        let socket = self.socket.display();
        let message = match io_kind(error) {
            Some(io::ErrorKind::PermissionDenied) => {
                format!(
                    "{socket}: permission denied; be root, or a member of the group that the socket belongs to, or ask for a role in [roles]"
                )
            }
            Some(io::ErrorKind::NotFound) => format!(
                "{socket}: no agent there; is splitterd running? If its socket is elsewhere: --socket PATH or SPLITTER_SOCKET"
            ),
            Some(io::ErrorKind::ConnectionRefused) => format!(
                "{socket}: nobody answers; is splitterd running? If its socket is elsewhere: --socket PATH or SPLITTER_SOCKET"
            ),
            _ => format!(
                "{socket}: {}; is splitterd running? If its socket is elsewhere: --socket PATH or SPLITTER_SOCKET",
                innermost(error)
            ),
        };
        ApiError::new(ErrorCode::Unreachable, message)
    }

    /// The connection was there and the answer did not come, or not whole.
    fn broken(&self, error: &reqwest::Error) -> ApiError {
        let socket = self.socket.display();
        if error.is_timeout() {
            return ApiError::new(
                ErrorCode::TimedOut,
                format!("{socket}: the agent did not answer within {ANSWER_TIME:?}"),
            );
        }
        ApiError::new(
            ErrorCode::Unreachable,
            format!(
                "{socket}: the agent went away before its answer was complete ({}); a change may have been made: look at \
                 `splitterctl get services`",
                innermost(error)
            ),
        )
    }
}

fn url(segments: &[&str]) -> Url {
    let mut url = Url::parse(BASE).expect("BASE is a URL");
    url.path_segments_mut()
        .expect("an http URL has a path")
        .extend(segments);
    url
}

/// Refuses what cannot be a segment of a path: it would ask for something else.
fn check_name(name: &str) -> Result<(), ApiError> {
    if matches!(name, "" | "." | "..") {
        return Err(ApiError::not_found(format!("there is no service {name:?}")));
    }
    Ok(())
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .map(io::Error::kind)
        .last()
}

fn innermost(error: &reqwest::Error) -> String {
    causes(error)
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

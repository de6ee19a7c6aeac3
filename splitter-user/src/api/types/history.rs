use std::collections::BTreeMap;
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ErrorCode, encoding};

/// Most changes that one answer lists.
pub const MAX_RECORDS: u32 = 11_000;
/// Changes that an answer lists if the question says nothing.
pub const DEFAULT_RECORDS: u32 = 100;

/// Weights by track: percent as decimal text without sign.
pub type Weights = BTreeMap<String, String>;

/// Somebody who changed something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Who {
    /// User id of the caller, as the kernel told it.
    pub uid: u32,
    /// Primary group id of the caller.
    pub gid: u32,
    /// Process id of the caller; null where the kernel did not tell.
    pub pid: Option<u32>,
    /// The user's name today; null where the host knows none.
    #[serde(default)]
    pub user: Option<String>,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.user {
            Some(user) => write!(f, "{user} (uid {})", self.uid),
            None => write!(f, "uid {}", self.uid),
        }
    }
}

/// What has become of the split that a generation made, or left in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SplitFate {
    /// It is in force.
    Current,
    /// `undo --to-generation` goes back to it.
    Anchor,
    /// It is forgotten.
    Gone,
}

impl SplitFate {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Anchor => "anchor",
            Self::Gone => "gone",
        }
    }
}

/// One generation of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryItem {
    /// The service.
    pub service: String,
    /// The generation that the change made.
    pub generation: u64,
    /// When.
    #[serde(with = "encoding::moment")]
    #[schemars(with = "String")]
    pub at: SystemTime,
    /// Who.
    pub by: Who,
    /// The verb as the command line spells it.
    pub verb: String,
    /// The whole request as the command line spells it; null in records of agents that did not keep it.
    #[serde(default)]
    pub command: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Weights in force before; empty for a new service.
    pub from: Weights,
    /// Weights in force after.
    pub to: Weights,
    /// What has become of its split.
    pub split: SplitFate,
}

/// What was done, newest first. The last 100 changes of each service are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub struct HistoryList {
    /// One for each generation of each service.
    pub items: Vec<HistoryItem>,
}

/// How a request to change something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// It was refused, or failed and was taken back.
    Refused,
}

/// A request to change something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditItem {
    /// Its number, growing.
    pub id: u64,
    /// When.
    #[serde(with = "encoding::moment")]
    #[schemars(with = "String")]
    pub at: SystemTime,
    /// Who.
    pub by: Who,
    /// The verb as the command line spells it.
    pub verb: String,
    /// What it was to act on: services, or `release/NAME`; empty for the agent as a whole.
    pub target: String,
    /// The whole request as the command line spells it; null for what moves no weights, and in records of agents that did
    /// not keep it.
    #[serde(default)]
    pub command: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Whether it was done.
    pub outcome: AuditOutcome,
    /// Why it was not; null if it was.
    pub code: Option<ErrorCode>,
    /// The same in words; null if it was done.
    pub message: Option<String>,
    /// Weights in force before, by service and track.
    pub from: BTreeMap<String, Weights>,
    /// Weights in force after, by service and track.
    pub to: BTreeMap<String, Weights>,
}

/// Requests to change something, newest first. The last 10,000 are kept, among them at most 1,000 refused ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub struct AuditList {
    /// One for each request; dry runs are not among them.
    pub items: Vec<AuditItem>,
}

/// Which generations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HistoryFilter {
    /// Of this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// At most so many.
    #[serde(default = "default_records")]
    pub limit: u32,
}

/// Which requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditFilter {
    /// Not older than so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_seconds: Option<u64>,
    /// At most so many.
    #[serde(default = "default_records")]
    pub limit: u32,
}

fn default_records() -> u32 {
    DEFAULT_RECORDS
}

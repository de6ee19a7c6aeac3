use std::net::SocketAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ListenerView;

/// How many flows are listed unless asked otherwise.
pub const DEFAULT_FLOW_LIMIT: u32 = 1_000;

/// The most flows that one request may list.
pub const MAX_FLOW_LIMIT: u32 = 10_000;

/// Which flows to list; all conditions hold together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlowFilter {
    /// Of this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// On this track.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<String>,
    /// To this backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub backend: Option<SocketAddr>,
    /// From clients of this network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub source: Option<IpNet>,
    /// At most so many items; `total` counts all.
    #[serde(default = "default_limit")]
    pub limit: u32,
}

fn default_limit() -> u32 {
    DEFAULT_FLOW_LIMIT
}

impl Default for FlowFilter {
    fn default() -> Self {
        Self {
            service: None,
            track: None,
            backend: None,
            source: None,
            limit: DEFAULT_FLOW_LIMIT,
        }
    }
}

/// The flows that a filter chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub struct FlowList {
    /// Flows that the filter chose, listed or not.
    pub total: u64,
    /// At most `limit` of them.
    pub items: Vec<FlowView>,
}

/// One pinned flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlowView {
    /// Its service.
    pub service: String,
    /// What the client dialled.
    pub listener: ListenerView,
    /// Client address and port; null where the table keeps only a fingerprint of it.
    #[schemars(with = "Option<String>")]
    pub client: Option<SocketAddr>,
    /// The track its backend belongs to.
    pub track: String,
    /// The backend it is pinned to.
    #[schemars(with = "String")]
    pub backend: SocketAddr,
    /// How it gets there: `dnat`, `fullnat`, `dsr-l2` or `ipip`.
    pub mode: String,
    /// In mode `fullnat`: the address and port that stand for the client at the backend.
    #[schemars(with = "Option<String>")]
    pub translated: Option<SocketAddr>,
    /// Where it is in its life.
    pub state: FlowState,
    /// Seconds since its last packet.
    pub idle_seconds: u64,
}

/// Life of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FlowState {
    /// Evictable: no answer of the backend was followed by the client yet.
    Unconfirmed,
    /// Never evicted.
    Established,
    /// A FIN or RST was seen.
    Closing,
    /// The operator has cut it: every packet of it is answered with a RST.
    Reset,
}

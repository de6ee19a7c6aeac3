use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{API_VERSION, Condition};

/// A split that `undo` can go back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnchorView {
    /// The generation that made it.
    pub since: u64,
    /// The last generation that left it as it was: `undo --to-generation` takes any from `since` to this.
    pub generation: u64,
    /// Desired weights then, by track: percent as decimal text without sign.
    pub weights: BTreeMap<String, String>,
}

/// A service as it is wanted, applied and observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// Labels of its resource.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Number of the last operator change.
    pub generation: u64,
    /// The generation that `undo` goes back to; null when there is none.
    pub undo_generation: Option<u64>,
    /// The splits that `undo` can go back to, newest first.
    #[serde(default)]
    pub anchors: Vec<AnchorView>,
    /// `ready`, or `deleting` while pins are left.
    pub state: LifeState,
    /// The release it belongs to.
    pub release: Option<String>,
    /// How new flows get to backends: `dnat`, `fullnat`, `dsr-l2` or `ipip`.
    pub mode: String,
    /// What a new flow gets when no backend can take it: `drop`, `reset` or `unreachable`.
    pub no_backend: String,
    /// What the split hash covers.
    pub affinity: AffinityView,
    /// Names everything that decides who goes where: slots, affinity, salt, routes, fallback, preview.
    pub digest: String,
    /// What clients dial.
    pub listeners: Vec<ListenerView>,
    /// The track that takes new flows when theirs has no backend that may take them.
    #[serde(default)]
    pub fallback: Option<String>,
    /// What testers dial, and the track that it leads to.
    #[serde(default)]
    pub preview: Option<PreviewView>,
    /// Ways before the weights; the first that matches wins.
    #[serde(default)]
    pub routes: Vec<RouteView>,
    /// Slots are on their way to the desired weights; null when they are there.
    #[serde(default)]
    pub ramp: Option<RampView>,
    /// In the resource's order.
    pub tracks: Vec<TrackView>,
    /// New flows that could not be pinned, since the agent began to count.
    pub unpinned: u64,
    /// What is out of the ordinary with this service.
    pub conditions: Vec<Condition>,
}

/// The affinity of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AffinityView {
    /// `flow` or `clientIP`: what fixes the track.
    pub key: String,
    /// `flow` or `clientIP`: what fixes the backend within the track.
    #[serde(default)]
    pub backend: String,
    /// Leading bits of a client's address that count.
    #[serde(default)]
    pub prefix: PrefixView,
    /// The salt in force.
    pub salt: String,
}

/// Leading bits of a client's address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrefixView {
    /// Of an IPv4 address, 0 to 32.
    pub v4: u8,
    /// Of an IPv6 address, 0 to 128.
    pub v6: u8,
}

/// A ramp on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RampView {
    /// Slots that it moves in all.
    pub slots: u32,
    /// Slots that it has moved.
    pub moved: u32,
    /// Seconds until its end, if the agent goes on.
    pub remaining_seconds: u64,
}

/// A route, as the resource has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteView {
    /// Networks of clients.
    #[schemars(with = "Vec<String>")]
    pub source: Vec<IpNet>,
    /// Where their new flows go.
    pub track: String,
    /// Why.
    pub reason: Option<String>,
}

/// A preview, as the resource has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PreviewView {
    /// What testers dial.
    #[serde(flatten)]
    pub listener: ListenerView,
    /// The track that it leads to.
    pub track: String,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerView {
    /// The address that clients dial.
    #[schemars(with = "String")]
    pub vip: IpAddr,
    /// The port that clients dial.
    pub port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
}

/// A track: desired weight, applied slots, observed share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrackView {
    /// Its name.
    pub name: String,
    /// The version its backends run.
    pub version: Option<String>,
    /// Whether it takes new flows.
    pub state: LifeState,
    /// Desired weight: percent as decimal text without sign.
    pub weight: String,
    /// Slots of the split table that it owns, of 65,536.
    pub slots: u32,
    /// New flows of the last 60 s.
    pub observed: Observed,
    /// Flows pinned to it, at most a second old.
    pub flows: u64,
    /// Its backends, in the resource's order.
    pub backends: Vec<BackendView>,
}

/// What was seen in the last 60 s.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// New flows of this track.
    pub new_flows: u64,
    /// Its share of the service's new flows: percent as decimal text without sign; null when there were none.
    pub share: Option<String>,
}

/// A backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendView {
    /// Its address.
    #[schemars(with = "String")]
    pub address: IpAddr,
    /// Its port; null where each listener's own port is used.
    pub port: Option<u16>,
    /// How its flows get to it: the service's mode, but for flows of before a change of that.
    pub mode: String,
    /// Its weight among the track's backends.
    pub weight: u32,
    /// Whether it takes new flows.
    pub state: LifeState,
    /// What its health checks say.
    pub health: Health,
    /// Flows pinned to it.
    pub flows: u64,
    /// It has become ready a short time ago and does not have its whole weight yet; absent when it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStartView>,
}

/// A slow start on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlowStartView {
    /// The share of its weight that the backend has by now: percent as decimal text without sign. Where all
    /// backends of its track and family are in slow start, they share alike, and each has its whole weight.
    pub share: String,
    /// Seconds until its end.
    pub remaining_seconds: u64,
}

/// Whether a service, track or backend takes new flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LifeState {
    /// It does, as its weight says.
    Ready,
    /// An operator took it out; pinned flows go on until the deadline.
    Draining,
    /// An operator took it out for as long as it takes; pinned flows go on.
    Maint,
    /// An operator took it out; pinned flows are reset.
    Quarantined,
    /// Removed from the resource; pinned flows go on.
    Deleting,
    /// Its health checks say that it does not answer; pinned flows go on.
    Down,
}

impl LifeState {
    /// Each of them.
    pub const ALL: [Self; 6] = [
        Self::Ready,
        Self::Draining,
        Self::Maint,
        Self::Quarantined,
        Self::Deleting,
        Self::Down,
    ];

    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Maint => "maint",
            Self::Quarantined => "quarantined",
            Self::Deleting => "deleting",
            Self::Down => "down",
        }
    }
}

/// Health of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// No health check.
    Unknown,
}

impl Health {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
        }
    }
}

/// One service as a document of its own: the view with `apiVersion` and `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename = "Service", rename_all = "camelCase")]
pub struct ServiceDocument {
    /// [`API_VERSION`].
    pub api_version: String,
    /// The service.
    #[serde(flatten)]
    pub service: ServiceView,
}

impl From<ServiceView> for ServiceDocument {
    fn from(service: ServiceView) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            service,
        }
    }
}

/// All services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub struct ServiceList {
    /// [`API_VERSION`].
    pub api_version: String,
    /// By name.
    pub items: Vec<ServiceView>,
}

impl From<Vec<ServiceView>> for ServiceList {
    fn from(items: Vec<ServiceView>) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            items,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LifeState;

    #[test]
    fn the_documentation_has_a_line_for_each_state() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/states.md");
        let text = std::fs::read_to_string(path).expect("docs/states.md");
        for state in LifeState::ALL {
            let line = format!("| `{}` |", state.as_str());
            assert!(text.contains(&line), "no line for {state:?}");
        }
    }
}

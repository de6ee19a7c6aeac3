use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::encoding;

/// How the agent and its services stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename = "Status", rename_all = "camelCase")]
pub struct StatusView {
    /// The process.
    pub agent: AgentView,
    /// Where XDP is attached.
    pub interfaces: Vec<InterfaceView>,
    /// How often the selector was stored; it grows with every flip.
    pub selector_sequence: u64,
    /// Sizes of the tables.
    pub limits: LimitsView,
    /// How full the flow table is.
    pub flow_table: FlowTableView,
    /// What is out of the ordinary with the agent.
    pub conditions: Vec<Condition>,
    /// By name.
    pub services: Vec<ServiceStatus>,
}

/// The agent's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentView {
    /// The instance, `name` in splitterd.toml.
    pub name: String,
    /// Version of `splitterd`.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Since it started.
    pub uptime_seconds: u64,
}

/// An interface of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceView {
    /// Its name.
    pub name: String,
    /// Its index; null when it is gone.
    pub index: Option<u32>,
    /// How XDP is attached; null when it is not.
    pub xdp_mode: Option<XdpMode>,
}

/// How XDP is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the stack.
    Generic,
}

/// Sizes of the tables, as they are in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitsView {
    /// Services.
    pub services: u32,
    /// Backends.
    pub backends: u32,
    /// Flows.
    pub flows: u64,
}

/// How full the flow table is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlowTableView {
    /// Cells in use, at most a second old: one for each pinned flow, two in mode `fullnat`.
    pub entries: u64,
    /// Cells.
    pub capacity: u64,
}

/// Something out of the ordinary, of a fixed list of kinds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which.
    #[serde(rename = "type")]
    pub kind: ConditionKind,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// What is seen and what to do about it.
    pub message: String,
    /// Since when the status is what it is.
    #[serde(with = "encoding::moment")]
    #[schemars(with = "String")]
    pub since: SystemTime,
}

/// The fixed list of conditions. All of them name something unwanted.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum ConditionKind {
    /// XDP runs in the stack instead of the driver.
    GenericMode,
    /// New flows were forwarded without a pin.
    UnpinnedFlows,
    /// A backend's next hop has no neighbour.
    NeighbourMissing,
    /// A backend of mode `dsr-l2` is not on a network that this host is connected to.
    BackendBehindGateway,
    /// New flows of mode `fullnat` were refused: all addresses and ports of `[nat]` are in use.
    NatExhausted,
    /// A track with weight has no backend that may take new flows.
    NoBackend,
    /// A track has no backend that may take new flows, and the fallback takes them.
    FallbackTaken,
    /// The flow table has no room left where flows need it.
    FlowTableFull,
    /// Ports of `[nat]` overlap with the kernel's.
    PortOverlap,
    /// Configured limits differ from those of the pinned maps.
    LimitsPending,
    /// A configured interface is gone, or XDP is no longer on it.
    InterfaceMissing,
    /// The pins are gone: the data plane lives no longer than the agent.
    PinsMissing,
    /// The group that may use the socket does not exist: root only.
    GroupMissing,
    /// An operator froze the agent: changes are refused.
    Frozen,
    /// An operator took tracks or backends of the service out; resources cannot say that.
    OutOfService,
}

impl ConditionKind {
    /// Whether flows fare worse than the operator wants while it holds; the others are for their information.
    pub fn impairs_traffic(self) -> bool {
        match self {
            Self::NeighbourMissing
            | Self::BackendBehindGateway
            | Self::NatExhausted
            | Self::NoBackend
            | Self::FlowTableFull
            | Self::InterfaceMissing => true,
            Self::GenericMode
            | Self::UnpinnedFlows
            | Self::FallbackTaken
            | Self::PortOverlap
            | Self::LimitsPending
            | Self::PinsMissing
            | Self::GroupMissing
            | Self::Frozen
            | Self::OutOfService => false,
        }
    }
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It does.
    True,
    /// It did.
    False,
    /// Nobody can say.
    Unknown,
}

/// A service in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// Its generation.
    pub generation: u64,
    /// How new flows get to its backends.
    pub mode: String,
    /// What is going on.
    pub phase: Phase,
    /// Flows pinned to it.
    pub flows: u64,
    /// What is out of the ordinary with it.
    pub conditions: Vec<Condition>,
}

/// What is going on with a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// The data plane has what the operator wants, and nothing is under way.
    Steady,
    /// A track or backend is draining, with pins left.
    Draining,
    /// A backend, a track or the service itself was removed, with pins left.
    Deleting,
    /// The data plane does not have what the operator wants yet.
    Pending,
}

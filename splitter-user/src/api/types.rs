//! What travels over the agent's socket: requests, replies and views, in the JSON that INTERFACE.md fixes.
//!
//! These types know nothing of the model or the data plane: names, decimal strings and integers. Field names are
//! camelCase. Requests refuse unknown fields; replies ignore them, so that an older client reads a newer agent.

mod actor;
mod change;
mod diff;
mod drain;
mod error;
mod explain;
mod finding;
mod flow;
mod freeze;
mod history;
mod line;
mod service;
mod status;
mod target;

pub mod encoding;

pub use actor::Actor;
pub use change::{Change, ChangeList, ChangeReply, ChangeRequest, Command, Existing};
pub use diff::{DiffAction, DiffRequest, DiffView, FieldDiff, ServiceDiff};
pub use drain::{DrainState, DrainView};
pub use error::{ApiError, ErrorBody, ErrorCode};
pub use explain::{ExplainQuery, Explanation, Move, PinView, Which};
pub use finding::{Finding, FindingList};
pub use flow::{DEFAULT_FLOW_LIMIT, FlowFilter, FlowList, FlowState, FlowView, MAX_FLOW_LIMIT};
pub use freeze::{FreezeRequest, FreezeView};
pub use history::{
    AuditFilter, AuditItem, AuditList, AuditOutcome, DEFAULT_RECORDS, HistoryFilter, HistoryItem,
    HistoryList, MAX_RECORDS, SplitFate, Weights, Who,
};
pub use service::{
    AffinityView, AnchorView, BackendView, Health, LifeState, ListenerView, Observed, PrefixView,
    PreviewView, RampView, RouteView, ServiceDocument, ServiceList, ServiceView, SlowStartView,
    TrackView,
};
pub use status::{
    AgentView, Condition, ConditionKind, ConditionStatus, FlowTableView, InterfaceView, LimitsView,
    Phase, ServiceStatus, StatusView, XdpMode,
};
pub use target::{DrainTarget, Target, TargetError};

/// The `apiVersion` of every document.
pub const API_VERSION: &str = "splitter/v1";

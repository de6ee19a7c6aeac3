use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::encoding;
use crate::model::OnTimeout;

/// How a drain of a track or a backend stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename = "Drain", rename_all = "camelCase")]
pub struct DrainView {
    /// Where it stands.
    pub state: DrainState,
    /// How new flows of the service get to backends.
    pub mode: String,
    /// Flows still pinned to it.
    pub pins: u64,
    /// Of those, flows that were reset and whose ends are being told.
    #[serde(default)]
    pub resetting: u64,
    /// Seconds since the drain began, and so the least age of every flow that is left; null at none. The flow
    /// table does not know when a flow began.
    pub oldest_age_seconds: Option<u64>,
    /// Seconds for which the most silent of the flows that are left has sent nothing; null at none.
    #[serde(default)]
    pub idlest_seconds: Option<u64>,
    /// Flows that ended in the last half minute, as a rate: flows a minute; null until two scans were made.
    #[serde(default)]
    pub ended_per_minute: Option<u64>,
    /// Seconds until none is left, if they go on ending at that pace; null if none ends.
    #[serde(default)]
    pub estimated_seconds_left: Option<u64>,
    /// What becomes of the flows that outlive the deadline: `keep`, `reset` or `resteer`.
    #[serde(default)]
    pub on_timeout: OnTimeout,
    /// Packets of flows without a pin that went to it since a minute before the drain began: no scan can see such
    /// flows, and a drain ends them, for each of their packets is split anew.
    pub never_pinned: u64,
    /// When it ends by itself; null when nothing is draining.
    #[serde(with = "encoding::optional_moment")]
    #[schemars(with = "Option<String>")]
    pub deadline: Option<SystemTime>,
    /// A scan of the flow table after the grace period found no pin.
    pub proven: bool,
}

/// Stages of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DrainState {
    /// Not draining: it takes new flows as its weight says.
    Ready,
    /// No new flows, pins are left.
    Draining,
    /// No pin is left, and that is proven.
    Drained,
    /// The deadline passed with pins left; they go on.
    TimedOut,
    /// The deadline passed, or none was given time: the flows that are left are being reset or re-steered.
    Closing,
    /// Out of service by `maint`: pinned flows go on, without a deadline.
    Maint,
}

impl DrainState {
    /// Whether waiting longer can change the answer.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Draining | Self::Closing)
    }
}

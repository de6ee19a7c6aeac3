use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::encoding;

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
    /// Age of the pin that has been idle longest, in seconds; null at none.
    pub oldest_age_seconds: Option<u64>,
    /// New flows of the service that could not be pinned since the drain began: no scan can see them.
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
}

impl DrainState {
    /// Whether waiting longer can change the answer.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Draining)
    }
}

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DrainTarget, Target, encoding};
use crate::model::OnTimeout;

/// One changing request. `expect_generation` is checked before anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeRequest {
    /// What to do.
    pub command: Command,
    /// Compute and answer what would happen, change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Why, for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Refuse with [`ErrorCode::Conflict`](super::ErrorCode::Conflict) unless the service is at this generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_generation: Option<u64>,
}

impl ChangeRequest {
    /// A request that is carried out, without reason and without an expected generation.
    pub fn new(command: Command) -> Self {
        Self {
            command,
            dry_run: false,
            reason: None,
            expect_generation: None,
        }
    }
}

/// What becomes of the pinned flows of a track that a change leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Existing {
    /// They go on.
    #[default]
    Keep,
    /// They are reset, over the service's `drain.closeSpread`.
    Reset,
}

impl Existing {
    /// Both, with their names on the command line.
    pub const NAMES: [(&'static str, Self); 2] = [("keep", Self::Keep), ("reset", Self::Reset)];

    fn is_keep(&self) -> bool {
        *self == Self::Keep
    }
}

/// What a changing request asks for. In JSON the verb is the only key: `{"cutover": {"target": "web", "to": "green"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Command {
    /// Put resources in force: all documents or none, one flip.
    Apply {
        /// YAML, one document or more.
        yaml: String,
        /// Where it came from, for messages and the audit: a file name, or `-`.
        origin: String,
    },
    /// The same, and remove services that earlier applies of the same origin made and this text lacks.
    ApplyAndPrune {
        /// YAML, one document or more.
        yaml: String,
        /// Where it came from: a file name.
        origin: String,
    },
    /// Remove a service; its pins live on unless `now`.
    Delete {
        /// The service.
        service: String,
        /// Cut the pinned flows too.
        #[serde(default)]
        now: bool,
    },
    /// Shift weights. Tracks left out share the rest in their present proportion.
    SetWeight {
        /// A service, or all services of a release.
        target: Target,
        /// Track and percentage (`25%`), in the order given.
        weights: Vec<(String, String)>,
        /// Over this time, a few slots at a time; at once if absent.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            with = "encoding::optional_duration"
        )]
        #[schemars(with = "Option<String>")]
        ramp: Option<Duration>,
    },
    /// Move all new flows to one track in one flip.
    Cutover {
        /// A service, or all services of a release.
        target: Target,
        /// The track that takes all new flows.
        to: String,
        /// What becomes of the flows that are pinned to tracks that it leaves.
        #[serde(default, skip_serializing_if = "Existing::is_keep")]
        existing: Existing,
    },
    /// Go back to the split before the last operator change.
    Undo {
        /// A service, or all services of a release.
        target: Target,
        /// Back to the split of this generation instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to_generation: Option<u64>,
        /// What becomes of the flows that are pinned to tracks that it leaves.
        #[serde(default, skip_serializing_if = "Existing::is_keep")]
        existing: Existing,
    },
    /// No new flows for a track or a backend; pinned flows go on.
    Drain {
        /// The service.
        service: String,
        /// The track or backend.
        what: DrainTarget,
        /// Deadline; the service's `drain.timeout` if absent.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            with = "encoding::optional_duration"
        )]
        #[schemars(with = "Option<String>")]
        timeout: Option<Duration>,
        /// What becomes of flows that outlive it; the service's `drain.onTimeout` if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_timeout: Option<OnTimeout>,
        /// The time over which they are closed, if they are not kept; the service's `drain.closeSpread` if
        /// absent.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            with = "encoding::optional_duration"
        )]
        #[schemars(with = "Option<String>")]
        spread: Option<Duration>,
    },
    /// No new flows for a track or a backend, and no deadline: it stays so until [`Ready`](Self::Ready).
    Maint {
        /// The service.
        service: String,
        /// The track or backend.
        what: DrainTarget,
    },
    /// No new flows for a track or a backend, and its pinned flows are reset.
    Quarantine {
        /// The service.
        service: String,
        /// The track or backend.
        what: DrainTarget,
        /// The time over which they are reset; the service's `drain.closeSpread` if absent.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            with = "encoding::optional_duration"
        )]
        #[schemars(with = "Option<String>")]
        spread: Option<Duration>,
    },
    /// End a drain: the track or backend takes new flows again, as its weight says.
    Ready {
        /// The service.
        service: String,
        /// The track or backend.
        what: DrainTarget,
    },
    /// Put services in force as another host had them, slot for slot.
    Import {
        /// A document of kind HostState.
        text: String,
    },
}

impl Command {
    /// The verb as the command line spells it, for logs and the audit.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Apply { .. } | Self::ApplyAndPrune { .. } => "apply",
            Self::Delete { .. } => "delete",
            Self::SetWeight { .. } => "set-weight",
            Self::Cutover { .. } => "cutover",
            Self::Undo { .. } => "undo",
            Self::Drain { .. } => "drain",
            Self::Maint { .. } => "maint",
            Self::Quarantine { .. } => "quarantine",
            Self::Ready { .. } => "ready",
            Self::Import { .. } => "import",
        }
    }
}

impl Command {
    /// What it is to act on, for the audit: a service, `release/NAME`, or where resources came from.
    pub fn target(&self) -> String {
        match self {
            Self::Apply { origin, .. } | Self::ApplyAndPrune { origin, .. } => origin.clone(),
            Self::Import { .. } => String::new(),
            Self::Delete { service, .. }
            | Self::Drain { service, .. }
            | Self::Maint { service, .. }
            | Self::Quarantine { service, .. }
            | Self::Ready { service, .. } => service.clone(),
            Self::SetWeight { target, .. }
            | Self::Cutover { target, .. }
            | Self::Undo { target, .. } => target.to_string(),
        }
    }
}

/// What a change did to one service, or with `dry_run` would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub struct Change {
    /// The service.
    pub service: String,
    /// Its generation after the change; the same as before it if nothing changed.
    pub generation: u64,
    /// Weights in force before, by track: percent as decimal text without sign. Empty for a new service.
    pub before: BTreeMap<String, String>,
    /// Weights in force after, by track. Empty for a deleted service.
    pub after: BTreeMap<String, String>,
    /// How long the flip itself took; null where nothing was flipped (dry run, nothing to change).
    pub flip_nanoseconds: Option<u64>,
    /// Nothing was changed: this is what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// Slots of the split table that have another track than before.
    #[serde(default)]
    pub moved: u32,
    /// What the operator should know, though the change was made.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Several changes, made in one flip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub struct ChangeList {
    /// One for each service.
    pub items: Vec<Change>,
}

/// The answer to a changing request: one `Change`, or a `ChangeList` of none or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ChangeReply {
    /// One service.
    One(Change),
    /// None or several.
    Many(ChangeList),
}

impl ChangeReply {
    /// All changes, in order.
    pub fn items(&self) -> &[Change] {
        match self {
            Self::One(change) => std::slice::from_ref(change),
            Self::Many(list) => &list.items,
        }
    }
}

impl From<Vec<Change>> for ChangeReply {
    fn from(items: Vec<Change>) -> Self {
        match <[Change; 1]>::try_from(items) {
            Ok([change]) => Self::One(change),
            Err(items) => Self::Many(ChangeList { items }),
        }
    }
}

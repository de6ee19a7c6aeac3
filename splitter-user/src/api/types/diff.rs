use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Compares a text with what is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiffRequest {
    /// YAML, one document or more.
    pub yaml: String,
    /// Where it came from.
    pub origin: String,
    /// As `apply --prune` would do it.
    #[serde(default)]
    pub prune: bool,
}

/// What applying a text would do to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DiffAction {
    /// Make it.
    Create,
    /// Change it.
    Update,
    /// Nothing.
    Keep,
    /// Remove it: an earlier apply of the same origin made it, and the text lacks it.
    Prune,
}

impl DiffAction {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Keep => "keep",
            Self::Prune => "prune",
        }
    }
}

/// A field that is not the same everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldDiff {
    /// Such as `spec.tracks.green.weight`; elements of lists go by name or address.
    pub path: String,
    /// In the text; null where it has none.
    pub file: Option<String>,
    /// In force; null where there is none.
    pub desired: Option<String>,
    /// As it was applied last; null where there was none, or nobody applied the service.
    pub applied: Option<String>,
    /// Applying the text would change it.
    pub changes: bool,
    /// Something other than an apply changed it since the last one, such as set-weight.
    pub runtime: bool,
}

/// One service, three ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDiff {
    /// The service.
    pub service: String,
    /// What applying the text would do to it.
    pub action: DiffAction,
    /// Its generation; 0 for one that is not there.
    pub generation: u64,
    /// Where it was applied from last; null if by nobody, or before the agent noted that.
    pub origin: Option<String>,
    /// Fields that are not the same in the text, in force and as applied last.
    pub fields: Vec<FieldDiff>,
    /// Tracks and backends that are drained: an apply leaves that as it is.
    pub drained: Vec<String>,
}

/// Text, desired and applied, compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename = "Diff", rename_all = "camelCase")]
pub struct DiffView {
    /// Whether applying the text would change anything.
    pub changed: bool,
    /// By name: those of the text, and those that would be pruned.
    pub services: Vec<ServiceDiff>,
}

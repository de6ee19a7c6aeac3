use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Who, encoding};

/// Freezes the agent, or lets it go again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FreezeRequest {
    /// Whether changes are to be refused from now on.
    pub frozen: bool,
    /// Why; everybody who is refused reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Say what would be, change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// Whether changes are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename = "Freeze", rename_all = "camelCase")]
pub struct FreezeView {
    /// They are: all but abort, undo and drain.
    pub frozen: bool,
    /// Who froze it; null when it is not frozen.
    pub by: Option<Who>,
    /// Since when; null when it is not frozen.
    #[serde(with = "encoding::optional_moment")]
    #[schemars(with = "Option<String>")]
    pub since: Option<SystemTime>,
    /// Why.
    pub reason: Option<String>,
    /// Nothing was changed: this is what would be.
    #[serde(default)]
    pub dry_run: bool,
}

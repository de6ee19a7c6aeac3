use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One check of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was checked.
    pub check: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub message: String,
    /// The command or setting that mends it.
    pub fix: Option<String>,
}

impl Finding {
    /// A check that passed.
    pub fn passed(check: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            ok: true,
            message: message.into(),
            fix: None,
        }
    }

    /// A check that failed, with what mends it.
    pub fn failed(
        check: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            check: check.into(),
            ok: false,
            message: message.into(),
            fix: Some(fix.into()),
        }
    }
}

/// All checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub struct FindingList {
    /// In the order checked.
    pub items: Vec<Finding>,
}

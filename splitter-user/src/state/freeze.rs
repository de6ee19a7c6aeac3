//! A freeze: an operator's word that nothing is to change for now.

use serde::{Deserialize, Serialize};

/// Who froze the agent, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Process id, if the kernel told it.
    pub pid: Option<u32>,
    /// Milliseconds since 1970.
    pub since: u64,
    /// Why.
    pub reason: Option<String>,
}

impl Freeze {
    /// Verbs that a freeze lets through: those that end a change or take it back, and those that
    /// take something out of service.
    pub const ALLOWED: [&str; 3] = ["abort", "undo", "drain"];

    /// Whether a verb may be carried out all the same.
    #[must_use]
    pub fn allows(verb: &str) -> bool {
        Self::ALLOWED.contains(&verb)
    }
}

//! What was applied last, and from where: what `diff` and `apply --prune` go by.

use serde::{Deserialize, Serialize};

use crate::model::Service;

/// The last apply of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Where the text came from: a path, or `-`.
    pub origin: String,
    /// What it said, with the weights that were in force where it gave none.
    pub spec: Service,
}

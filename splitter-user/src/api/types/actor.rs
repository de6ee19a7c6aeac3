use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who asked: the peer's credentials as the kernel recorded them when it connected (`SO_PEERCRED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// User id of the peer.
    pub uid: u32,
    /// Primary group id of the peer.
    pub gid: u32,
    /// Process id of the peer; absent where the kernel does not tell (another pid namespace).
    pub pid: Option<i32>,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid:{} gid:{}", self.uid, self.gid)?;
        match self.pid {
            Some(pid) => write!(f, " pid:{pid}"),
            None => Ok(()),
        }
    }
}

//! What the journal holds, as its callers see it.

use serde::{Deserialize, Serialize};

use crate::api::types::ErrorCode;

/// Cells of a split table.
pub const SLOTS: usize = 65_536;

/// A split table, slot for slot: the number of the track that owns each.
pub type Slots = Box<[u8; SLOTS]>;

/// A service as it was last committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRecord {
    /// Its name.
    pub name: String,
    /// The number of the last operator change.
    pub generation: u64,
    /// Its number in the data plane.
    pub data_plane_id: u16,
    /// The desired state, as JSON.
    pub spec_json: String,
    /// What the agent keeps beside it (drains, desired weights), as JSON.
    pub state_json: String,
    /// The current split.
    pub current: Slots,
    /// Which of the service's 4 tables holds the current split.
    pub current_index: u8,
    /// The splits that undo can go back to.
    pub anchors: Vec<AnchorRecord>,
}

/// A split that undo can go back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorRecord {
    /// The generation that made it.
    pub generation: u64,
    /// Which of the service's 4 tables holds it.
    pub index: u8,
    /// The split.
    pub slots: Slots,
    /// What the agent keeps beside it, as JSON.
    pub state_json: String,
}

/// Who has a number of the data plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRecord {
    /// `service`, `listener` or `backend`.
    pub kind: String,
    /// The number, unique within its kind.
    pub id: u32,
    /// Whose it is, as JSON.
    pub key_json: String,
    /// What the agent keeps about it (`active`, `deleting`, ...); [`IdRecord::FREE`] removes the record.
    pub state: String,
}

impl IdRecord {
    /// The state that removes a record: the number is nobody's.
    pub const FREE: &str = "free";
}

/// Who asked for a change, and what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Milliseconds since 1970, UTC.
    pub unix_ms: u64,
    /// User of the caller (`SO_PEERCRED`).
    pub uid: u32,
    /// Group of the caller.
    pub gid: u32,
    /// Process of the caller.
    pub pid: u32,
    /// The verb, such as `cutover`.
    pub verb: String,
    /// The service, or `release/NAME`.
    pub service: String,
    /// `--reason`.
    pub reason: Option<String>,
    /// What was there before, as JSON; none for a creation.
    pub from_json: Option<String>,
    /// What is there now, as JSON; none for a deletion.
    pub to_json: Option<String>,
    /// What was asked for, as the command line spells it; none for what moves no weights, and in records of older agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Why it was not done, if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The kind of refusal.
    pub code: ErrorCode,
    /// In words.
    pub message: String,
}

impl Audit {
    /// The verb of a step that an operator's earlier change takes by itself, such as a ramp's: the record follows
    /// it, history and audit know the change alone.
    pub const STEP: &str = "step";

    /// Whether it is such a step's.
    pub fn is_step(&self) -> bool {
        self.verb == Self::STEP
    }
}

/// A change, ready to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The selector's sequence after the flip.
    pub sequence: u64,
    /// The selector before the flip.
    pub selector_before: u64,
    /// The selector after the flip.
    pub selector_after: u64,
    /// The services that the change touches, as they are after it. Others stay.
    pub services: Vec<ServiceRecord>,
    /// The services that are gone after it.
    pub deleted: Vec<String>,
    /// The numbers that the change gives out, alters or frees ([`IdRecord::FREE`]). Others stay.
    pub ids: Vec<IdRecord>,
    /// Values that are kept from then on, by key.
    pub metas: Vec<(String, String)>,
    /// Who asked.
    pub audit: Audit,
}

/// A line of the history of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The selector's sequence of the change.
    pub sequence: u64,
    /// The service.
    pub service: String,
    /// The generation that the change made.
    pub generation: u64,
    /// Who asked.
    pub audit: Audit,
}

/// A line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number, growing.
    pub id: u64,
    /// Who asked for what.
    pub audit: Audit,
}

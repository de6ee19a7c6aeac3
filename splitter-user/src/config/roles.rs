//! The `[roles]` table: who may do how much over the agent's socket.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::read::{Table, Value};
use crate::diagnostic::Report;

/// How much somebody may do. Each role may do all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Moves new flows between what is there.
    Operator,
    /// Decides what is there.
    Admin,
}

impl Role {
    const ALL: [(&str, Self); 3] = [
        ("viewer", Self::Viewer),
        ("operator", Self::Operator),
        ("admin", Self::Admin),
    ];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}

/// A user or a group, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// A user.
    User(u32),
    /// A group, primary or supplementary.
    Group(u32),
}

/// The `[roles]` table. Empty: root and the group that is called like the instance may do everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles(BTreeMap<Holder, Role>);

impl Roles {
    /// Whether nobody is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names a holder; the higher role counts.
    #[must_use]
    pub fn with(mut self, holder: Holder, role: Role) -> Self {
        let kept = self.0.entry(holder).or_insert(role);
        *kept = (*kept).max(role);
        self
    }

    /// The highest role of a user that is in these groups. Root has every role.
    #[must_use]
    pub fn of(&self, uid: u32, groups: impl IntoIterator<Item = u32>) -> Option<Role> {
        if uid == 0 {
            return Some(Role::Admin);
        }
        let groups = groups.into_iter().map(Holder::Group);
        let holders = std::iter::once(Holder::User(uid)).chain(groups);
        holders
            .filter_map(|holder| self.0.get(&holder))
            .max()
            .copied()
    }
}

pub(super) fn roles(table: &Table<'_>, report: &mut Report<'_>) -> Roles {
    table.only(&Role::ALL.map(|(name, _)| name), &[], report);
    let mut roles = Roles::default();
    for (name, role) in Role::ALL {
        let holders = table.get(name).and_then(|value| value.elements(report));
        for holder in holders.unwrap_or_default() {
            if let Some(holder) = read(&holder, report) {
                roles = roles.with(holder, role);
            }
        }
    }
    roles
}

/// `uid:1000` or `gid:100`. Names are refused: what they mean may change while the agent runs.
fn read(value: &Value<'_, '_>, report: &mut Report<'_>) -> Option<Holder> {
    let text = value.string(report)?;
    let holder = text.split_once(':').and_then(|(kind, number)| {
        let number = number.parse().ok()?;
        match kind {
            "uid" => Some(Holder::User(number)),
            "gid" => Some(Holder::Group(number)),
            _ => None,
        }
    });
    if holder.is_none() {
        value.error(
            report,
            format!("{text:?} names neither a user nor a group"),
            "write \"uid:1000\" or \"gid:100\", with the number that `id -u NAME` or `getent group NAME` prints",
        );
    }
    holder
}

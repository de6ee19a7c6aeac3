//! What each role may do: one table, asked before anybody is.

use crate::api::types::{ApiError, ErrorCode};
use crate::config::Role;

use super::peer::Peer;

/// Everything that can be asked for, by the verb of the command line, and the role that it takes.
/// What is not listed takes the highest.
pub const NEEDS: &[(&str, Role)] = &[
    ("get", Role::Viewer),
    ("flows", Role::Viewer),
    ("explain", Role::Viewer),
    ("which", Role::Viewer),
    ("status", Role::Viewer),
    ("doctor", Role::Viewer),
    ("history", Role::Viewer),
    ("audit", Role::Viewer),
    ("export", Role::Viewer),
    ("diff", Role::Viewer),
    ("schemas", Role::Viewer),
    ("set-weight", Role::Operator),
    ("cutover", Role::Operator),
    ("undo", Role::Operator),
    ("drain", Role::Operator),
    ("ready", Role::Operator),
    ("maint", Role::Operator),
    ("quarantine", Role::Operator),
    ("apply", Role::Admin),
    ("delete", Role::Admin),
    ("freeze", Role::Admin),
    ("unfreeze", Role::Admin),
    ("import", Role::Admin),
    ("export --with-secret", Role::Admin),
    ("detach", Role::Admin),
];

/// The role that a verb takes.
pub fn needed(verb: &str) -> Role {
    let found = NEEDS.iter().find(|(of, _)| *of == verb);
    found.map_or(Role::Admin, |(_, role)| *role)
}

/// Refuses what the caller may not do.
pub fn check(peer: Peer, verb: &str) -> Result<(), ApiError> {
    let needed = needed(verb);
    if peer.role.is_some_and(|role| role >= needed) {
        return Ok(());
    }
    let Peer { actor, role } = peer;
    let is = role.map_or_else(
        || "has no role here".to_owned(),
        |role| format!("is {role}"),
    );
    Err(ApiError::new(
        ErrorCode::Policy,
        format!(
            "{verb} takes the role {needed}; uid {} (gid {}) {is}: root gives roles in [roles] of splitterd.toml, to \
             \"uid:{}\" or to a group",
            actor.uid, actor.gid, actor.uid
        ),
    ))
}

//! Resource files that are applied at a start, each only if its content is not what was last applied
//! from it: what operators changed since then stays.

use std::fs;
use std::path::{Path, PathBuf};

use splitter_ebpf::hash::digest;

use super::agent::Daemon;
use crate::api::Agent as _;
use crate::api::types::{Actor, ChangeRequest, Command};
use crate::writer::Request;

/// Applies the files of a directory, by name. One that is refused is logged and does not keep the
/// agent from running: what was in force stays in force.
pub(super) async fn apply_all(agent: &Daemon, directory: &Path) {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => {
            tracing::error!(directory = %directory.display(), %error, "cannot read the resources");
            return;
        }
    };
    let is_yaml = |path: &PathBuf| {
        path.extension()
            .is_some_and(|ending| ending == "yaml" || ending == "yml")
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(is_yaml)
        .collect();
    files.sort();
    for file in files {
        if let Err(message) = apply(agent, &file).await {
            tracing::error!(file = %file.display(), "not applied: {message}");
        }
    }
}

async fn apply(agent: &Daemon, file: &Path) -> Result<(), String> {
    let yaml = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let key = format!("resource:{}", file.display());
    let content = format!("{:016x}", digest([0, 0], yaml.as_bytes()));
    let applied = agent
        .writer
        .ask(|answer| Request::Recall(key.clone(), answer))
        .await;
    if applied.map_err(|error| error.message)?.as_deref() == Some(&content) {
        tracing::debug!(file = %file.display(), "unchanged since it was last applied");
        return Ok(());
    }
    let origin = file.display().to_string();
    let request = ChangeRequest::new(Command::Apply { yaml, origin });
    let actor = Actor {
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        pid: Some(rustix::process::getpid().as_raw_nonzero().get()),
    };
    let changes = agent
        .change(request, actor)
        .await
        .map_err(|error| format!("{}\n{}", error.message, error.details.join("\n")))?;
    tracing::info!(file = %file.display(), services = changes.len(), "applied");
    agent
        .writer
        .ask(|answer| Request::Remember(key, content, answer))
        .await
        .map_err(|error| error.message)
}

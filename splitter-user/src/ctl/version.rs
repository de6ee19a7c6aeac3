use serde::Serialize;

use super::format::{Detail, Paint, View};
use super::{DONE, Outcome, Session};
use crate::api::types::AgentView;

/// Print the versions of splitterctl and of the agent
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit code 2 when there is no agent; the client's version is printed all the same. `splitterctl --version` asks no agent.")]
pub struct Args {}

#[derive(Serialize)]
#[serde(tag = "kind", rename = "Version", rename_all = "camelCase")]
struct Versions {
    client: &'static str,
    agent: Option<String>,
}

impl View for Versions {
    fn text(&self, _: Detail, _: Paint) -> String {
        format!(
            "client {}\nagent  {}\n",
            self.client,
            self.agent.as_deref().unwrap_or("unreachable")
        )
    }
}

pub async fn run(_: Args, mut session: Session<'_, '_>) -> Outcome {
    let (agent, outcome) = match session.client.status().await {
        Ok(status) => {
            let AgentView { version, .. } = status.agent;
            (Some(version), Ok(DONE))
        }
        Err(error) => (None, Err(error.into())),
    };
    session.show(&Versions {
        client: env!("CARGO_PKG_VERSION"),
        agent,
    })?;
    outcome
}

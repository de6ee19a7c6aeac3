//! `cargo xtask load`: the agent in the foreground.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::build::{Profile, build};
use crate::workspace;

/// Builds, then runs splitterd in the foreground; Ctrl-C stops the agent and leaves the data plane running
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The agent's configuration; packaging/splitterd.toml is an example
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Builds, and becomes the agent.
pub fn run(arguments: &Arguments) -> Result<()> {
    build(Profile::Release)?;
    let mut agent = Command::new(workspace::release_binary("splitterd")?);
    workspace::become_command(agent.arg("--config").arg(&arguments.config))
}

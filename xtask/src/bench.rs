//! `cargo xtask bench`: what a packet, a flip and a table cost.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::build::{Profile, build};
use crate::{privilege, workspace};

/// Measures nanoseconds a packet (BPF_PROG_TEST_RUN), flips, table builds and expiry scans
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Show the difference to an earlier `--json`
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,
    /// Further arguments for splitter-bench itself, after `--`
    #[arg(last = true, value_name = "ARGUMENT")]
    rest: Vec<OsString>,
}

/// Builds, and becomes the bench.
pub fn run(arguments: &Arguments) -> Result<()> {
    privilege::check("bench")?;
    build(Profile::Release)?;
    let mut bench = Command::new(workspace::release_binary("splitter-bench")?);
    bench.args(arguments.json.then_some("--json"));
    if let Some(old) = &arguments.compare {
        bench.arg("--compare").arg(old);
    }
    workspace::become_command(bench.args(&arguments.rest))
}

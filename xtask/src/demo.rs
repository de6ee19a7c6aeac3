//! `cargo xtask demo`: the whole thing, shown on one terminal.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::build::{Profile, build};
use crate::setup::{self, Scope};
use crate::{privilege, workspace};

/// Shows weights, a canary, a cutover under load, a drain and an undo, in network namespaces of its own
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Install what is missing without asking (without a terminal nobody is asked anyhow)
    #[arg(long)]
    yes: bool,
    /// Stay up at the end, and print commands to play with
    #[arg(long)]
    hold: bool,
    /// Further arguments for splitter-demo itself, after `--`
    #[arg(last = true, value_name = "ARGUMENT")]
    rest: Vec<OsString>,
}

/// Sets up, builds, and becomes the demo.
pub fn run(arguments: &Arguments) -> Result<()> {
    privilege::check("demo")?;
    setup::ensure(arguments.yes.into(), Scope::ThisKernel)?;
    build(Profile::Release)?;
    let mut demo = Command::new(workspace::release_binary("splitter-demo")?);
    demo.args(arguments.hold.then_some("--hold"))
        .args(&arguments.rest);
    workspace::become_command(&mut demo)
}

//! `cargo xtask test`: every test, the privileged ones included.

use std::process::Command;

use anyhow::Result;

use crate::build::{Profile, build};
use crate::kernels::{self, Selection};
use crate::setup::{self, Scope};
use crate::{fuzz, privilege, workspace};

/// Runs every test, the privileged ones in network namespaces of their own; fails loudly where it lacks privileges
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Install what is missing without asking (without a terminal nobody is asked anyhow)
    #[arg(long)]
    yes: bool,
    /// The full counts (1,000 weight changes, 20 kills, ...) instead of CI's reduced ones
    #[arg(long)]
    soak: bool,
    /// Instead on Debian's kernels under qemu, on all or one of them: packets, and what other kernels alone can do
    #[arg(
        long,
        value_name = "SERIES",
        num_args = 0..=1,
        default_missing_value = "all",
        conflicts_with = "soak"
    )]
    kernels: Option<Selection>,
    /// Only tests with this in their name
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
}

/// Sets up, builds and tests.
pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some(selection) = arguments.kernels {
        setup::ensure(arguments.yes.into(), Scope::WithKernels)?;
        return kernels::run(selection, arguments.filter.as_deref());
    }
    privilege::check("test")?;
    setup::ensure(arguments.yes.into(), Scope::ThisKernel)?;
    // The tests start the real binaries, which cargo does not build for another package's tests.
    build(Profile::Debug)?;
    let runner = Runner::find()?;
    if arguments.filter.is_none() {
        workspace::step("examples in the documentation", || {
            workspace::run(&mut workspace::cargo([
                "test",
                "--quiet",
                "--workspace",
                "--doc",
            ])?)
        })?;
    }
    if arguments.filter.is_none() {
        fuzz::smoke(&fuzz::targets()?, if arguments.soak { 120 } else { 5 })?;
    }
    let what = if arguments.soak {
        "tests, with the full counts: long"
    } else {
        "tests"
    };
    workspace::step(what, || {
        let mut command = runner.command(arguments)?;
        if arguments.soak {
            command.env("SPLITTER_SOAK", "1");
        }
        workspace::run(&mut command)
    })
}

/// What runs the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runner {
    /// A process a test, and an end for those that hang.
    Nextest,
    /// What every cargo has.
    Cargo,
}

impl Runner {
    fn find() -> Result<Self> {
        if workspace::succeeds(
            workspace::cargo(["nextest", "--version"])?.env_remove("RUST_BACKTRACE"),
        ) {
            return Ok(Self::Nextest);
        }
        eprintln!("    cargo-nextest is not there: cargo's own runner takes its place");
        Ok(Self::Cargo)
    }

    fn command(self, arguments: &Arguments) -> Result<Command> {
        let mut command = match self {
            Self::Nextest => {
                let profile = if arguments.soak { "soak" } else { "default" };
                workspace::cargo([
                    "nextest",
                    "run",
                    "--workspace",
                    "--no-fail-fast",
                    "--profile",
                    profile,
                ])?
            }
            Self::Cargo => {
                let mut command = workspace::cargo([
                    "test",
                    "--workspace",
                    "--no-fail-fast",
                    "--lib",
                    "--bins",
                    "--tests",
                ])?;
                // One at a time: the hosts of two tests would compete for the same two or four CPUs.
                command.env("RUST_TEST_THREADS", "1");
                command
            }
        };
        command.args(&arguments.filter);
        if self == Self::Cargo {
            command.args(["--", "--skip", kernels::ONLY_THERE]);
        }
        Ok(command)
    }
}

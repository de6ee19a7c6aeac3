//! `cargo xtask build`: the binaries, the XDP program inside them.

use anyhow::Result;

use crate::workspace;

/// Builds splitterd and splitterctl, with the XDP program inside splitterd
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Optimised, into target/release instead of target/debug
    #[arg(long)]
    release: bool,
}

/// What the binaries are optimised for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build, checks on.
    Debug,
    /// Quick to run.
    Release,
}

/// Builds, and says where the binaries are.
pub fn run(arguments: &Arguments) -> Result<()> {
    let (profile, folder) = if arguments.release {
        (Profile::Release, "release")
    } else {
        (Profile::Debug, "debug")
    };
    build(profile)?;
    println!(
        "    splitterd and splitterctl are in {}",
        workspace::target_dir()?.join(folder).display()
    );
    Ok(())
}

/// Builds every binary of the workspace but the XDP program, which splitterd's build script makes.
pub fn build(profile: Profile) -> Result<()> {
    let (what, flag) = match profile {
        Profile::Debug => ("build", None),
        Profile::Release => (
            "build, optimised: a few minutes the first time",
            Some("--release"),
        ),
    };
    workspace::step(what, || {
        // Not xtask itself: this very program is running, and its file may not be written.
        let packages = [
            "build",
            "--package",
            "splitter-user",
            "--package",
            "splitter-tests",
            "--bins",
        ];
        workspace::run(workspace::cargo(packages)?.args(flag))
    })
}

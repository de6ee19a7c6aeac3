//! `cargo xtask verifier`: what the kernel's verifier makes of each XDP program.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::build::{Profile, build};
use crate::toolchain::{PROGRAM, TARGET, Toolchain};
use crate::{privilege, workspace};

/// Loads each XDP program without attaching it; prints what the verifier walked, and compares with splitter-ebpf/verifier.json
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Keep the figures as those to compare with
    #[arg(long, conflicts_with = "quick")]
    accept: bool,
    /// Build the XDP program alone, and load it by the splitter-verifier that was built before
    #[arg(long)]
    quick: bool,
}

/// The figures that are kept, from the top folder.
const KEPT: &str = "splitter-ebpf/verifier.json";

/// Builds, and becomes the one that loads.
pub fn run(arguments: &Arguments) -> Result<()> {
    privilege::check("verifier")?;
    let loader = workspace::target_dir()?
        .join("debug")
        .join("splitter-verifier");
    let quick = arguments.quick && loader.is_file();
    if !quick {
        build(Profile::Debug)?;
    }
    let mut command = Command::new(loader);
    if quick {
        command.arg("--object").arg(object()?);
    }
    let what = if arguments.accept {
        "--accept"
    } else {
        "--compare"
    };
    command.arg(what).arg(workspace::root()?.join(KEPT));
    workspace::become_command(&mut command)
}

/// Compiles the XDP program alone.
fn object() -> Result<PathBuf> {
    let target_dir = workspace::target_dir()?.join("bpf-verifier");
    let root = workspace::root()?;
    workspace::step("the XDP program", || {
        workspace::run(&mut Toolchain::find()?.command("build", &root, &target_dir, &[]))
    })?;
    Ok(target_dir.join(TARGET).join("release").join(PROGRAM))
}

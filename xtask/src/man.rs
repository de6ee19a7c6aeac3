//! `cargo xtask man`: man pages and shell completions, made from the command lines themselves.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::workspace;

/// Writes man pages and completions into target/manual
#[derive(Debug, clap::Args)]
pub struct Arguments {}

pub fn run(_: &Arguments) -> Result<()> {
    let folder = workspace::target_dir()?.join("manual");
    write(&folder)?;
    println!("    {}", folder.display());
    Ok(())
}

/// `man/` and `completions/` below `folder`, which is made anew.
pub fn write(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace::root()?)
        .args([
            "run",
            "--quiet",
            "--package",
            "splitter-user",
            "--example",
            "manual",
            "--",
        ])
        .arg(folder);
    workspace::run(&mut cargo)?;
    Ok(folder.to_owned())
}

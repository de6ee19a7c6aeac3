//! `cargo xtask lint`: what can be found wrong without running anything.

mod links;
mod program;
mod scripts;
mod sources;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

pub use program::DEBIAN_CLIPPY;

use crate::workspace;

/// Formatting, clippy of host code and of the XDP program, documentation, tests' habits, links, scripts
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Also licences, advisories and sources of dependencies, by cargo-deny, which must be installed
    #[arg(long)]
    deny: bool,
}

/// Quick checks first.
pub fn run(arguments: &Arguments) -> Result<()> {
    let root = workspace::root()?;
    let files = tracked_files(&root)?;
    workspace::step("formatting", || {
        workspace::run(&mut workspace::cargo(["fmt", "--all", "--check"])?)?;
        // A workspace of its own.
        let fuzz = ["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"];
        workspace::run(&mut workspace::cargo(fuzz)?)
    })?;
    workspace::step("habits of sources and tests", || {
        report(sources::check(&root, &files)?)
    })?;
    workspace::step("links of the documents", || {
        report(links::check(&root, &files)?)
    })?;
    workspace::step("shell scripts", || report(scripts::check(&root, &files)?))?;
    workspace::step("clippy", || {
        let clippy = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ];
        workspace::run(&mut workspace::cargo(clippy)?)
    })?;
    workspace::step("clippy of the XDP program", || program::check(&root))?;
    workspace::step("documentation", || {
        let mut doc = workspace::cargo([
            "doc",
            "--quiet",
            "--workspace",
            "--no-deps",
            "--document-private-items",
        ])?;
        workspace::run(doc.env("RUSTDOCFLAGS", "--deny warnings"))
    })?;
    if arguments.deny {
        workspace::step("dependencies", deny)?;
    }
    Ok(())
}

/// One thing found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// File, from the top folder.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong, and the fix.
    pub text: String,
}

/// All findings at once.
fn report(findings: Vec<Finding>) -> Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    for Finding { file, line, text } in &findings {
        eprintln!("{}:{line}: {text}", file.display());
    }
    bail!("{} found", findings.len())
}

/// The files that git knows or would add, from the top folder.
fn tracked_files(root: &Path) -> Result<Vec<PathBuf>> {
    let arguments = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ];
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(arguments)
        .output();
    let output = output.context("cannot run git, which lists the files to check")?;
    if !output.status.success() {
        bail!(
            "git cannot list the files to check: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let names = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
    // A deleted file is listed until its deletion is committed.
    let files = names.split_terminator('\0').map(PathBuf::from);
    Ok(files.filter(|file| root.join(file).is_file()).collect())
}

fn deny() -> Result<()> {
    if !workspace::succeeds(&mut workspace::cargo(["deny", "--version"])?) {
        bail!(
            "cargo-deny is not there: `cargo install cargo-deny --locked` (some minutes), then again"
        );
    }
    workspace::run(&mut workspace::cargo(["deny", "check"])?)
}

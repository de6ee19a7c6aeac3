//! `cargo xtask dist`: what goes on a balancer host, in one archive.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::build::{Profile, build};
use crate::workspace;

/// Packs the release binaries, the unit file, the example configuration, man pages, completions and the licences into target/dist
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Files of the checkout that go into the archive, each with its folder there.
const FILES: [(&str, &str); 11] = [
    ("packaging/splitterd.service", "systemd"),
    ("packaging/splitter-decap.service", "systemd"),
    ("packaging/splitter.sysusers.conf", "systemd"),
    ("packaging/splitter.sysctl.conf", "etc"),
    ("packaging/splitterd.toml", "etc"),
    ("packaging/web.yaml", "etc"),
    ("README.md", "."),
    ("CHANGELOG.md", "."),
    ("SECURITY.md", "."),
    ("LICENSE-MIT", "."),
    ("LICENSE-APACHE", "."),
];

/// Builds and packs. The same commit and compiler give the same archive.
pub fn run(_: &Arguments) -> Result<()> {
    build(Profile::Release)?;
    let root = workspace::root()?;
    let dist = workspace::target_dir()?.join("dist");
    let name = format!("splitter-{}-linux-{ARCH}", env!("CARGO_PKG_VERSION"));
    workspace::step("archive", || {
        let folder = dist.join(&name);
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        for binary in ["splitterd", "splitterctl"] {
            place(&workspace::release_binary(binary)?, &folder.join("bin"))?;
        }
        let manual = crate::man::write(&dist.join("manual"))?;
        for below in ["man", "completions"] {
            for file in files(&manual.join(below))? {
                place(&file, &folder.join("share").join(below))?;
            }
        }
        for (file, below) in FILES {
            place(&root.join(file), &folder.join(below))?;
        }
        let archive = dist.join(format!("{name}.tar.gz"));
        pack(&dist, &name, &archive, &commit_time(&root))?;
        println!("    {}", archive.display());
        Ok(())
    })
}

/// The files of a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let files = entries.map(|entry| Ok(entry?.path()));
    files.collect()
}

fn place(file: &Path, folder: &Path) -> Result<()> {
    let name = file
        .file_name()
        .with_context(|| format!("{} is not a file", file.display()))?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::copy(file, folder.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}

/// Names, owners and times that do not depend on who packs, or when.
fn pack(dist: &Path, name: &str, archive: &Path, time: &str) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mode=u=rwX,go=rX",
    ])
    .arg(format!("--mtime=@{time}"))
    .arg("--use-compress-program=gzip --no-name --best")
    .arg("--file")
    .arg(archive)
    .arg("--directory")
    .arg(dist)
    .arg(name);
    workspace::run(&mut tar)
}

/// Seconds since 1970 of the commit, or of the epoch where there is no git.
fn commit_time(root: &Path) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["log", "-1", "--format=%ct"])
        .output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "0".to_owned(),
    }
}

//! A small disk of its own, which can be full or read-only.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::agent::Answer;
use crate::cleanup::{Debt, Owed};
use crate::scratch::Scratch;

/// A file system in memory, unmounted on drop.
#[derive(Debug)]
pub struct Disk {
    _mounted: Owed,
    directory: Scratch,
}

impl Disk {
    /// A disk with room for so many KiB, for its owner alone.
    pub fn new(kibibytes: u32) -> Result<Self> {
        let directory = Scratch::new("disk")?;
        let path = directory.join("mounted");
        std::fs::create_dir(&path)?;
        let mounted = Owed::new(Debt::Mount(path.clone()));
        mount(
            &[
                "-t",
                "tmpfs",
                "-o",
                &format!("size={kibibytes}k,mode=0700"),
                "tmpfs",
            ],
            &path,
        )?;
        Ok(Self {
            _mounted: mounted,
            directory,
        })
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.join("mounted")
    }

    /// Takes all room there is left.
    pub fn fill(&self) -> Result<()> {
        let mut ballast = File::create(self.ballast()).context("cannot make the ballast")?;
        while ballast.write_all(&[1; 4096]).is_ok() {}
        while ballast.write_all(&[1]).is_ok() {}
        Ok(())
    }

    /// Gives it back.
    pub fn make_room(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    /// Nothing can be written any more.
    pub fn read_only(&self) -> Result<()> {
        mount(&["-o", "remount,ro"], &self.path())
    }

    /// It can be written again.
    pub fn writable(&self) -> Result<()> {
        mount(&["-o", "remount,rw"], &self.path())
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

fn mount(arguments: &[&str], path: &Path) -> Result<()> {
    let mut mount = Command::new("mount");
    mount.args(arguments).arg(path);
    Answer::of(mount)?.succeeded().context("cannot mount")?;
    Ok(())
}

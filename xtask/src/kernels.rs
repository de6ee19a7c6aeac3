//! `cargo xtask test --kernels`: the tests that need no other host, on Debian's kernels, under qemu.
//!
//! No root and no KVM: qemu translates. So figures mean nothing there; what is asked is whether the verifier takes the programs,
//! whether packets fare alike, and what only other kernels have: bonding, VLAN devices, kernel tunnels, IPVS.

mod archive;
mod binary;
mod debian;
mod guest;
mod image;
mod modules;

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;

use anyhow::{Context as _, Result, bail};

use crate::build::{Profile, build};
use crate::workspace;
use binary::TestBinary;
use guest::Verdict;

/// The kernels that the project promises to run on, besides the one it is developed on. The first is the oldest.
const SERIES: [&str; 2] = ["6.1", "6.12"];

/// Modules of tests that run there, by the beginning of their tests' names.
const GROUPS: [&str; 3] = ["packets::", "decap::packets::", "kernels::"];

/// Tests of this module need another kernel than the machine's, and run nowhere else.
pub const ONLY_THERE: &str = "kernels::";

/// Which kernels to test on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// Each of them.
    All,
    /// One series, such as 6.1.
    One(&'static str),
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        SERIES
            .into_iter()
            .find(|series| *series == text)
            .map(Self::One)
            .ok_or_else(|| format!("allowed are all, {}", SERIES.join(", ")))
    }
}

impl Selection {
    fn series(self) -> Vec<&'static str> {
        match self {
            Self::All => SERIES.to_vec(),
            Self::One(series) => vec![series],
        }
    }
}

/// Runs the tests whose names contain `filter` on each kernel, all kernels at once.
pub fn run(selection: Selection, filter: Option<&str>) -> Result<()> {
    // The tests start the real binaries, too.
    build(Profile::Debug)?;
    let binary = workspace::step("build of the tests", TestBinary::build)?;
    let tests = binary.tests(&GROUPS, filter)?;
    if tests.is_empty() {
        bail!(
            "no test of {} has {:?} in its name",
            GROUPS.join(" and "),
            filter.unwrap_or_default()
        );
    }
    let folder = folder()?;
    let guests = workspace::step("kernels, and what they start with", || {
        let tools = debian::tools(&folder)?;
        let mut guests = Vec::new();
        for series in selection.series() {
            let kernel = debian::kernel(&folder, series)?;
            let image = folder.join(format!("{series}.cpio"));
            fs::write(&image, image::make(&kernel, &tools, &binary, &tests)?)?;
            guests.push(guest::Guest {
                series,
                kernel: kernel.image,
                image,
                console: folder.join(format!("{series}.console")),
            });
        }
        Ok(guests)
    })?;
    let what = format!("{} tests on {}", tests.len(), names(&guests));
    let verdicts = workspace::step(&what, || {
        thread::scope(|scope| {
            let threads: Vec<_> = guests
                .iter()
                .map(|guest| scope.spawn(|| guest.run(&tests)))
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|_| bail!("a guest's thread panicked"))
                })
                .collect::<Result<Vec<_>>>()
        })
    })?;
    report(&guests, &verdicts)
}

fn names(guests: &[guest::Guest]) -> String {
    let names: Vec<_> = guests.iter().map(|guest| guest.series).collect();
    names.join(" and ")
}

fn report(guests: &[guest::Guest], verdicts: &[Verdict]) -> Result<()> {
    let mut failed = 0;
    for (guest, verdict) in guests.iter().zip(verdicts) {
        match verdict {
            Verdict::Passed { tests, kernel } => println!("    {kernel}: {tests} tests passed"),
            Verdict::Failed { why, output } => {
                failed += 1;
                println!("{output}\n    {}: {why}", guest.series);
                println!("    its kernel's own words: {}", guest.console.display());
            }
        }
    }
    if failed > 0 {
        bail!("tests failed on {failed} of {} kernels", guests.len());
    }
    Ok(())
}

/// Where kernels are kept from one run to the next.
fn folder() -> Result<PathBuf> {
    let folder = workspace::target_dir()?.join("kernels");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

//! What the kernel's verifier makes of the programs: how many instructions it walks, and how large they
//! become. `splitter-ebpf/verifier.json` keeps the figures, and a test compares.
//!
//! The kernel gives up at a million instructions, and its work grows by leaps: one more branch in the
//! wrong place doubles it. So growth is noticed while it is small.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use aya::programs::Xdp;
use serde::{Deserialize, Serialize};
use splitter_user::decap::{self, Rules, Unchecked, parse_source};
use splitter_user::loader::{Loaded, load, load_object};

use crate::rig::{SECRET, SMALL, isolate};

/// What a figure may grow by, in percent, before [`Figures::compare`] complains.
const ALLOWED_GROWTH: u64 = 10;
/// Where the kernel gives up (`BPF_COMPLEXITY_LIMIT_INSNS`).
const KERNELS_LIMIT: u64 = 1_000_000;
/// How far programs may go on a kernel whose figures are not kept.
const ON_ANY_KERNEL: u64 = KERNELS_LIMIT / 4 * 3;
/// What accepts grown figures.
const ACCEPT: &str = "cargo xtask verifier --accept";

/// What the kernel made of a program, its global functions included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Instructions that the verifier walked.
    pub verified: u32,
    /// Bytes after verification.
    pub translated: u32,
    /// Bytes of machine code.
    pub jited: u32,
}

impl Program {
    /// As the kernel says.
    ///
    /// # Errors
    /// As the kernel says, too.
    pub fn of(program: &Xdp) -> Result<Self> {
        let info = program.info()?;
        Ok(Self {
            verified: info.verified_instruction_count().unwrap_or(0),
            translated: info.size_translated().unwrap_or(0),
            jited: info.size_jitted(),
        })
    }
}

/// Figures of every program, and the kernel they are of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Its release, the first two numbers.
    pub kernel: String,
    /// By name.
    pub programs: BTreeMap<String, Program>,
    /// Every program that ships is here.
    #[serde(skip)]
    complete: bool,
}

impl Figures {
    /// Of the objects that ship: the splitter's, and the decapsulator's.
    ///
    /// # Errors
    /// What the kernel says; if the verifier refuses a program, the end of its log.
    pub fn shipped() -> Result<Self> {
        isolate()?;
        let mut figures = Self::of(&shortened(load(SMALL, &SECRET, None))?)?;
        let rules = Rules::new(Unchecked {
            vips: vec!["198.18.1.100".parse()?],
            sources: vec![parse_source("198.19.0.0/16").map_err(anyhow::Error::msg)?],
            locals: vec!["198.18.2.9".parse()?],
        })?;
        let mut decapsulator = decap::Program::load(&rules, None)?;
        let program = Program::of(decapsulator.xdp()?)?;
        figures
            .programs
            .insert("splitter_decap".to_owned(), program);
        figures.complete = true;
        Ok(figures)
    }

    /// Of an object in a file.
    ///
    /// # Errors
    /// As for [`Figures::shipped`], and if the file cannot be read.
    pub fn of_file(path: &Path) -> Result<Self> {
        isolate()?;
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        // What the allocator gives is aligned well enough; aya's own `load_file` relies on it too.
        Self::of(&shortened(load_object(&bytes, SMALL, &SECRET, None))?)
    }

    fn of(loaded: &Loaded) -> Result<Self> {
        let mut programs = BTreeMap::new();
        for program in loaded.programs() {
            let (name, program) = program?;
            programs.insert(name.to_owned(), Program::of(program)?);
        }
        Ok(Self {
            kernel: running_kernel(),
            programs,
            complete: false,
        })
    }

    /// As kept in a file.
    ///
    /// # Errors
    /// If there is none, or something else in it.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("read {}; `{ACCEPT}` writes it", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{}: `{ACCEPT}` writes it anew", path.display()))
    }

    /// Keeps them in a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }

    /// Complains of what has grown over `kept`, of programs that are not kept, and of kept ones that are
    /// no more. Another kernel's verifier walks other paths: there no more is asked than that every
    /// program stays below three quarters of what any kernel takes.
    ///
    /// # Errors
    /// Each complaint in a line, with what cures it.
    pub fn compare(&self, kept: &Self) -> Result<()> {
        let mut complaints = Vec::new();
        for (name, now) in &self.programs {
            if u64::from(now.verified) > ON_ANY_KERNEL {
                complaints.push(format!(
                    "{name}: {} verified instructions, at most {} are allowed on any kernel, \
                     which refuses {KERNELS_LIMIT}: move what is rare into a global function",
                    now.verified, ON_ANY_KERNEL
                ));
            }
            if kept.kernel != self.kernel {
                continue;
            }
            let Some(before) = kept.programs.get(name) else {
                complaints.push(format!("{name}: no figures are kept; `{ACCEPT}` adds them"));
                continue;
            };
            let figures = [
                ("verified instructions", now.verified, before.verified),
                (
                    "bytes after verification",
                    now.translated,
                    before.translated,
                ),
                ("bytes of machine code", now.jited, before.jited),
            ];
            for (what, now, before) in figures {
                let allowed = u64::from(before) * (100 + ALLOWED_GROWTH) / 100;
                if u64::from(now) > allowed {
                    complaints.push(format!(
                        "{name}: {now} {what}, {before} are kept and {allowed} allowed: \
                         make it smaller, or `{ACCEPT}`"
                    ));
                }
            }
        }
        for name in kept.programs.keys() {
            if self.complete && !self.programs.contains_key(name) {
                complaints.push(format!("{name}: kept, and no program any more: `{ACCEPT}`"));
            }
        }
        if complaints.is_empty() {
            return Ok(());
        }
        bail!("{}", complaints.join("\n"))
    }

    /// A line a program, for people.
    #[must_use]
    pub fn table(&self) -> String {
        let line = |(name, program): (&String, &Program)| {
            let Program {
                verified,
                translated,
                jited,
            } = program;
            format!(
                "{name:<20} {verified:>7} instructions verified, {translated:>6} bytes, {jited:>6} as machine code"
            )
        };
        let lines: Vec<String> = self.programs.iter().map(line).collect();
        lines.join("\n")
    }
}

/// The running kernel's release, its first two numbers: others differ in mends alone.
fn running_kernel() -> String {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    release.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// Lines of the verifier's log that say why it refused; those before tell how it came there.
const LAST_LINES: usize = 60;

/// Keeps the end of a long error.
fn shortened(result: Result<Loaded, splitter_user::loader::LoadError>) -> Result<Loaded> {
    result.map_err(|error| {
        let text = error.to_string();
        let lines: Vec<&str> = text.lines().collect();
        let cut = lines.len().saturating_sub(LAST_LINES);
        if cut < 2 {
            return anyhow::anyhow!(text);
        }
        anyhow::anyhow!(
            "{}\n[... {cut} lines]\n{}",
            lines[0],
            lines[cut..].join("\n")
        )
    })
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test says what went wrong by panicking"
    )]
    use super::*;

    fn figures(kernel: &str, verified: u32) -> Figures {
        let program = Program {
            verified,
            translated: 1000,
            jited: 500,
        };
        Figures {
            kernel: kernel.to_owned(),
            programs: [("splitter".to_owned(), program)].into(),
            complete: true,
        }
    }

    #[test]
    fn a_tenth_more_is_accepted_and_anything_above_is_named_with_the_cure() {
        let kept = figures("6.18", 1000);
        assert!(figures("6.18", 1100).compare(&kept).is_ok());
        let error = figures("6.18", 1101)
            .compare(&kept)
            .unwrap_err()
            .to_string();
        for part in ["1101", "1000", "1100", ACCEPT] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn another_kernel_is_held_to_three_quarters_of_what_kernels_take() {
        let kept = figures("6.18", 1000);
        assert!(figures("6.1", 750_000).compare(&kept).is_ok());
        assert!(figures("6.1", 750_001).compare(&kept).is_err());
    }

    #[test]
    fn programs_that_come_and_go_are_named() {
        let (kept, mut now) = (figures("6.18", 1000), figures("6.18", 1000));
        let program = now.programs.remove("splitter").unwrap();
        now.programs.insert("other".to_owned(), program);
        let error = now.compare(&kept).unwrap_err().to_string();
        assert!(
            error.contains("other: no figures") && error.contains("splitter: kept"),
            "{error}"
        );
    }
}

//! `cargo xtask fuzz`: the parsing and rewriting code under libFuzzer, for a while.
//!
//! The stable compiler has all it takes (coverage counters are a pass of LLVM), so neither nightly nor
//! cargo-fuzz need be there. Who has them can use them: `fuzz/` is laid out as cargo-fuzz wants it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// Fuzzes what parses and rewrites packets, built for the host, and stops at the first finding
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How long, for each target
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Only this target: a file of fuzz/fuzz_targets
    #[arg(value_name = "TARGET")]
    target: Option<String>,
}

/// Counters on edges and comparisons, as libFuzzer wants them (cargo-fuzz passes the same), and no
/// sanitizer: no code here is `unsafe`.
const FLAGS: [&str; 8] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cforce-frame-pointers=yes",
];

/// Builds the targets and runs each.
pub fn run(arguments: &Arguments) -> Result<()> {
    let targets = match &arguments.target {
        Some(target) => vec![known(target)?],
        None => targets()?,
    };
    smoke(&targets, arguments.seconds)
}

/// Each of `targets` for so many seconds.
pub fn smoke(targets: &[String], seconds: u32) -> Result<()> {
    let fuzz = workspace::root()?.join("fuzz");
    let target_dir = workspace::target_dir()?.join("fuzz");
    let host = host()?;
    workspace::step("fuzz targets", || {
        let mut cargo = workspace::cargo(["build", "--quiet", "--locked", "--release", "--bins"])?;
        // For a named target, the flags are not those of build scripts.
        cargo.args(["--target", &host]);
        cargo.arg("--manifest-path").arg(fuzz.join("Cargo.toml"));
        cargo.arg("--target-dir").arg(&target_dir);
        cargo.env_remove("RUSTFLAGS");
        workspace::run(cargo.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}")))
    })?;
    let programs = target_dir.join(&host).join("release");
    for target in targets {
        workspace::step(&format!("fuzz {target} for {seconds} s"), || {
            fuzz_one(&programs.join(target), &fuzz, &target_dir, target, seconds)
        })?;
    }
    Ok(())
}

fn fuzz_one(
    program: &Path,
    fuzz: &Path,
    target_dir: &Path,
    target: &str,
    seconds: u32,
) -> Result<()> {
    // New finds go to the first folder, beside the build; the seeds stay as they are.
    let found = target_dir.join("corpus").join(target);
    let artifacts = target_dir.join("artifacts").join(target);
    for folder in [&found, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let mut command = Command::new(program);
    command.args([&found, &fuzz.join("corpus").join(target)]);
    command.args([
        &format!("-max_total_time={seconds}"),
        "-max_len=1600",
        "-timeout=10",
        "-verbosity=0",
    ]);
    // A folder, so it ends in a slash.
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    let output = command
        .output()
        .with_context(|| format!("cannot run `{}`", workspace::written(&command)))?;
    if output.status.success() {
        return Ok(());
    }
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    bail!(
        "fuzzing {target} found something: the input is in {}; run {} with it to see it again, \
         and keep it in fuzz/corpus/{target} once it is mended",
        artifacts.display(),
        program.display()
    )
}

/// The targets there are.
pub fn targets() -> Result<Vec<String>> {
    let folder = workspace::root()?.join("fuzz/fuzz_targets");
    let mut targets = Vec::new();
    for file in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
        let name = file?.file_name();
        targets.extend(
            Path::new(&name)
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned()),
        );
    }
    targets.sort();
    Ok(targets)
}

fn known(target: &str) -> Result<String> {
    let targets = targets()?;
    if !targets.iter().any(|known| known == target) {
        bail!(
            "there is no fuzz target {target:?}; there are {}",
            targets.join(", ")
        );
    }
    Ok(target.to_owned())
}

/// The target that the compiler itself runs on.
fn host() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not name its host")?.to_owned())
}

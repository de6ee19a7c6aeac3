//! Compiles the XDP programs into `$OUT_DIR/splitter-xdp.o` and `$OUT_DIR/splitter-decap.o`, which the binaries carry inside
//! themselves.

#[path = "../xtask/src/toolchain.rs"]
mod toolchain;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use toolchain::{CHOICE, DECAPSULATOR, PROGRAM, TARGET, Toolchain};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let manifest_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let workspace = manifest_dir
        .parent()
        .ok_or("the package splitter-user has left its workspace")?;

    let toolchain = Toolchain::find()?;
    // After what may fail: cargo prints all directives of a failed script, and runs it again anyhow.
    watch(workspace);
    // An upgraded linker makes another object.
    println!("cargo::rerun-if-changed={}", toolchain.linker.display());

    let target_dir = out_dir.join("bpf");
    compile(&mut toolchain.command("build", workspace, &target_dir, &[]))?;

    // As `loader::object` does: in builds for tests alone.
    if env::var_os("CARGO_FEATURE_ABI_TEST").is_some()
        && env::var_os("PROFILE").is_some_and(|profile| profile == "debug")
    {
        let target_dir = out_dir.join("bpf-other");
        let mut other = toolchain.command("build", workspace, &target_dir, &[]);
        compile(other.args(["--features", "abi-test"]))?;
        let object = out_dir.join("splitter-xdp-other.o");
        fs::copy(
            target_dir.join(TARGET).join("release").join(PROGRAM),
            &object,
        )?;
        println!(
            "cargo::rustc-env=SPLITTER_OTHER_OBJECT={}",
            object.display()
        );
    }
    for (program, variable) in [
        (PROGRAM, "SPLITTER_XDP_OBJECT"),
        (DECAPSULATOR, "SPLITTER_DECAP_OBJECT"),
    ] {
        let object = out_dir.join(program).with_extension("o");
        fs::copy(
            target_dir.join(TARGET).join("release").join(program),
            &object,
        )?;
        println!("cargo::rustc-env={variable}={}", object.display());
    }
    Ok(())
}

/// What the object depends on.
fn watch(workspace: &Path) {
    for file in [
        "splitter-ebpf/src",
        "splitter-ebpf/Cargo.toml",
        "Cargo.toml",
        "Cargo.lock",
        "xtask/src/toolchain.rs",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(file).display());
    }
    println!("cargo::rerun-if-env-changed={CHOICE}");
}

/// Runs the nested cargo. Its talk is shown only if it warns or fails.
fn compile(cargo: &mut Command) -> Result<(), Box<dyn Error>> {
    let output = cargo
        .output()
        .map_err(|error| format!("cannot run {}: {error}", cargo.get_program().display()))?;
    let talk = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        eprintln!("{talk}");
        return Err("the XDP program does not compile; its compiler's own words are below".into());
    }
    if talk.lines().any(|line| line.starts_with("warning")) {
        for line in talk.lines() {
            println!("cargo::warning={line}");
        }
    }
    Ok(())
}

//! Compiles the XDP program with the bench's driver into `$OUT_DIR/splitter-bench.o`, for the bench alone.

#[path = "../xtask/src/toolchain.rs"]
mod toolchain;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use toolchain::{CHOICE, PROGRAM, TARGET, Toolchain};

fn main() -> Result<(), Box<dyn Error>> {
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let manifest_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let workspace = manifest_dir
        .parent()
        .ok_or("the package splitter-tests has left its workspace")?;
    let toolchain = Toolchain::find()?;
    watch(workspace, &toolchain);
    let target_dir = out_dir.join("bpf");
    let output = toolchain
        .command("build", workspace, &target_dir, &[])
        .args(["--features", "bench"])
        .output()?;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        return Err(
            "the bench's XDP program does not compile; its compiler's own words are above".into(),
        );
    }
    let object = out_dir.join("splitter-bench.o");
    fs::copy(
        target_dir.join(TARGET).join("release").join(PROGRAM),
        &object,
    )?;
    println!(
        "cargo::rustc-env=SPLITTER_BENCH_OBJECT={}",
        object.display()
    );
    Ok(())
}

/// What the object depends on.
fn watch(workspace: &Path, toolchain: &Toolchain) {
    for file in [
        "splitter-ebpf/src",
        "splitter-ebpf/Cargo.toml",
        "Cargo.toml",
        "Cargo.lock",
        "xtask/src/toolchain.rs",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(file).display());
    }
    println!("cargo::rerun-if-changed={}", toolchain.linker.display());
    println!("cargo::rerun-if-env-changed={CHOICE}");
}

//! What comes from cargo and rustup.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::survey::{LLVM, Survey};
use crate::workspace;

/// The bpf-linker that was tried with Debian's compiler.
const LINKER_VERSION: &str = "0.13.0";

/// Installs bpf-linker, rustfmt and clippy where they are missing.
pub fn install(survey: &Survey) -> Result<()> {
    if !survey.components.is_empty() {
        workspace::step("components of the Rust toolchain", || {
            workspace::run(
                Command::new("rustup")
                    .args(["component", "add"])
                    .args(&survey.components),
            )
        })?;
    }
    if survey.linker {
        workspace::step("bpf-linker: about a minute", install_linker)?;
    }
    Ok(())
}

/// Links against Debian's LLVM, which is that of its rustc: a linker must read the bitcode of the compiler.
fn install_linker() -> Result<()> {
    let mut cargo = workspace::cargo([
        "install",
        "bpf-linker",
        "--version",
        LINKER_VERSION,
        "--locked",
        "--quiet",
    ])?;
    cargo.args(["--no-default-features", "--features", "llvm-22"]);
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(Path::new(LLVM).join("bin")).chain(env::split_paths(&path));
    cargo
        .env("PATH", env::join_paths(folders)?)
        .env("LLVM_PREFIX", LLVM);
    // Flags for the project's code are not for the tool's.
    cargo
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    workspace::run(&mut cargo)
}

//! The XDP program: clippy where its compiler has one, else a build without warnings.

use std::path::Path;

use anyhow::Result;

use crate::toolchain::{Compiler, Toolchain};
use crate::workspace;

/// Debian's clippy, of the package rust-web-clippy.
pub const DEBIAN_CLIPPY: &str = "/usr/bin/clippy-driver";

/// Every warning is an error.
pub fn check(root: &Path) -> Result<()> {
    let toolchain = Toolchain::find()?;
    // Another folder than the build script's, with other flags: neither throws away what the other made.
    let target_dir = workspace::target_dir()?.join("bpf-lint");
    let has_clippy = toolchain.compiler == Compiler::Debian && Path::new(DEBIAN_CLIPPY).is_file();
    let verb = if has_clippy { "check" } else { "build" };
    let mut cargo = toolchain.command(verb, root, &target_dir, &["-Dwarnings"]);
    if has_clippy {
        cargo.env("RUSTC_WORKSPACE_WRAPPER", DEBIAN_CLIPPY);
    } else {
        eprintln!(
            "    no clippy goes with this compiler: a build without warnings takes its place"
        );
    }
    workspace::run(&mut cargo)
}

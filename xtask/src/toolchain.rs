//! Finds what compiles the XDP program, and says how it is called.
//!
//! Shared, by `#[path]`, with the build script of `splitter-user`: so this file needs the standard library alone, and has
//! nothing that only one of the two uses. Two compilers will do. Debian's comes with `core` for BPF compiled; rustup's nightly
//! compiles `core` itself, from the component rust-src. Either wants bpf-linker beside it.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Environment variable that picks the compiler: `debian` or `nightly`.
pub const CHOICE: &str = "SPLITTER_BPF_TOOLCHAIN";

/// The target that the XDP program is compiled for.
pub const TARGET: &str = "bpfel-unknown-none";

/// Name of the XDP program's binary target in the package `splitter-ebpf`.
pub const PROGRAM: &str = "splitter-xdp";

/// Name of the decapsulator's binary target there, an object of its own.
pub const DECAPSULATOR: &str = "splitter-decap";

/// What cures a missing piece, but for rustup's nightly, which is the person's own to install.
const CURE: &str = "`cargo xtask setup` installs it";

/// A compiler that can make BPF code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compiler {
    /// Debian's rustc-web with libstd-rust-web-dev-bpf.
    Debian,
    /// Rustup's nightly with rust-src.
    Nightly,
}

/// A compiler and the linker that goes with it.
#[derive(Debug, Clone)]
pub struct Toolchain {
    /// Makes the bitcode.
    pub compiler: Compiler,
    /// Makes the object out of it.
    pub linker: PathBuf,
}

/// Why the XDP program cannot be built: one line, with the cure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(String);

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

impl Compiler {
    /// The compiler to use: the one that [`CHOICE`] names, else the first that is there, Debian's before rustup's.
    pub fn find() -> Result<Self, Missing> {
        let choice = env::var(CHOICE).unwrap_or_default();
        match choice.as_str() {
            "" if Self::Debian.is_usable() => Ok(Self::Debian),
            "" if Self::Nightly.is_usable() => Ok(Self::Nightly),
            "" => Err(Missing(format!(
                "no Rust compiler for the XDP program: neither {} nor {} is there; {CURE}",
                Self::Debian,
                Self::Nightly
            ))),
            "debian" => Self::Debian.required(),
            "nightly" => Self::Nightly.required(),
            other => Err(Missing(format!(
                "{CHOICE} is {other:?}, allowed are \"debian\" and \"nightly\": correct or unset it"
            ))),
        }
    }

    fn required(self) -> Result<Self, Missing> {
        if self.is_usable() {
            return Ok(self);
        }
        let cure = match self {
            Self::Debian => CURE,
            Self::Nightly => "`rustup toolchain install nightly --component rust-src` installs it",
        };
        Err(Missing(format!(
            "no Rust compiler for the XDP program: {CHOICE} asks for {self}, which is not there; {cure}"
        )))
    }

    fn is_usable(self) -> bool {
        match self {
            Self::Debian => printed(Command::new(DEBIAN_RUSTC).args([
                "--print",
                "target-libdir",
                "--target",
                TARGET,
            ]))
            .and_then(|folder| fs::read_dir(folder).ok())
            .is_some_and(|files| {
                files
                    .flatten()
                    .any(|file| file.file_name().to_string_lossy().starts_with("libcore-"))
            }),
            Self::Nightly => printed(
                Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]),
            )
            .is_some_and(|sysroot| {
                Path::new(&sysroot)
                    .join("lib/rustlib/src/rust/library/core/Cargo.toml")
                    .is_file()
            }),
        }
    }
}

/// Where Debian's packages put their compiler. Not looked up in PATH: rustup's stands before it there.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

impl fmt::Display for Compiler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Debian => "Debian's (packages rustc-web and libstd-rust-web-dev-bpf)",
            Self::Nightly => "rustup's nightly with rust-src",
        })
    }
}

impl Toolchain {
    /// Looks for a compiler, then for bpf-linker.
    pub fn find() -> Result<Self, Missing> {
        let compiler = Compiler::find()?;
        let linker = find_linker().ok_or_else(|| {
            Missing(format!(
                "no bpf-linker in PATH or in cargo's own bin folder; {CURE}"
            ))
        })?;
        Ok(Self { compiler, linker })
    }

    /// The cargo command that builds the XDP programs into `target_dir`, below the target's and the profile's name.
    ///
    /// `verb` is cargo's: `build` or `check`. `extra_flags` go to rustc besides those that the program needs.
    pub fn command(
        &self,
        verb: &str,
        workspace: &Path,
        target_dir: &Path,
        extra_flags: &[&str],
    ) -> Command {
        let mut command = match self.compiler {
            Compiler::Debian => {
                // Cargo and rustc need not be of one version: the cargo that runs us will do.
                let mut command =
                    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
                // The program uses compiler intrinsics, which a released compiler hides without this.
                command
                    .arg(verb)
                    .env("RUSTC", DEBIAN_RUSTC)
                    .env("RUSTC_BOOTSTRAP", "1");
                command
            }
            Compiler::Nightly => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "cargo", verb, "-Z", "build-std=core"]);
                command
                    .env_remove("RUSTC")
                    .env_remove("RUSTUP_TOOLCHAIN")
                    .env_remove("CARGO")
                    .env("RUSTUP_AUTO_INSTALL", "0");
                command
            }
        };
        command
            .args(["--quiet", "--locked", "--release", "--target", TARGET])
            .args([
                "--package",
                "splitter-ebpf",
                "--bin",
                PROGRAM,
                "--bin",
                DECAPSULATOR,
                "--features",
                "program",
            ])
            .arg("--manifest-path")
            .arg(workspace.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target_dir)
            .current_dir(workspace);
        isolate(&mut command);
        let flags: Vec<&str> = FLAGS.iter().chain(extra_flags).copied().collect();
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        command.envs(PROFILE.iter().copied());
        command.env("PATH", path_with(&self.linker));
        command
    }
}

/// What rustc is told besides the profile. `v3` has 32-bit arithmetic and jumps, and atomics that return a value.
const FLAGS: [&str; 4] = [
    "-Clink-arg=--btf",
    "-Cdebuginfo=2",
    "-Cpanic=abort",
    "-Ctarget-cpu=v3",
];

/// The program's own release profile. In variables, because that in Cargo.toml is the host binaries'.
const PROFILE: [(&str, &str); 9] = [
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "2"),
    ("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "false"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "false"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_STRIP", "none"),
];

/// Takes away what the outer cargo, clippy, rustup or a coverage run set for host code.
fn isolate(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let host_only = text.starts_with("CARGO_PROFILE_")
            || (text.starts_with("CARGO_TARGET_") && text.ends_with("_RUSTFLAGS"))
            || HOST_ONLY.contains(&text.as_ref());
        if host_only {
            command.env_remove(&name);
        }
    }
    // Empty, not absent: so that a wrapper named in a configuration file is switched off, too.
    command
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "");
}

/// Variables for host code. The search path for libraries is rustup's, with another LLVM than the linker's.
const HOST_ONLY: [&str; 8] = [
    "CARGO_BUILD_BUILD_DIR",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    "LD_LIBRARY_PATH",
    "RUSTC_LINKER",
    "RUSTFLAGS",
];

/// bpf-linker in PATH, else in the folder where `cargo install` puts it.
pub fn find_linker() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")));
    env::split_paths(&path)
        .chain(cargo_home.map(|home| home.join("bin")))
        .map(|folder| folder.join("bpf-linker"))
        .find(|candidate| candidate.is_file())
}

/// PATH, and the linker's folder after all others: what stands before it is not to be hidden.
fn path_with(linker: &Path) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let last = linker.parent().map(Path::to_path_buf);
    env::join_paths(env::split_paths(&path).chain(last)).unwrap_or(path)
}

/// The one line that a command prints, or nothing if it cannot be run or fails.
fn printed(command: &mut Command) -> Option<String> {
    let output = command
        .env_remove("RUSTUP_TOOLCHAIN")
        .env("RUSTUP_AUTO_INSTALL", "0")
        .env_remove("LD_LIBRARY_PATH")
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

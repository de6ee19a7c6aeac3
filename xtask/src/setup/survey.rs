//! What the machine lacks, and why each thing is needed.

use std::env;
use std::fmt;
use std::path::Path;

use anyhow::Result;

use super::Scope;
use crate::lint::DEBIAN_CLIPPY;
use crate::toolchain::{self, CHOICE, Compiler};
use crate::workspace;

/// A program and the Debian package that brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// Looked up in PATH and where administrators' programs are.
    program: &'static str,
    /// Debian's name for it.
    pub package: &'static str,
    /// Why the project needs it.
    why: &'static str,
}

/// No C compiler among them: without one this program would not have been linked.
const TOOLS: [Tool; 5] = [
    Tool {
        program: "ip",
        package: "iproute2",
        why: "wires the network namespaces of tests and demo",
    },
    Tool {
        program: "ethtool",
        package: "ethtool",
        why: "switches offloads that veth pairs must not have under XDP",
    },
    Tool {
        program: "nginx",
        package: "nginx-light",
        why: "is the real HTTP server behind tests and demo; its service stays off",
    },
    Tool {
        program: "c++",
        package: "g++",
        why: "builds libFuzzer, which is part of the fuzz targets",
    },
    Tool {
        program: "bpftool",
        package: "bpftool",
        why: "shows loaded programs and maps when something is wrong",
    },
];

/// For tests on other kernels.
const EMULATOR: Tool = Tool {
    program: "qemu-system-x86_64",
    package: "qemu-system-x86",
    why: "runs tests on Debian's kernels (`cargo xtask test --kernels`)",
};

/// What is missing.
#[derive(Debug)]
pub struct Survey {
    /// Programs of Debian packages.
    pub tools: Vec<Tool>,
    /// Whether the XDP program is compiled by rustup's nightly rather than by Debian's compiler.
    pub nightly: bool,
    /// A compiler for the XDP program.
    pub compiler: bool,
    /// Clippy of Debian's compiler, for `cargo xtask lint`.
    pub clippy: bool,
    /// bpf-linker.
    pub linker: bool,
    /// LLVM's library, to build bpf-linker with.
    pub llvm: bool,
    /// Components of the host's toolchain: rustfmt, clippy.
    pub components: Vec<&'static str>,
}

const DEBIAN_COMPILER: &str = "rustc-web, libstd-rust-web-dev-bpf";

/// Where Debian's LLVM of the version that its rustc uses is installed.
pub const LLVM: &str = "/usr/lib/llvm-22";

impl Survey {
    /// Looks at the machine; changes nothing.
    pub fn take(scope: Scope) -> Result<Self> {
        let compiler = Compiler::find();
        if let (Err(error), false) = (&compiler, choice_is_known()) {
            return Err(error.clone().into());
        }
        let nightly = compiler
            .as_ref()
            .map_or_else(|_| nightly_is_chosen(), |found| *found == Compiler::Nightly);
        let linker = toolchain::find_linker().is_none();
        Ok(Self {
            tools: TOOLS
                .into_iter()
                .chain((scope == Scope::WithKernels).then_some(EMULATOR))
                .filter(|tool| workspace::find_program(tool.program).is_none())
                .collect(),
            nightly,
            compiler: compiler.is_err(),
            clippy: !nightly && !Path::new(DEBIAN_CLIPPY).is_file(),
            linker,
            llvm: !nightly && linker && !Path::new(LLVM).join("bin/llvm-config").is_file(),
            components: missing_components()?,
        })
    }

    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.tools.is_empty()
            && !self.compiler
            && !self.clippy
            && !self.linker
            && self.components.is_empty()
    }

    /// The Debian packages that bring what is missing.
    pub fn packages(&self) -> Vec<&'static str> {
        let mut packages: Vec<_> = self.tools.iter().map(|tool| tool.package).collect();
        if self.compiler {
            packages.extend(["rustc-web", "libstd-rust-web-dev-bpf"]);
        }
        if self.clippy {
            packages.push("rust-web-clippy");
        }
        if self.llvm {
            packages.push("llvm-22-dev");
        }
        packages
    }

    /// Whether nginx is among the packages to install.
    pub fn brings_nginx(&self) -> bool {
        self.tools.iter().any(|tool| tool.program == "nginx")
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |what: &str, why: &str| writeln!(formatter, "    {what:<42} {why}");
        for tool in &self.tools {
            line(tool.package, tool.why)?;
        }
        if self.compiler {
            let what = if self.nightly {
                "rustup's nightly with rust-src"
            } else {
                DEBIAN_COMPILER
            };
            line(what, "compiles the XDP program")?;
        }
        if self.clippy {
            line("rust-web-clippy", "lints the XDP program")?;
        }
        if self.llvm {
            line("llvm-22-dev", "is needed to build bpf-linker")?;
        }
        if self.linker {
            line(
                "bpf-linker, by cargo install",
                "links the XDP program; about a minute to build",
            )?;
        }
        for component in &self.components {
            line(component, "is run by `cargo xtask lint`")?;
        }
        Ok(())
    }
}

fn choice_is_known() -> bool {
    let choice = env::var(CHOICE).unwrap_or_default();
    ["", "debian", "nightly"].contains(&choice.as_str())
}

/// Whether the person wants rustup's nightly rather than Debian's compiler.
fn nightly_is_chosen() -> bool {
    env::var(CHOICE).is_ok_and(|choice| choice == "nightly")
}

fn missing_components() -> Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    for (verb, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if !workspace::succeeds(&mut workspace::cargo([verb, "--version"])?) {
            missing.push(component);
        }
    }
    Ok(missing)
}

//! Debian packages, by apt-get.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::survey::Survey;
use crate::workspace;

/// Fails, with the commands to type instead, where apt-get cannot bring what is missing.
pub fn check_manager(survey: &Survey) -> Result<()> {
    if survey.nightly && (survey.compiler || survey.linker) {
        bail!(
            "set-up leaves rustup's nightly, and the linker for it, to you:\n{}",
            by_hand(survey)
        );
    }
    if survey.packages().is_empty() || workspace::succeeds(Command::new("apt-get").arg("--version"))
    {
        return Ok(());
    }
    bail!(
        "there is no apt-get here; install by hand:\n{}",
        by_hand(survey)
    )
}

/// Installs the packages. nginx is neither started nor left to start at boot.
pub fn install(survey: &Survey) -> Result<()> {
    let packages = survey.packages();
    if packages.is_empty() {
        return Ok(());
    }
    refresh_lists()?;
    if survey.compiler && !is_offered("libstd-rust-web-dev-bpf") {
        bail!(
            "this distribution has no Rust compiler for BPF; install by hand:\n{}",
            by_hand(survey)
        );
    }
    workspace::step(&format!("packages: {}", packages.join(", ")), || {
        let guard = if survey.brings_nginx() {
            Some(ServicesStayOff::set()?)
        } else {
            None
        };
        let mut apt = as_root("apt-get");
        apt.args([
            "install",
            "--yes",
            "--quiet",
            "--quiet",
            "--no-install-recommends",
        ])
        .args(&packages);
        let result = workspace::run(&mut apt);
        drop(guard);
        result?;
        if survey.brings_nginx() {
            switch_nginx_off()?;
        }
        Ok(())
    })
}

/// Asks Debian which packages there are.
pub fn refresh_lists() -> Result<()> {
    workspace::step("package lists", || {
        workspace::run(as_root("apt-get").args(["update", "--quiet", "--quiet"]))
    })
}

/// The commands for a machine that is not Debian 12.
fn by_hand(survey: &Survey) -> String {
    let mut lines = Vec::new();
    if !survey.tools.is_empty() {
        let names: Vec<_> = survey.tools.iter().map(|tool| tool.package).collect();
        lines.push(format!(
            "    with your package manager: {} (Debian's names)",
            names.join(" ")
        ));
    }
    if survey.compiler {
        lines.push("    rustup toolchain install nightly --component rust-src".to_owned());
    }
    if survey.linker {
        lines.push("    cargo install bpf-linker --locked    (or a released binary of it; its LLVM at least that of nightly)".to_owned());
    }
    lines.join("\n")
}

fn is_offered(package: &str) -> bool {
    let output = Command::new("apt-cache")
        .args(["show", "--no-all-versions", package])
        .output();
    output.is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
}

/// A command that is run by root: directly, or through sudo.
fn as_root(program: &str) -> Command {
    let root =
        fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let mut command = if root {
        Command::new(program)
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["--preserve-env=DEBIAN_FRONTEND", program]);
        sudo
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Keeps apt-get from starting services, while it lives.
///
/// Debian asks this script before it starts a service after an installation; one that is there already is left alone.
struct ServicesStayOff {
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl ServicesStayOff {
    fn set() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        let script = format!("printf '#!/bin/sh\\nexit 101\\n' > {POLICY} && chmod 755 {POLICY}");
        workspace::run(as_root("sh").args(["-c", &script]))
            .context("cannot keep nginx from being started")?;
        Ok(Self { ours: true })
    }
}

impl Drop for ServicesStayOff {
    fn drop(&mut self) {
        if self.ours && !workspace::succeeds(as_root("rm").args(["--force", POLICY])) {
            eprintln!(
                "warning: cannot remove {POLICY}, which keeps newly installed services from starting: remove it"
            );
        }
    }
}

/// Also where another policy let it start: nobody asked for a web server on port 80.
fn switch_nginx_off() -> Result<()> {
    if Path::new("/run/systemd/system").is_dir() {
        return workspace::run(as_root("systemctl").args([
            "--quiet",
            "disable",
            "--now",
            "nginx.service",
        ]));
    }
    // No service manager, so nothing starts at boot; a server that the package started has its pid there.
    if Path::new("/run/nginx.pid").exists() {
        return workspace::run(as_root("service").args(["nginx", "stop"]));
    }
    Ok(())
}

//! Shell scripts: their syntax, by the shell that their first line names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Finding;

/// Reads every script without running it.
pub fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in files {
        let Ok(bytes) = fs::read(root.join(file)) else {
            continue;
        };
        let Some(shell) = shell(&bytes) else { continue };
        let output = Command::new(shell)
            .arg("-n")
            .arg(file)
            .current_dir(root)
            .output();
        let output = output.with_context(|| format!("cannot run {shell}"))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            findings.push(Finding {
                file: file.clone(),
                line: 1,
                text,
            });
        }
    }
    Ok(findings)
}

fn shell(bytes: &[u8]) -> Option<&'static str> {
    let first = bytes
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let first = std::str::from_utf8(first).ok()?;
    let program = first.split_whitespace().next_back()?.rsplit('/').next()?;
    ["sh", "bash"].into_iter().find(|shell| *shell == program)
}

#[cfg(test)]
mod tests {
    use super::shell;

    #[test]
    fn the_first_line_names_the_shell() {
        assert_eq!(shell(b"#!/bin/sh\ntrue\n"), Some("sh"));
        assert_eq!(shell(b"#!/usr/bin/env bash\n"), Some("bash"));
    }

    #[test]
    fn other_files_are_not_scripts() {
        assert_eq!(shell(b"#!/usr/bin/python3\n"), None);
        assert_eq!(shell(b"[package]\n"), None);
    }
}

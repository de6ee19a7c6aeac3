//! SHA-256, by coreutils' `sha256sum`: no code of ours judges its own transfers.

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// A digest in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest(String);

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Digest {
    /// The digest of the file at `path`.
    pub fn of_file(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let output = Command::new("sha256sum")
            .stdin(file)
            .output()
            .context("cannot run sha256sum")?;
        ensure!(output.status.success(), "sha256sum failed: {output:?}");
        Self::parse(&String::from_utf8_lossy(&output.stdout))
    }

    fn parse(line: &str) -> Result<Self> {
        let digest = line.split_whitespace().next().unwrap_or_default();
        ensure!(digest.len() == 64, "not a line of sha256sum: {line:?}");
        Ok(Self(digest.to_owned()))
    }
}

/// Digests what is written to it.
#[derive(Debug)]
pub(crate) struct Hasher {
    child: Child,
    input: ChildStdin,
}

impl Hasher {
    pub(crate) fn new() -> Result<Self> {
        let mut child = Command::new("sha256sum")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start sha256sum")?;
        let input = child.stdin.take().context("sha256sum has no input")?;
        Ok(Self { child, input })
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) -> Result<()> {
        self.input
            .write_all(bytes)
            .context("sha256sum takes no more")
    }

    pub(crate) fn finish(self) -> Result<Digest> {
        let Self { mut child, input } = self;
        drop(input);
        let mut line = String::new();
        child
            .stdout
            .take()
            .context("sha256sum has no output")?
            .read_to_string(&mut line)?;
        child.wait().context("cannot wait for sha256sum")?;
        Digest::parse(&line)
    }
}

//! What a command said.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::ChildGuard;

/// Longest time that a command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The outcome of a command.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Answer {
    /// Runs `command` to its end, which must come within a minute, without input unless it has been given some.
    ///
    /// The output goes through files: however much there is, nobody has to read it meanwhile.
    pub(crate) fn of(command: Command) -> Result<Self> {
        Self::with_input(command, "")
    }

    /// Runs `command` with `input` as its standard input.
    pub(crate) fn with_input(mut command: Command, input: &str) -> Result<Self> {
        let mut files = [
            tempfile::tempfile()?,
            tempfile::tempfile()?,
            tempfile::tempfile()?,
        ];
        let [stdin, stdout, stderr] = &mut files;
        stdin.write_all(input.as_bytes())?;
        stdin.rewind()?;
        command
            .stdin(stdin.try_clone()?)
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?);
        let line = format!("{command:?}");
        let ended = ChildGuard::spawn(command)?.wait(PATIENCE);
        let said = Self {
            code: -1,
            stdout: text(stdout)?,
            stderr: text(stderr)?,
        };
        match ended {
            Ok(status) => Ok(Self {
                code: status.code().unwrap_or(-1),
                ..said
            }),
            Err(error) => Err(error.context(format!(
                "{line} said so far:\n{}{}",
                said.stdout, said.stderr
            ))),
        }
    }

    /// This answer, if the command succeeded; else what it said, as an error.
    pub fn succeeded(self) -> Result<Self> {
        ensure!(
            self.code == 0,
            "exit code {}\n{}{}",
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }

    /// The standard output as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("not JSON: {:?}", self.stdout))
    }

    /// Fails the test unless the command ended with `code` and its error output speaks of all of `words`.
    #[track_caller]
    pub fn assert_refused(&self, code: i32, words: &[&str]) {
        assert_eq!(
            self.code, code,
            "exit code; it said:\n{}{}",
            self.stdout, self.stderr
        );
        for word in words {
            assert!(
                self.stderr.contains(word),
                "the error should speak of {word:?}:\n{}",
                self.stderr
            );
        }
        assert!(
            !self.stderr.contains("panicked"),
            "a panic is no error message:\n{}",
            self.stderr
        );
    }
}

fn text(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The answer of a changing verb: INTERFACE's `Change`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The generation that the change made.
    pub generation: u64,
    /// How long the flip took; none where nothing had to be flipped.
    pub flip: Option<Duration>,
    /// The weights before, by track.
    pub before: Value,
    /// The weights after, by track.
    pub after: Value,
}

impl Change {
    pub(super) fn from_json(json: &Value) -> Result<Self> {
        ensure!(json["kind"] == "Change", "not a Change: {json}");
        let generation = json["generation"]
            .as_u64()
            .with_context(|| format!("no generation in {json}"))?;
        Ok(Self {
            generation,
            flip: json["flipNanoseconds"].as_u64().map(Duration::from_nanos),
            before: json["before"].clone(),
            after: json["after"].clone(),
        })
    }
}

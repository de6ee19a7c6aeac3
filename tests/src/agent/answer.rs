//! What a command said.

use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

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
    /// Runs `command` to its end.
    pub(crate) fn of(command: &mut Command) -> Result<Self> {
        Ok(command
            .output()
            .with_context(|| format!("cannot run {command:?}"))?
            .into())
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

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
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

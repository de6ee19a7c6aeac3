//! What is wrong with a text that a person wrote, and where: the value, what is allowed, the fix.
//!
//! Configuration and resources are read to the end and report everything they find: a `Report`
//! collects, [`Diagnostics`] is what the reader returns.

mod render;
mod suggest;

use serde::{Deserialize, Serialize};

pub(crate) use suggest::{closest, list};

/// A stretch of one line of a text. Lines and columns count from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// First column, from 1.
    pub column: usize,
    /// Characters that the caret underlines, at least 1.
    pub width: usize,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// The file, or what stands for it.
    pub origin: String,
    /// Where it stands, if that is known.
    pub at: Option<Position>,
    /// The line it stands on, as it was written.
    pub source_line: Option<String>,
    /// The path of the field, such as `spec.tracks[0].weight`; empty for the text as a whole.
    pub path: String,
    /// The value and what is allowed.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

/// Everything that is wrong with a text: never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// What was found, in the order of the text.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }
}

impl std::error::Error for Diagnostics {}

/// Collects what is wrong with one text.
pub(crate) struct Report<'t> {
    origin: String,
    lines: Vec<&'t str>,
    found: Vec<Diagnostic>,
}

impl<'t> Report<'t> {
    pub(crate) fn new(origin: &str, text: &'t str) -> Self {
        Self {
            origin: origin.to_owned(),
            lines: text.lines().collect(),
            found: Vec::new(),
        }
    }

    /// Notes one thing that is wrong.
    pub(crate) fn error(
        &mut self,
        at: impl Into<Option<Position>>,
        path: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let at = at.into();
        let source_line = at
            .and_then(|at| self.lines.get(at.line.checked_sub(1)?))
            .map(|line| (*line).to_owned());
        self.found.push(Diagnostic {
            origin: self.origin.clone(),
            at,
            source_line,
            path: path.into(),
            message: message.into(),
            fix: fix.into(),
        });
    }

    /// How many things are wrong so far: tells a reader whether a part of the text was good.
    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// Gives the value if nothing is wrong, else everything that is, in the order of the text.
    pub(crate) fn finish<T>(mut self, value: T) -> Result<T, Diagnostics> {
        if self.found.is_empty() {
            return Ok(value);
        }
        self.found.sort_by_key(|found| match found.at {
            Some(at) => (at.line, at.column),
            None => (usize::MAX, 0),
        });
        Err(Diagnostics(self.found))
    }
}

#[cfg(test)]
mod tests;

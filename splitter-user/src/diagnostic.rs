//! What is wrong with a text that a person wrote, and where: the value, what is allowed, the fix.
//!
//! Configuration and resources are read to the end and report everything they find: a `Report`
//! collects, [`Diagnostics`] is what the reader returns. However much is wrong, what is kept of it is bounded.

mod render;
mod suggest;

use serde::{Deserialize, Serialize};

pub(crate) use suggest::{closest, list};

/// Most things that are wrong with a text and told one by one; more are counted.
const MOST: usize = 100;
/// Longest message, path or fix, in characters.
const LONGEST: usize = 1_000;

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
    /// The line it stands on as it was written, or the stretch of a long one around it.
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
    more: usize,
}

impl<'t> Report<'t> {
    pub(crate) fn new(origin: &str, text: &'t str) -> Self {
        Self {
            origin: origin.to_owned(),
            lines: text.lines().collect(),
            found: Vec::new(),
            more: 0,
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
        if self.found.len() == MOST {
            self.more += 1;
            return;
        }
        let at = at.into();
        let source_line = at.and_then(|at| {
            let line = self.lines.get(at.line.checked_sub(1)?)?;
            Some(render::stretch(line, at).collect())
        });
        self.found.push(Diagnostic {
            origin: self.origin.clone(),
            at,
            source_line,
            path: cropped(path.into()),
            message: cropped(message.into()),
            fix: cropped(fix.into()),
        });
    }

    /// How many things are wrong so far: tells a reader whether a part of the text was good.
    pub(crate) fn len(&self) -> usize {
        self.found.len() + self.more
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
        if self.more > 0 {
            self.found.push(Diagnostic {
                origin: self.origin,
                at: None,
                source_line: None,
                path: String::new(),
                message: format!("{} more are wrong: the first {MOST} are listed", self.more),
                fix: "mend those first".to_owned(),
            });
        }
        Err(Diagnostics(self.found))
    }
}

/// A text with its end left out if it is long.
fn cropped(text: String) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests;

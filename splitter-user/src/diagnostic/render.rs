//! Diagnostics as text: origin, line and column; the line itself with a caret; the fix.

use std::fmt;

use super::{Diagnostic, Diagnostics, Position};

/// Longest stretch of a source line that is shown.
const SHOWN: usize = 100;

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, found) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{found}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.origin)?;
        if let Some(at) = self.at {
            write!(f, ":{}:{}", at.line, at.column)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", printable(&self.path))?;
        }
        writeln!(f, ": {}", printable(&self.message))?;
        self.excerpt(f)?;
        writeln!(f, "  fix: {}", printable(&self.fix))
    }
}

impl Diagnostic {
    fn excerpt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(at), Some(line)) = (self.at, &self.source_line) else {
            return Ok(());
        };
        let number = at.line.to_string();
        let before = at.column.saturating_sub(1) - skipped(at);
        let shown = printable(line);
        let room = shown.chars().count().saturating_sub(before);
        let carets = "^".repeat(at.width.clamp(1, room.max(1)));
        writeln!(f, "  {number} | {}", shown.trim_end())?;
        writeln!(f, "  {:1$} | {2:3$}{carets}", "", number.len(), "", before)
    }
}

/// What is shown of a line: all of it, or what lies around the place.
pub(super) fn stretch(line: &str, at: Position) -> impl Iterator<Item = char> {
    line.chars().skip(skipped(at)).take(SHOWN)
}

/// Characters of the line before what is shown of it.
fn skipped(at: Position) -> usize {
    at.column.saturating_sub(1).saturating_sub(SHOWN / 2)
}

/// The text with one space for each control character: what a file holds must not steer a
/// terminal, and columns must stay.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

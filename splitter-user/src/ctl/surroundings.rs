use std::io::{self, IsTerminal, Read, Write};

use crate::api::types::Finding;

/// What a command line runs in: the standard streams, or a test's buffers.
pub struct Surroundings<'a> {
    /// For `apply -f -`.
    pub input: Box<dyn Read + 'a>,
    /// For data.
    pub out: Box<dyn Write + 'a>,
    /// For talk.
    pub err: Box<dyn Write + 'a>,
    /// Whether `out` is a terminal: watching refreshes in place only there.
    pub terminal: bool,
    /// Whether `out` takes colours.
    pub color: bool,
    /// Checks of this host that need no agent.
    pub local_findings: fn() -> Vec<Finding>,
}

impl Surroundings<'static> {
    /// The process's own streams.
    pub fn standard(local_findings: fn() -> Vec<Finding>) -> Self {
        let terminal = io::stdout().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            input: Box::new(io::stdin()),
            out: Box::new(io::BufWriter::new(io::stdout())),
            err: Box::new(io::stderr()),
            terminal,
            color: terminal && !no_color,
            local_findings,
        }
    }
}

impl Surroundings<'_> {
    /// Data, as it is, and at once; whether somebody still reads. A closed pipe is no failure: what the verb is there to do goes
    /// on, and its exit code tells of that alone.
    pub(super) fn print(&mut self, text: &str) -> io::Result<Reader> {
        match self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
        {
            Ok(()) => Ok(Reader::Listens),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
            Err(error) => Err(error),
        }
    }

    /// One line of talk. That nobody listens is no failure.
    pub(super) fn talk(&mut self, line: &str) {
        let _ = writeln!(self.err, "{line}");
    }

    /// One line that says what went wrong.
    pub(super) fn error(&mut self, message: &str) {
        self.talk(&format!("error: {message}"));
    }

    /// One line about something that the operator should know.
    pub(super) fn warn(&mut self, message: &str) {
        self.talk(&format!("warning: {message}"));
    }
}

/// Whoever reads stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// It took what was written.
    Listens,
    /// It closed the pipe.
    Gone,
}

#![expect(clippy::unwrap_used, reason = "test code")]

mod changes;
mod failures;
mod files;
mod records;
mod views;

use std::io::{self, Write};
use std::path::Path;

use serde_json::Value;

use super::{Surroundings, run};
use crate::api::types::{Command, Finding};

/// What a command line left behind.
struct Ran {
    code: u8,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

/// Runs `splitterctl --socket SOCKET LINE`, the line split at blanks.
async fn ctl(socket: &Path, line: &str) -> Ran {
    ctl_with(socket, line, |_| {}).await
}

async fn ctl_with(socket: &Path, line: &str, arrange: impl FnOnce(&mut Surroundings<'_>)) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut around = Surroundings {
        input: Box::new(io::empty()),
        out: Box::new(&mut out),
        err: Box::new(&mut err),
        terminal: false,
        color: false,
        local_findings: Vec::new,
    };
    arrange(&mut around);
    let arguments = ["splitterctl", "--socket", socket.to_str().unwrap()];
    let code = run(arguments.into_iter().chain(line.split_whitespace()), around).await;
    Ran {
        code,
        out: String::from_utf8(out).unwrap(),
        err: String::from_utf8(err).unwrap(),
    }
}

/// The last command that the fake was asked for.
fn last_command(running: &crate::api::fake::Running) -> Command {
    running
        .fake
        .asked
        .lock()
        .unwrap()
        .last()
        .unwrap()
        .0
        .command
        .clone()
}

/// Takes so many writes; then the reader is gone.
struct ClosedAfter(usize);

impl Write for ClosedAfter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.0 -= 1;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn a_local_finding() -> Vec<Finding> {
    vec![Finding::failed(
        "ip_forward",
        "net.ipv4.ip_forward is 0",
        "sysctl -w net.ipv4.ip_forward=1",
    )]
}

//! The command lines as clap knows them, for man pages and completions.

use clap::{Command, CommandFactory as _};

use crate::ctl;
use crate::daemon;

/// `splitterctl` with every verb that works, and none that comes later.
#[must_use]
pub fn splitterctl() -> Command {
    ctl::command()
}

/// `splitterd`.
#[must_use]
pub fn splitterd() -> Command {
    daemon::Arguments::command()
}

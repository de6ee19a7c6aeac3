//! `splitterctl`: a file a verb. A verb asks the agent and returns data; `format` alone makes text of it.
//!
//! Data goes to stdout, talk to stderr. A closed pipe is no failure. Exit codes are those of
//! [`ErrorCode::exit_code`](crate::api::types::ErrorCode::exit_code); clap's own 2 becomes 1.

mod apply;
mod audit;
mod backend_setup;
mod changing;
mod completions;
mod cutover;
mod delete;
mod describe;
mod detach;
mod diff;
mod doctor;
mod drain;
mod explain;
mod export;
mod flows;
mod format;
mod freeze;
mod get;
mod history;
mod import;
mod later;
mod lint;
mod maint;
mod quarantine;
mod ready;
mod set_weight;
mod status;
mod surroundings;
mod undo;
mod version;
mod watch;
mod which;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use clap::builder::Styles;
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use surroundings::Surroundings;

use crate::api::client::Client;
use crate::api::types::ApiError;
use format::Format;

const AFTER_HELP: &str = "\
Examples:
  splitterctl apply -f web.yaml                     put a service in force
  splitterctl get services -w                       watch desired, applied and observed shares
  splitterctl set-weight web green=25%              a quarter of the new flows to green
  splitterctl cutover web --to green                all new flows, in one flip
  splitterctl undo web                              back to the split before, in one flip
  splitterctl drain web blue --wait                 until no flow is left, proven

SERVICE may be release/NAME for set-weight, cutover and undo. BACKEND is ADDR:PORT or [V6]:PORT.

Exit codes: 0 done or healthy; 1 usage or refused input; 2 agent unreachable; 3 rolled back or aborted; 4 timed out;
5 a person is needed; 6 conflict (generation); 7 refused by policy; 8 inconclusive.";

/// Steers the traffic splitter: services, weights, cutovers, drains.
#[derive(Debug, Parser)]
#[command(name = "splitterctl", version, after_help = AFTER_HELP, styles = Styles::plain(), max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Options of every verb.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// The agent's socket.
    #[arg(
        long,
        global = true,
        env = "SPLITTER_SOCKET",
        value_name = "PATH",
        default_value = "/run/splitter/splitterd.sock"
    )]
    socket: PathBuf,
    /// How to print data.
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "table"
    )]
    output: Format,
    /// No colours. They are off anyway where stdout is no terminal, and with NO_COLOR set.
    #[arg(long, global = true)]
    no_color: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Apply(apply::Args),
    Delete(delete::Args),
    Diff(diff::Args),
    Lint(lint::Args),
    Export(export::Args),
    Import(import::Args),
    Get(get::Args),
    Describe(describe::Args),
    SetWeight(set_weight::Args),
    Cutover(cutover::Args),
    Undo(undo::Args),
    Drain(drain::Args),
    Maint(maint::Args),
    Quarantine(quarantine::Args),
    Ready(ready::Args),
    Flows(flows::Args),
    History(history::Args),
    Audit(audit::Args),
    Freeze(freeze::Args),
    Unfreeze(freeze::UnfreezeArgs),
    Explain(explain::Args),
    Which(which::Args),
    Status(status::Args),
    Doctor(doctor::Args),
    BackendSetup(Box<backend_setup::Args>),
    Detach(detach::Args),
    Version(version::Args),
    Completions(completions::Args),
}

/// What a verb works with.
struct Session<'a, 's> {
    client: Client,
    format: Format,
    paint: format::Paint,
    around: &'a mut Surroundings<'s>,
}

/// Why a verb did not end well.
enum Failure {
    /// The agent, or the way to it.
    Api(ApiError),
    /// Input that never reached the agent.
    Refused(String),
    /// stdout.
    Output(io::Error),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// The exit code of a verb, or why there is none.
type Outcome = Result<u8, Failure>;

/// Done, or healthy.
const DONE: u8 = 0;
/// Usage, or refused input.
const REFUSED: u8 = 1;
/// Ended by somebody else.
const ABORTED: u8 = 3;
/// The time ran out.
const TIMED_OUT: u8 = 4;
/// A person is needed.
const PERSON_NEEDED: u8 = 5;

/// The command line as clap knows it, without what comes later.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs one command line, the program's name first, and returns its exit code.
pub async fn run(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    mut around: Surroundings<'_>,
) -> u8 {
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(Unparsed::Later(message)) => {
            around.error(&message);
            return REFUSED;
        }
        Err(Unparsed::Clap(error)) => return say(&error, &mut around),
    };
    let outcome = match Client::new(cli.global.socket) {
        Ok(client) => {
            let session = Session {
                client,
                format: cli.global.output,
                paint: format::Paint::new(around.color && !cli.global.no_color),
                around: &mut around,
            };
            cli.verb.run(session).await
        }
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => explain(failure, &mut around),
    }
}

impl Verb {
    async fn run(self, session: Session<'_, '_>) -> Outcome {
        match self {
            Self::Apply(args) => apply::run(args, session).await,
            Self::Delete(args) => delete::run(args, session).await,
            Self::Diff(args) => diff::run(args, session).await,
            Self::Lint(args) => lint::run(&args, session),
            Self::Export(args) => export::run(args, session).await,
            Self::Import(args) => import::run(args, session).await,
            Self::Get(args) => get::run(args, session).await,
            Self::Describe(args) => describe::run(args, session).await,
            Self::SetWeight(args) => set_weight::run(args, session).await,
            Self::Cutover(args) => cutover::run(args, session).await,
            Self::Undo(args) => undo::run(args, session).await,
            Self::Drain(args) => drain::run(args, session).await,
            Self::Maint(args) => maint::run(args, session).await,
            Self::Quarantine(args) => quarantine::run(args, session).await,
            Self::Ready(args) => ready::run(args, session).await,
            Self::Flows(args) => flows::run(args, session).await,
            Self::History(args) => history::run(args, session).await,
            Self::Audit(args) => audit::run(args, session).await,
            Self::Freeze(args) => freeze::run(args, session).await,
            Self::Unfreeze(args) => freeze::unfreeze(args, session).await,
            Self::Explain(args) => explain::run(args, session).await,
            Self::Which(args) => which::run(args, session).await,
            Self::Status(args) => status::run(args, session).await,
            Self::Doctor(args) => doctor::run(args, session).await,
            Self::BackendSetup(args) => backend_setup::run(&args, session),
            Self::Detach(args) => detach::run(args, session).await,
            Self::Version(args) => version::run(args, session).await,
            Self::Completions(args) => completions::run(&args, session),
        }
    }
}

/// Why a command line is no verb.
enum Unparsed {
    /// clap says why, or prints help.
    Clap(clap::Error),
    /// It comes with a later version.
    Later(String),
}

fn parse(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Cli, Unparsed> {
    let matches = later::extend(Cli::command())
        .try_get_matches_from(arguments)
        .map_err(Unparsed::Clap)?;
    if let Some(message) = later::refusal(&matches) {
        return Err(Unparsed::Later(message));
    }
    Cli::from_arg_matches(&matches).map_err(Unparsed::Clap)
}

fn say(error: &clap::Error, around: &mut Surroundings<'_>) -> u8 {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match around.print(&text) {
            Ok(_) => DONE,
            Err(error) => explain(error.into(), around),
        },
        _ => {
            around.talk(text.trim_end());
            REFUSED
        }
    }
}

fn explain(failure: Failure, around: &mut Surroundings<'_>) -> u8 {
    match failure {
        Failure::Api(error) => {
            around.error(&error.message);
            for detail in &error.details {
                around.talk(detail);
            }
            error.code.exit_code()
        }
        Failure::Refused(message) => {
            around.error(&message);
            REFUSED
        }
        Failure::Output(error) => {
            around.error(&format!("cannot write to stdout: {error}"));
            REFUSED
        }
    }
}

#[cfg(test)]
mod tests;

use super::changing::{self, Changing};
use super::{DONE, Outcome, Session};
use crate::api::types::{Command, DrainTarget};

/// End a drain: the track or backend takes new flows again, as its weight says
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl ready web blue
  splitterctl ready web 198.18.2.11:80")]
pub struct Args {
    /// The service.
    service: String,
    /// A track's name, or a backend as ADDR:PORT or `[V6]:PORT`.
    #[arg(value_name = "TRACK|BACKEND")]
    what: DrainTarget,
    #[command(flatten)]
    changing: Changing,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    let command = Command::Ready {
        service: args.service,
        what: args.what,
    };
    changing::change(&mut session, args.changing, command).await?;
    Ok(DONE)
}

use std::time::Duration;

use super::changing::{self, Changing};
use super::{DONE, Outcome, Session, format};
use crate::api::types::{Command, DrainTarget};

/// Take a track or backend out of service until `ready`, and reset its pinned flows
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl quarantine web 198.18.2.11:80 --reason 'it corrupts orders'
  splitterctl quarantine web green --spread 30s

For what does harm: no new flows, and both ends of every pinned TCP flow are told by a RST, those of UDP by an unreachable
port. Without --spread and without drain.closeSpread in the resource all at once.")]
pub struct Args {
    /// The service.
    service: String,
    /// A track's name, or a backend as ADDR:PORT or `[V6]:PORT`.
    #[arg(value_name = "TRACK|BACKEND")]
    what: DrainTarget,
    /// The time over which flows are reset, evenly: 30s, 2m. Default: the service's drain.closeSpread.
    #[arg(long, value_name = "D", value_parser = format::duration)]
    spread: Option<Duration>,
    #[command(flatten)]
    changing: Changing,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    let command = Command::Quarantine {
        service: args.service,
        what: args.what,
        spread: args.spread,
    };
    changing::change(&mut session, args.changing, command).await?;
    Ok(DONE)
}

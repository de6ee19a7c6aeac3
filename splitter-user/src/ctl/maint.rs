use super::changing::{self, Changing};
use super::{DONE, Outcome, Session};
use crate::api::types::{Command, DrainTarget};

/// Take a track or backend out of service until `ready`: no new flows, and no deadline for pinned ones
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl maint web 198.18.2.11:80 --reason 'new disk'
  splitterctl maint web blue

It is a drain without a deadline: pinned flows go on until they end by themselves, and `ready` ends it. A restart of the
agent or of the host does not.")]
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
    let command = Command::Maint {
        service: args.service,
        what: args.what,
    };
    changing::change(&mut session, args.changing, command).await?;
    Ok(DONE)
}

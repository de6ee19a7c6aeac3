use clap::ValueEnum;

use super::changing::{self, Changing};
use super::{DONE, Outcome, Session};
use crate::api::types::Command;

/// Delete a resource; pinned flows live on until they end or drain.timeout is over, unless --now
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl delete service web
  splitterctl delete service web --now        reset its pinned flows too, over drain.closeSpread")]
pub struct Args {
    /// What kind of resource.
    #[arg(value_name = "KIND")]
    kind: Kind,
    /// Its name.
    name: String,
    /// Reset its pinned flows too, over drain.closeSpread.
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    changing: Changing,
}

/// Kinds of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    // No docs here: clap would spread the help over twice the lines.
    Service,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    let command = match args.kind {
        Kind::Service => Command::Delete {
            service: args.name,
            now: args.now,
        },
    };
    changing::change(&mut session, args.changing, command).await?;
    Ok(DONE)
}

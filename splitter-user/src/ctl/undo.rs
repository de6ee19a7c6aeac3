use super::changing::{self, Changing};
use super::{DONE, Outcome, Session};
use crate::api::types::{Command, Target};

/// Go back to the split before the last change, in one flip
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl undo web
  splitterctl undo release/shop --dry-run
  splitterctl undo web --to-generation 17           `splitterctl history web` lists them

The same clients get the same tracks as before, with today's backends. It is a new generation; a second undo toggles back.
Drains of tracks are part of a split: one that was begun since then ends, one that held then holds again.")]
pub struct Args {
    /// A service, or release/NAME for all services of a release.
    #[arg(value_name = "SERVICE")]
    target: Target,
    /// Back to the split of this generation, one of the last 8 that were in force.
    #[arg(long, value_name = "N")]
    to_generation: Option<u64>,
    #[command(flatten)]
    changing: Changing,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    changing::change(
        &mut session,
        args.changing,
        Command::Undo {
            target: args.target,
            to_generation: args.to_generation,
        },
    )
    .await?;
    Ok(DONE)
}

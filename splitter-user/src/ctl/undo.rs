use super::changing::{self, Changing};
use super::{DONE, Outcome, Session, format};
use crate::api::types::{Command, Existing, Target};

/// Go back to the split before the last change, in one flip
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl undo web
  splitterctl undo release/shop --dry-run
  splitterctl undo web --to-generation 17           `splitterctl history web` lists them
  splitterctl undo web --existing reset --reason 'it corrupts orders'

The same clients get the same tracks as before, with today's backends. It is a new generation; a second undo toggles back.
Tracks that are out are part of a split: what took one out since then ends if the split gives it new flows, and the answer says so;
a drain that held then begins anew with the time that it had.
A release: each service goes back to the split before its own last change, which the answer names; those without any are left out.
--existing reset: flows that are pinned to tracks left without new flows are reset, evenly over the service's
drain.closeSpread (none: at once); both ends are told.")]
pub struct Args {
    /// A service, or release/NAME for all services of a release.
    #[arg(value_name = "SERVICE")]
    target: Target,
    /// Back to the split of this generation, one of the last 8 that were in force.
    #[arg(long, value_name = "N")]
    to_generation: Option<u64>,
    /// What becomes of flows that are pinned to tracks that it leaves: keep or reset (over drain.closeSpread).
    #[arg(long, value_name = "keep|reset", value_parser = format::existing, default_value = "keep")]
    existing: Existing,
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
            existing: args.existing,
        },
    )
    .await?;
    Ok(DONE)
}

use super::changing::{self, Changing};
use super::{DONE, Outcome, Session, format};
use crate::api::types::{Command, Existing, Target};

/// Move all new flows to one track, in one flip
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl cutover web --to green --reason 'release 1.9.0'
  splitterctl cutover web --to green --expect-generation 42
  splitterctl cutover release/shop --to green --dry-run

Pinned flows stay where they are until they end. `undo` goes back.
--existing reset: flows that are pinned to tracks left without new flows are reset, evenly over the service's
drain.closeSpread (none: at once); both ends are told.")]
pub struct Args {
    /// A service, or release/NAME for all services of a release.
    #[arg(value_name = "SERVICE")]
    target: Target,
    /// The track that takes all new flows.
    #[arg(long, value_name = "TRACK")]
    to: String,
    /// What becomes of flows that are pinned to tracks that it leaves: keep or reset (over drain.closeSpread).
    #[arg(long, value_name = "keep|reset", value_parser = format::existing, default_value = "keep")]
    existing: Existing,
    #[command(flatten)]
    changing: Changing,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    let command = Command::Cutover {
        target: args.target,
        to: args.to,
        existing: args.existing,
    };
    changing::change(&mut session, args.changing, command).await?;
    Ok(DONE)
}

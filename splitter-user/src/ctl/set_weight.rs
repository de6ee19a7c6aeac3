use super::changing::{self, Changing};
use super::{DONE, Outcome, Session};
use crate::api::types::{Command, Target};

/// Shift weights: the share of new flows that tracks get
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl set-weight web green=5%
  splitterctl set-weight web blue=50% green=45% canary=5%
  splitterctl set-weight release/shop green=25% --dry-run

Tracks left out share the rest in their present proportion. If all of those are at 0: one takes it all, several are refused.
Pinned flows stay where they are.")]
pub struct Args {
    /// A service, or release/NAME for all services of a release.
    #[arg(value_name = "SERVICE")]
    target: Target,
    /// Track and percentage, at most 3 decimal places.
    #[arg(value_name = "TRACK=P%", required = true, value_parser = weight)]
    weights: Vec<(String, String)>,
    #[command(flatten)]
    changing: Changing,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    let command = Command::SetWeight {
        target: args.target,
        weights: args.weights,
    };
    changing::change(&mut session, args.changing, command).await?;
    Ok(DONE)
}

fn weight(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((track, weight)) if !track.is_empty() && weight.ends_with('%') => {
            Ok((track.to_owned(), weight.to_owned()))
        }
        _ => Err("write a track and a percentage, like green=25%".to_owned()),
    }
}

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::changing::{self, Changing};
use super::format::{self, percent_of_slots};
use super::{ABORTED, DONE, Failure, Outcome, Session};
use crate::api::types::{ChangeReply, Command, ErrorCode, RampView, ServiceView, Target};

/// How often a ramp is looked at; progress is said as often.
const LOOK: Duration = Duration::from_secs(1);
/// How long an agent may be away (a restart, an upgrade) before waiting for it is given up.
const AWAY: Duration = Duration::from_secs(15);

/// Shift weights: the share of new flows that tracks get
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl set-weight web green=5%
  splitterctl set-weight web blue=50% green=45% canary=5%
  splitterctl set-weight web green=50% --ramp 10m
  splitterctl set-weight release/shop green=25% --dry-run

Tracks left out share the rest in their present proportion. If all of those are at 0: one takes it all, several are refused.
Pinned flows stay where they are.

--ramp: slots move a few at a time, about a step a second; the verb returns at the end (exit code 0), or when another
change of the weights ends the ramp (3). It is one change: one generation, and `undo` goes to the split before it. The
ramp is the agent's: it goes on when this command is interrupted, and an agent that was restarted goes on where it stood.")]
pub struct Args {
    /// A service, or release/NAME for all services of a release.
    #[arg(value_name = "SERVICE")]
    target: Target,
    /// Track and percentage, at most 3 decimal places.
    #[arg(value_name = "TRACK=P%", required = true, value_parser = weight)]
    weights: Vec<(String, String)>,
    /// From the present weights to these over this time: 1s to 24h.
    #[arg(long, value_name = "D", value_parser = format::duration)]
    ramp: Option<Duration>,
    #[command(flatten)]
    changing: Changing,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    let ramps = args.ramp.is_some() && !args.changing.is_dry_run();
    let command = Command::SetWeight {
        target: args.target,
        weights: args.weights,
        ramp: args.ramp,
    };
    let reply = changing::ask(&mut session, args.changing, command).await?;
    let mut code = DONE;
    if ramps {
        code = until_there(&mut session, &reply).await?;
    }
    session.show(&reply)?;
    Ok(code)
}

/// Waits until every service of a change has the weights, or somebody wants others.
async fn until_there(session: &mut Session<'_, '_>, reply: &ChangeReply) -> Result<u8, Failure> {
    let mut code = DONE;
    for change in reply.items() {
        let (mut answered, mut said) = (Instant::now(), String::new());
        let mut wanted = None;
        loop {
            match session.client.service(&change.service).await {
                Ok(document) => {
                    answered = Instant::now();
                    let service = document.service;
                    let now = weights(&service);
                    let came_between = wanted.is_none()
                        && service.generation != change.generation
                        && service.ramp.is_none();
                    // Drains and backends may come and go meanwhile: it is about the weights.
                    if came_between || *wanted.get_or_insert_with(|| now.clone()) != now {
                        session.around.warn(&format!(
                            "{}: another change (generation {}) came before the ramp's end",
                            change.service, service.generation
                        ));
                        code = ABORTED;
                        break;
                    }
                    let Some(ramp) = &service.ramp else {
                        break;
                    };
                    let progress = format!("{}: {}", change.service, self::progress(ramp));
                    if progress != said {
                        session.around.talk(&progress);
                        said = progress;
                    }
                }
                Err(error) if error.code == ErrorCode::NotFound => {
                    session.around.warn(&format!(
                        "{}: somebody deleted it before the ramp's end",
                        change.service
                    ));
                    code = ABORTED;
                    break;
                }
                Err(error) if error.code.may_pass() && answered.elapsed() < AWAY => {}
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(code)
}

/// Desired weights by track.
fn weights(service: &ServiceView) -> BTreeMap<String, String> {
    let tracks = service.tracks.iter();
    tracks
        .map(|track| (track.name.clone(), track.weight.clone()))
        .collect()
}

/// `1638 of 13107 slots moved (2.5% of 20%), 26s left`
pub fn progress(ramp: &RampView) -> String {
    format!(
        "{} of {} slots moved ({} of {}), {} left",
        ramp.moved,
        ramp.slots,
        percent_of_slots(ramp.moved),
        percent_of_slots(ramp.slots),
        format::seconds(ramp.remaining_seconds)
    )
}

fn weight(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((track, weight)) if !track.is_empty() && weight.ends_with('%') => {
            Ok((track.to_owned(), weight.to_owned()))
        }
        _ => Err("write a track and a percentage, like green=25%".to_owned()),
    }
}

use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::time::Instant;

use super::changing::{self, Changing};
use super::format::{self, Detail, Paint, View};
use super::{ABORTED, DONE, Failure, Outcome, Session, TIMED_OUT};
use crate::api::types::{ChangeReply, Command, DrainState, DrainTarget, DrainView, ErrorCode};
use crate::model::OnTimeout;

/// How long one question waits for the end of the drain; progress is said as often.
const LONG_POLL: Duration = Duration::from_secs(1);
/// How long an agent may be away (a restart, an upgrade) before waiting for it is given up.
const AWAY: Duration = Duration::from_secs(15);

/// Give a track or backend no new flows; pinned flows go on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl drain web blue
  splitterctl drain web blue --timeout 10m --wait
  splitterctl drain web blue --timeout 10m --on-timeout reset --spread 2m --wait
  splitterctl drain web '[2001:db8:2::11]:80' --reason 'new disk'

A drained track keeps its desired weight; `ready` gives it back. The other tracks share its new flows in proportion.
Given again while it drains, it changes nothing but what --timeout, --on-timeout and --spread ask for: --wait alone waits.
--wait: exit code 0 once it is proven that no flow is left, 4 at the deadline with flows left that go on (keep), 3 when
somebody ended the drain or removed what is drained.
--on-timeout reset: both ends of each flow that is left are told by a RST. resteer: its pin is freed, and its next packet is
split anew; a TCP connection gets a RST from the backend that it comes to, UDP goes on there.")]
pub struct Args {
    /// The service.
    service: String,
    /// A track's name, or a backend as ADDR:PORT or `[V6]:PORT`.
    #[arg(value_name = "TRACK|BACKEND")]
    what: DrainTarget,
    /// The drain's deadline: 30s, 5m, 1h. Default: the service's own.
    #[arg(long, value_name = "D", value_parser = format::duration)]
    timeout: Option<Duration>,
    /// What becomes of flows that outlive the deadline. Default: the service's own.
    #[arg(long, value_name = "keep|reset|resteer", value_parser = format::on_timeout)]
    on_timeout: Option<OnTimeout>,
    /// The time over which they are reset or re-steered, evenly: 30s, 2m. Default: the service's own.
    #[arg(long, value_name = "D", value_parser = format::duration)]
    spread: Option<Duration>,
    /// Return when no flow is left, or at the deadline.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    changing: Changing,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    let Args {
        service,
        what,
        timeout,
        on_timeout,
        spread,
        wait,
        changing,
    } = args;
    let wait = wait && !changing.is_dry_run();
    let command = Command::Drain {
        service: service.clone(),
        what: what.clone(),
        timeout,
        on_timeout,
        spread,
    };
    let change = changing::ask(&mut session, changing, command).await?;
    if !wait {
        session.show(&change)?;
        return Ok(DONE);
    }
    if session.for_people() {
        session.show(&change)?;
    }
    let Some(drain) = until_over(&mut session, &service, &what).await? else {
        session.around.warn(&format!(
            "{service} has no {what} any more: somebody removed it. Its flows go on as those of what is deleted; \
             `splitterctl flows --service {service}` lists them"
        ));
        return Ok(ABORTED);
    };
    let code = match drain.state {
        DrainState::Drained => DONE,
        DrainState::TimedOut => TIMED_OUT,
        DrainState::Ready | DrainState::Draining | DrainState::Closing | DrainState::Maint => {
            ABORTED
        }
    };
    session.show(&Waited { change, drain })?;
    Ok(code)
}

/// A change with the end of its drain.
#[derive(Serialize)]
struct Waited {
    #[serde(flatten)]
    change: ChangeReply,
    drain: DrainView,
}

impl View for Waited {
    fn text(&self, _: Detail, _: Paint) -> String {
        describe(&self.drain) + "\n"
    }
}

/// The end of a drain; `None` if what was drained has been removed.
async fn until_over(
    session: &mut Session<'_, '_>,
    service: &str,
    what: &DrainTarget,
) -> Result<Option<DrainView>, Failure> {
    let mut answered = Instant::now();
    let mut said = String::new();
    loop {
        match session.client.drain_state(service, what, LONG_POLL).await {
            Ok(view) if view.state.is_final() => return Ok(Some(view)),
            Ok(view) => {
                answered = Instant::now();
                let progress = describe(&view);
                if progress != said {
                    session.around.talk(&progress);
                    said = progress;
                }
            }
            Err(error) if error.code.may_pass() && answered.elapsed() < AWAY => {
                tokio::time::sleep(LONG_POLL).await;
            }
            Err(error) if error.code == ErrorCode::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

fn describe(view: &DrainView) -> String {
    let DrainView {
        state,
        mode,
        pins,
        resetting,
        oldest_age_seconds,
        idlest_seconds,
        ended_per_minute,
        estimated_seconds_left,
        on_timeout,
        never_pinned,
        deadline,
        proven,
    } = view;
    let stage = match state {
        DrainState::Ready => "no longer draining: somebody made it ready",
        DrainState::Draining => "draining",
        DrainState::Drained => "drained",
        DrainState::TimedOut => "the deadline is over and flows are left; they go on",
        DrainState::Closing if *on_timeout == OnTimeout::Resteer => "re-steering what is left",
        DrainState::Closing => "resetting what is left",
        DrainState::Maint => "no longer draining: somebody put it into maint",
    };
    let mut text = format!("{stage}: {pins} flows left");
    if *proven {
        text += " (proven)";
    }
    if *resetting > 0 {
        text += &format!(" ({resetting} of them reset)");
    }
    if let Some(age) = oldest_age_seconds {
        text += &format!(", all older than {}", format::seconds(*age));
    }
    if let Some(idle) = idlest_seconds {
        text += &format!(", silent for at most {}", format::seconds(*idle));
    }
    if let Some(pace) = ended_per_minute {
        text += &format!(", {pace} end a minute");
    }
    if let Some(left) = estimated_seconds_left {
        text += &format!(", none left in about {}", format::seconds(*left));
    }
    text += &format!(", {never_pinned} packets never pinned");
    if *state == DrainState::Draining
        && let Some(left) =
            deadline.and_then(|deadline| deadline.duration_since(SystemTime::now()).ok())
    {
        text += &format!(
            ", deadline in {} ({})",
            format::seconds(left.as_secs()),
            on_timeout.name()
        );
    }
    text += &format!("; mode {mode}");
    text
}

use serde::Serialize;

use super::format::{Detail, Paint, View};
use super::{DONE, Outcome, Session};

/// Remove the data plane from the interfaces and end the agent
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Traffic to the VIPs is no longer forwarded afterwards. To stop only the agent, and leave the data plane running: stop its
systemd unit, or send SIGTERM. Without an agent: splitterd --config FILE --detach.")]
pub struct Args {}

#[derive(Serialize)]
#[serde(tag = "kind")]
struct Detached {}

impl View for Detached {
    fn text(&self, _: Detail, _: Paint) -> String {
        "detached: the data plane is removed, and the agent ends\n".to_owned()
    }
}

pub async fn run(_: Args, mut session: Session<'_, '_>) -> Outcome {
    session.client.detach().await?;
    session.show(&Detached {})?;
    Ok(DONE)
}

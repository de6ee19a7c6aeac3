use std::net::IpAddr;

use super::format::{Detail, Paint, View, percent};
use super::{DONE, Outcome, Session};
use crate::api::types::Which;

/// Say which track the new flows of a client meet
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  splitterctl which 198.18.9.7 web

It needs a service with affinity key clientIP; else every flow is dealt for itself, and `explain` says of one where it
goes. Flows that are pinned stay where they are. Where two tracks share the new flows, it names the weight at which the
client moves.")]
pub struct Args {
    /// The client's address.
    client: IpAddr,
    /// The service.
    service: String,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    let which = session.client.which(args.client, &args.service).await?;
    session.show(&which)?;
    Ok(DONE)
}

impl View for Which {
    /// `198.18.9.7 meets track blue of web (slot 511, by weights); it moves to green when green has 12.5% or more`
    fn text(&self, _: Detail, _: Paint) -> String {
        let mut text = format!("{} meets track {}", self.client, self.track);
        if let Some(backend) = self.backend {
            text += &format!(", backend {backend},");
        }
        text += &format!(" of {} (slot {}, by {}", self.service, self.slot, self.by);
        if let Some(reason) = &self.reason {
            text += &format!(": {reason}");
        }
        text.push(')');
        if let Some(moves) = &self.moves {
            let (to, at) = (&moves.to, percent(&moves.at));
            text += &format!("; it moves to {to} when {to} has {at} or more");
        }
        text.push('\n');
        text
    }
}

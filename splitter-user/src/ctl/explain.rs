use std::net::SocketAddr;

use super::format::{self, Detail, Paint, View, or_dash};
use super::{DONE, Outcome, Session};
use crate::api::types::{ExplainQuery, Explanation};

/// Say where a packet would go at this moment, and why, or why it would not be forwarded
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl explain 198.18.9.7:40000 198.18.1.100:80
  splitterctl explain '[2001:db8:9::7]:40000' '[2001:db8:1::100]:53' --protocol udp

The packet is the first one of a flow (TCP: a SYN). It is answered from the tables as they are in the data plane, by
the code that deals with packets there; nothing is sent, and nothing is changed.")]
pub struct Args {
    /// The client: address and port.
    #[arg(value_name = "SRC:PORT")]
    client: SocketAddr,
    /// What it dials: address and port.
    #[arg(value_name = "VIP:PORT")]
    to: SocketAddr,
    /// The protocol.
    #[arg(long, value_name = "PROTOCOL", default_value = "tcp", value_parser = ["tcp", "udp"])]
    protocol: String,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    let Args {
        client,
        to,
        protocol,
    } = args;
    let query = ExplainQuery {
        client,
        to,
        protocol,
    };
    let explanation = session.client.explain(&query).await?;
    session.show(&explanation)?;
    Ok(DONE)
}

impl View for Explanation {
    /// ```text
    /// 198.18.9.7:40000 -> 198.18.1.100:80/tcp: forward (new_flow) to 198.18.2.21:80
    ///   service web, track green, by route, slot 511
    ///   route 1 (staff) leads 198.18.9.7 to track green, before the weights
    /// ```
    fn text(&self, _: Detail, paint: Paint) -> String {
        let verdict = if self.verdict == "forward" {
            paint.good(&self.verdict)
        } else {
            paint.notable(&self.verdict)
        };
        let mut text = format!(
            "{} -> {}: {verdict} ({})",
            self.client,
            format::listener(&self.to),
            self.reason
        );
        if let Some(backend) = self.backend {
            text += &format!(" to {backend}");
        }
        text.push('\n');
        if let Some(service) = &self.service {
            text += &format!(
                "  service {service}, track {}, by {}, slot {}\n",
                or_dash(self.track.as_deref()),
                or_dash(self.by.as_deref()),
                self.slot
                    .map_or_else(|| "-".to_owned(), |slot| slot.to_string())
            );
        }
        for why in &self.why {
            text += &format!("  {why}\n");
        }
        text
    }
}

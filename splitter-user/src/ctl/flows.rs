use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::format::{self, Detail, Paint, View};
use super::{DONE, Outcome, Session};
use crate::api::types::{DEFAULT_FLOW_LIMIT, FlowFilter, FlowList, FlowState, MAX_FLOW_LIMIT};

/// List pinned flows
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl flows --service web --track blue
  splitterctl flows --backend 198.18.2.11:80 --limit 10
  splitterctl flows --source 198.18.9.0/24 -o jsonl")]
pub struct Args {
    /// Of this service.
    #[arg(long)]
    service: Option<String>,
    /// On this track.
    #[arg(long)]
    track: Option<String>,
    /// To this backend: ADDR:PORT or `[V6]:PORT`.
    #[arg(long)]
    backend: Option<SocketAddr>,
    /// From clients of this network, or this one client.
    #[arg(long, value_name = "CIDR", value_parser = network)]
    source: Option<IpNet>,
    /// List at most so many.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_FLOW_LIMIT, value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_FLOW_LIMIT)))]
    limit: u32,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    let Args {
        service,
        track,
        backend,
        source,
        limit,
    } = args;
    let flows = session
        .client
        .flows(&FlowFilter {
            service,
            track,
            backend,
            source,
            limit,
        })
        .await?;
    session.show(&flows)?;
    let listed = flows.items.len();
    if u64::try_from(listed).is_ok_and(|listed| listed < flows.total) {
        session.around.talk(&format!(
            "{listed} of {} flows are listed; --limit N lists more",
            flows.total
        ));
    }
    Ok(DONE)
}

fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| {
            "write an address or a network, like 198.18.9.0/24 or 2001:db8::/64".to_owned()
        })
}

impl View for FlowList {
    fn text(&self, _: Detail, paint: Paint) -> String {
        let mut table = paint.table(&[
            "SERVICE",
            "LISTENER",
            "CLIENT",
            "TRACK",
            "BACKEND",
            "MODE",
            "TRANSLATED",
            "STATE",
            "IDLE",
        ]);
        let or_dash = |address: Option<SocketAddr>| {
            address.map_or_else(|| "-".to_owned(), |address| address.to_string())
        };
        for flow in &self.items {
            let state = match flow.state {
                FlowState::Unconfirmed => "unconfirmed",
                FlowState::Established => "established",
                FlowState::Closing => "closing",
                FlowState::Reset => "reset",
            };
            table.add_row(vec![
                flow.service.clone(),
                format::listener(&flow.listener),
                or_dash(flow.client),
                flow.track.clone(),
                flow.backend.to_string(),
                flow.mode.clone(),
                or_dash(flow.translated),
                state.to_owned(),
                format::seconds(flow.idle_seconds),
            ]);
        }
        format::finish(&table)
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        format::lines_of(&self.items)
    }
}

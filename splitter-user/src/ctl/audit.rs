use std::time::Duration;

use comfy_table::Cell;

use super::format::{self, Detail, Paint, View, lines_of, or_dash, printable};
use super::history::moves;
use super::{DONE, Outcome, Session};
use crate::api::types::{
    AuditFilter, AuditItem, AuditList, AuditOutcome, DEFAULT_RECORDS, MAX_RECORDS, Weights,
};

/// List who asked for which change, when and why, and what came of it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl audit --since 24h
  splitterctl audit -o wide        with the whole request, flags and all
  splitterctl audit --since 30days -o jsonl | grep '\"outcome\":\"refused\"'

Newest first. Every request that would have changed something is listed, refused ones too; dry runs are not. The agent keeps the
last 10,000, among them at most 1,000 that were refused.")]
pub struct Args {
    /// Not older than this: 30m, 24h, 7days.
    #[arg(long, value_name = "D", value_parser = format::duration)]
    since: Option<Duration>,
    /// At most so many [default: 100, or all with --since].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RECORDS)))]
    limit: Option<u32>,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    let all = match args.since {
        Some(_) => MAX_RECORDS,
        None => DEFAULT_RECORDS,
    };
    let filter = AuditFilter {
        since_seconds: args.since.map(|since| since.as_secs()),
        limit: args.limit.unwrap_or(all),
    };
    let list = session.client.audit(&filter).await?;
    session.show(&list)?;
    Ok(DONE)
}

impl View for AuditList {
    fn text(&self, detail: Detail, paint: Paint) -> String {
        let mut header = vec![
            "WHEN", "WHO", "VERB", "TARGET", "OUTCOME", "WEIGHTS", "REASON",
        ];
        if detail == Detail::Wide {
            header.push("COMMAND");
        }
        let mut table = paint.table(&header);
        for item in &self.items {
            let mut row = row(item, paint);
            if detail == Detail::Wide {
                row.push(text(item.command.as_deref()));
            }
            table.add_row(row);
        }
        format::finish(&table)
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        lines_of(&self.items)
    }
}

/// A cell for what somebody wrote.
pub fn text(written: Option<&str>) -> Cell {
    Cell::new(or_dash(written.map(printable).as_deref()))
}

fn row(item: &AuditItem, paint: Paint) -> Vec<Cell> {
    let outcome = match item.outcome {
        AuditOutcome::Done => "done".to_owned(),
        AuditOutcome::Refused => {
            let why = or_dash(item.message.as_deref().map(printable).as_deref()).to_owned();
            paint.bad(&format!("refused: {why}"))
        }
    };
    vec![
        Cell::new(humantime::format_rfc3339_seconds(item.at)),
        Cell::new(&item.by),
        Cell::new(&item.verb),
        text(Some(item.target.as_str()).filter(|target| !target.is_empty())),
        Cell::new(outcome),
        Cell::new(weights(item)),
        text(item.reason.as_deref()),
    ]
}

/// A line for each service, named if there are several.
fn weights(item: &AuditItem) -> String {
    let mut services: Vec<&String> = item.from.keys().chain(item.to.keys()).collect();
    services.sort_unstable();
    services.dedup();
    let none = Weights::new();
    let lines = services.iter().map(|service| {
        let of = |side: &std::collections::BTreeMap<String, Weights>| {
            side.get(*service).unwrap_or(&none).clone()
        };
        let moves = moves(&of(&item.from), &of(&item.to));
        if services.len() == 1 {
            return moves;
        }
        format!("{service}: {moves}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

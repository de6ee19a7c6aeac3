use comfy_table::Cell;

use super::audit::text;
use super::format::{self, Detail, Paint, View, lines_of, percent};
use super::{DONE, Outcome, Session};
use crate::api::types::{
    DEFAULT_RECORDS, HistoryFilter, HistoryItem, HistoryList, MAX_RECORDS, SplitFate, Weights,
};

/// List the generations of a service: who changed what and why, and which splits undo can go back to
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl history web
  splitterctl history --limit 1000 -o jsonl

Newest first. SPLIT says what has become of the split that a generation left in force: current, anchor (`undo SERVICE
--to-generation N` goes back to it), or gone. The last 8 splits of each service are anchors; the last 100 generations are listed.")]
pub struct Args {
    /// Only this service's.
    service: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_RECORDS, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RECORDS)))]
    limit: u32,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    let filter = HistoryFilter {
        service: args.service,
        limit: args.limit,
    };
    let list = session.client.history(&filter).await?;
    session.show(&list)?;
    Ok(DONE)
}

impl View for HistoryList {
    fn text(&self, detail: Detail, paint: Paint) -> String {
        let mut header = vec![
            "SERVICE",
            "GENERATION",
            "WHEN",
            "WHO",
            "VERB",
            "WEIGHTS",
            "SPLIT",
            "REASON",
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

fn row(item: &HistoryItem, paint: Paint) -> Vec<Cell> {
    let split = match item.split {
        SplitFate::Current => paint.good(item.split.as_str()),
        SplitFate::Anchor | SplitFate::Gone => item.split.as_str().to_owned(),
    };
    vec![
        Cell::new(&item.service),
        Cell::new(item.generation),
        Cell::new(humantime::format_rfc3339_seconds(item.at)),
        Cell::new(&item.by),
        Cell::new(&item.verb),
        Cell::new(moves(&item.from, &item.to)),
        Cell::new(split),
        text(item.reason.as_deref()),
    ]
}

/// `blue 95% -> 75%, green 5% -> 25%`; `blue 95%` where nothing moved.
pub fn moves(from: &Weights, to: &Weights) -> String {
    let mut tracks: Vec<&String> = from.keys().chain(to.keys()).collect();
    tracks.sort_unstable();
    tracks.dedup();
    let moves = tracks.into_iter().map(|track| {
        let show = |weights: &Weights| {
            weights
                .get(track)
                .map_or_else(|| "none".to_owned(), |weight| percent(weight))
        };
        if from.get(track) == to.get(track) {
            return format!("{track} {}", show(to));
        }
        format!("{track} {} -> {}", show(from), show(to))
    });
    moves.collect::<Vec<_>>().join(", ")
}

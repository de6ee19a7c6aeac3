//! What all changing verbs share: their flags, the request, and how a change is printed.

use std::collections::BTreeSet;

use super::format::{self, Detail, Paint, View};
use super::{Failure, Session};
use crate::api::types::{Change, ChangeReply, ChangeRequest, Command};

/// Flags of every changing verb.
#[derive(Debug, clap::Args)]
pub struct Changing {
    /// Say what would happen, change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Refuse (exit 6) unless the service is at this generation.
    #[arg(long, value_name = "N")]
    expect_generation: Option<u64>,
}

impl Changing {
    /// Whether nothing is to be changed.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    fn request(self, command: Command) -> ChangeRequest {
        let Self {
            dry_run,
            reason,
            expect_generation,
        } = self;
        ChangeRequest {
            command,
            dry_run,
            reason,
            expect_generation,
        }
    }
}

/// Asks for a change and prints it.
pub async fn change(
    session: &mut Session<'_, '_>,
    changing: Changing,
    command: Command,
) -> Result<(), Failure> {
    let reply = ask(session, changing, command).await?;
    session.show(&reply)?;
    Ok(())
}

/// Asks for a change and says its warnings.
pub async fn ask(
    session: &mut Session<'_, '_>,
    changing: Changing,
    command: Command,
) -> Result<ChangeReply, Failure> {
    let reply = session.client.change(&changing.request(command)).await?;
    for change in reply.items() {
        for warning in &change.warnings {
            session
                .around
                .warn(&format!("{}: {warning}", change.service));
        }
    }
    Ok(reply)
}

impl View for ChangeReply {
    fn text(&self, _: Detail, _: Paint) -> String {
        if self.items().is_empty() {
            return "nothing to change\n".to_owned();
        }
        self.items().iter().map(describe).collect()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        format::lines_of(self.items())
    }
}

/// ```text
/// web: generation 42, 13107 slots moved, flipped in 812 ns
///   blue   95% -> 75%
///   green   5% -> 25%
/// ```
fn describe(change: &Change) -> String {
    let Change {
        service,
        generation,
        before,
        after,
        flip_nanoseconds,
        dry_run,
        moved,
        warnings: _,
    } = change;
    let mut text = format!("{service}: generation {generation}");
    if *moved > 0 {
        text += &format!(
            ", {moved} slots {}",
            if *dry_run { "would move" } else { "moved" }
        );
    }
    if let Some(nanoseconds) = flip_nanoseconds {
        text += &format!(", flipped in {nanoseconds} ns");
    }
    if before == after && *moved == 0 && flip_nanoseconds.is_none() {
        text += ", the weights stay as they are";
    }
    if *dry_run {
        text += " (dry run: nothing was changed)";
    }
    text.push('\n');

    let weight = |weights: &std::collections::BTreeMap<String, String>, track: &str| {
        weights
            .get(track)
            .map_or_else(|| "none".to_owned(), |weight| format::percent(weight))
    };
    let tracks: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let name_width = tracks
        .iter()
        .map(|track| track.chars().count())
        .max()
        .unwrap_or(0);
    let before_width = tracks
        .iter()
        .map(|track| weight(before, track).len())
        .max()
        .unwrap_or(0);
    for track in tracks {
        let (from, to) = (weight(before, track), weight(after, track));
        text += &format!("  {track:name_width$}  {from:>before_width$} -> {to}\n");
    }
    text
}

use super::format::{self, Detail, Paint, View};
use super::{DONE, Failure, Outcome, Session, apply};
use crate::api::types::{DiffAction, DiffRequest, DiffView, FieldDiff, ServiceDiff};

/// Compare a file with what is in force and with what was applied last
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl diff -f web.yaml
  splitterctl diff -f web.yaml -o json | jq .changed

Three ways: the file, what is desired now, and what was applied last. What applying the file would change is marked ~, + or -;
what was changed by other means since the last apply (set-weight, cutover, undo) is listed as a runtime change, drains too. It
changes nothing, and exits with 0 whether there is a difference or not; `changed` in JSON tells.")]
pub struct Args {
    /// YAML, one document or more; `-` reads stdin.
    #[arg(short, long, value_name = "FILE")]
    file: String,
    /// As `apply --prune` would do it.
    #[arg(long)]
    prune: bool,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    show(&args.file, args.prune, &mut session).await?;
    Ok(DONE)
}

/// What `diff` and `apply --diff` print.
pub async fn show(file: &str, prune: bool, session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let request = DiffRequest {
        yaml: apply::read(file, session)?,
        origin: apply::origin(file),
        prune,
    };
    let view = session.client.diff(&request).await?;
    session.show(&view)?;
    Ok(())
}

impl View for DiffView {
    fn text(&self, _: Detail, paint: Paint) -> String {
        let mut text: String = self
            .services
            .iter()
            .map(|one| describe(one, paint))
            .collect();
        if !self.changed {
            text += "applying it would change nothing\n";
        }
        text
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        format::lines_of(&self.services)
    }
}

/// ```text
/// web (generation 42): would be changed
///   ~ spec.tracks.blue.weight: 75% -> 95%
///   runtime: spec.tracks.green.weight: 5% -> 25% since it was applied from /etc/web.yaml
///   runtime: track blue takes no new flows
/// ```
fn describe(diff: &ServiceDiff, paint: Paint) -> String {
    let what = match diff.action {
        DiffAction::Create => paint.good("would be made"),
        DiffAction::Update => paint.notable("would be changed"),
        DiffAction::Prune => paint.bad("would be removed: the file no longer has it"),
        DiffAction::Keep => "stays as it is".to_owned(),
    };
    let mut text = format!(
        "{} (generation {}): {what}\n",
        diff.service, diff.generation
    );
    if diff.action != DiffAction::Prune {
        for field in diff.fields.iter().filter(|field| field.changes) {
            text += &change(field, paint);
        }
    }
    let origin = diff.origin.as_deref().unwrap_or("-");
    for field in diff.fields.iter().filter(|field| field.runtime) {
        let was = field.applied.as_deref().unwrap_or("none");
        let is = field.desired.as_deref().unwrap_or("none");
        text += &format!(
            "  runtime: {}: {was} -> {is} since it was applied from {origin}\n",
            field.path
        );
    }
    for drained in &diff.drained {
        text += &format!("  runtime: {drained} takes no new flows\n");
    }
    text
}

fn change(field: &FieldDiff, paint: Paint) -> String {
    let path = &field.path;
    let line = match (&field.desired, &field.file) {
        (Some(from), Some(to)) => paint.notable(&format!("  ~ {path}: {from} -> {to}")),
        (None, Some(to)) => paint.good(&format!("  + {path}: {to}")),
        (Some(from), None) => paint.bad(&format!("  - {path}: {from}")),
        (None, None) => return String::new(),
    };
    line + "\n"
}

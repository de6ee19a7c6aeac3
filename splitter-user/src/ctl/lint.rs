use serde::Serialize;

use super::format::{Detail, Paint, View};
use super::{DONE, Outcome, REFUSED, Session, apply};
use crate::diagnostic::Diagnostic;
use crate::resource;

/// Check a file without an agent: everything that is wrong, and what is hardly meant
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl lint -f web.yaml
  splitterctl export | splitterctl lint -f -

It needs no agent, so it knows nothing of what is in force: `apply --dry-run` does. Exit code 1 if an apply would be refused;
warnings alone are 0.")]
pub struct Args {
    /// YAML, one document or more; `-` reads stdin.
    #[arg(short, long, value_name = "FILE")]
    file: String,
}

pub fn run(args: &Args, mut session: Session<'_, '_>) -> Outcome {
    let text = apply::read(&args.file, &mut session)?;
    let resource::Lint { errors, warnings } = resource::lint(&text, &args.file);
    let refused = !errors.is_empty();
    session.show(&LintView { errors, warnings })?;
    Ok(if refused { REFUSED } else { DONE })
}

/// What was found.
#[derive(Serialize)]
#[serde(tag = "kind", rename = "Lint")]
struct LintView {
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl View for LintView {
    fn text(&self, _: Detail, paint: Paint) -> String {
        let errors = self.errors.iter().map(|found| (paint.bad("error"), found));
        let warnings = self
            .warnings
            .iter()
            .map(|found| (paint.notable("warning"), found));
        let found = errors.chain(warnings);
        found
            .map(|(what, found)| format!("{what}: {found}"))
            .collect()
    }
}

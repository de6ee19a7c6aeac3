use super::format::{self, Detail, Paint, View, or_dash};
use super::{DONE, Outcome, Session};
use crate::api::types::{FreezeRequest, FreezeView};

/// Refuse every change from now on, but abort, undo and drain
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  splitterctl freeze --reason 'Black Friday'

Whoever is refused reads who froze the agent, since when and why (exit code 7). It outlives restarts; `status` shows it as the
condition Frozen, and `splitterctl unfreeze` ends it. Freezing again replaces the reason.")]
pub struct Args {
    #[command(flatten)]
    policy: Policy,
}

/// Let changes happen again
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  splitterctl unfreeze --reason 'the sale is over'")]
pub struct UnfreezeArgs {
    #[command(flatten)]
    policy: Policy,
}

/// Flags of both.
#[derive(Debug, clap::Args)]
struct Policy {
    /// Say what would be, change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Why, for whoever is refused and for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub async fn run(args: Args, session: Session<'_, '_>) -> Outcome {
    let Policy { dry_run, reason } = args.policy;
    let request = FreezeRequest {
        frozen: true,
        reason,
        dry_run,
    };
    ask(request, session).await
}

pub async fn unfreeze(args: UnfreezeArgs, session: Session<'_, '_>) -> Outcome {
    let Policy { dry_run, reason } = args.policy;
    let request = FreezeRequest {
        frozen: false,
        reason,
        dry_run,
    };
    ask(request, session).await
}

async fn ask(request: FreezeRequest, mut session: Session<'_, '_>) -> Outcome {
    let view = session.client.freeze(&request).await?;
    session.show(&view)?;
    Ok(DONE)
}

impl View for FreezeView {
    fn text(&self, _: Detail, paint: Paint) -> String {
        let dry_run = if self.dry_run {
            " (dry run: nothing was changed)"
        } else {
            ""
        };
        if !self.frozen {
            return format!("not frozen: changes are possible{dry_run}\n");
        }
        let by = self.by.as_ref().map(ToString::to_string);
        format!(
            "{} by {}: {}; abort, undo and drain go on{dry_run}\n",
            paint.notable("frozen"),
            or_dash(by.as_deref()),
            format::printable(self.reason.as_deref().unwrap_or("no reason was given"))
        )
    }
}

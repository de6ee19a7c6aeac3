use super::apply;
use super::changing::{self, Changing};
use super::{DONE, Outcome, Session};
use crate::api::types::Command;

/// Put services in force as another host had them: the same clients meet the same tracks
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl import -f host.yaml --dry-run
  ssh other splitterctl export --with-secret | splitterctl import -f -

It takes what `export --with-secret` writes, and puts splits, drains, generations and what undo can go back to in force in one flip.
Services that are there already are not replaced. The secret of the file replaces this agent's only while no service and no
flow is there; with the same secret further services may be imported at any time.")]
pub struct Args {
    /// A document of kind HostState; `-` reads stdin.
    #[arg(short, long, value_name = "FILE")]
    file: String,
    #[command(flatten)]
    changing: Changing,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    let text = apply::read(&args.file, &mut session)?;
    changing::change(&mut session, args.changing, Command::Import { text }).await?;
    Ok(DONE)
}

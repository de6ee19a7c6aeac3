use super::format::Format;
use super::{DONE, Failure, Outcome, Session};

/// Print the resources in force as YAML, for `apply` here or elsewhere
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  splitterctl export > all.yaml

Weights are those desired. Drains and the secret of the hashes are not in it: for the same clients on the same tracks
elsewhere, copy `secret` from the agent's state_dir too, and keep it private.")]
pub struct Args {}

pub async fn run(_: Args, session: Session<'_, '_>) -> Outcome {
    if matches!(session.format, Format::Json | Format::Jsonl) {
        return Err(Failure::Refused(
            "export writes YAML alone; for JSON: splitterctl get services -o json".to_owned(),
        ));
    }
    let yaml = session.client.export().await?;
    session.around.print(&yaml)?;
    Ok(DONE)
}

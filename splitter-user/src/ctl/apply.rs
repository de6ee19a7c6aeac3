use std::io::Read;
use std::path::Path;

use super::changing::{self, Changing};
use super::{DONE, Failure, Outcome, Session, diff};
use crate::api::server::MAX_YAML;
use crate::api::types::Command;

/// Put resources in force: all documents of a file, or none, in one flip
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl apply -f web.yaml --dry-run
  splitterctl apply -f web.yaml --reason 'release 1.9.0'
  splitterctl apply -f web.yaml --prune --dry-run
  splitterctl export > all.yaml; splitterctl apply -f - < all.yaml

Weights given for no track of a service leave those in force. Errors name line and column, all of them at once.
--diff prints what would change and what was changed since the last apply, and changes nothing, as `kubectl diff` does; without it
the file is applied at once. --prune also removes the services that earlier applies of the same file made and that it no
longer has; what came from elsewhere stays. With --dry-run it says which.")]
pub struct Args {
    /// YAML, one document or more; `-` reads stdin.
    #[arg(short, long, value_name = "FILE")]
    file: String,
    /// Say what would change, field by field, and change nothing.
    #[arg(long)]
    diff: bool,
    /// Remove services that earlier applies of this file made and that it no longer has.
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    changing: Changing,
}

pub async fn run(args: Args, mut session: Session<'_, '_>) -> Outcome {
    if args.diff {
        diff::show(&args.file, args.prune, &mut session).await?;
        return Ok(DONE);
    }
    let yaml = read(&args.file, &mut session)?;
    let origin = origin(&args.file);
    let command = if args.prune {
        Command::ApplyAndPrune { yaml, origin }
    } else {
        Command::Apply { yaml, origin }
    };
    changing::change(&mut session, args.changing, command).await?;
    Ok(DONE)
}

/// What stands for a file in messages, in the audit and for --prune: its full path, so that it is the same from everywhere.
pub fn origin(file: &str) -> String {
    if file == "-" {
        return file.to_owned();
    }
    std::fs::canonicalize(file).map_or_else(|_| file.to_owned(), |path| path.display().to_string())
}

/// A file of bounded size, or stdin.
pub fn read(file: &str, session: &mut Session<'_, '_>) -> Result<String, Failure> {
    let refused = |error: std::io::Error| Failure::Refused(format!("{file}: {error}"));
    let mut text = Vec::new();
    // One byte more than allowed, to see that there is more.
    let most = u64::try_from(MAX_YAML)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    if file == "-" {
        (&mut session.around.input)
            .take(most)
            .read_to_end(&mut text)
            .map_err(refused)?;
    } else {
        let opened = std::fs::File::open(Path::new(file)).map_err(refused)?;
        opened.take(most).read_to_end(&mut text).map_err(refused)?;
    }
    if text.len() > MAX_YAML {
        return Err(Failure::Refused(format!(
            "{file}: more than {MAX_YAML} bytes; apply fewer resources at once"
        )));
    }
    String::from_utf8(text).map_err(|error| {
        Failure::Refused(format!(
            "{file}: byte {} is not UTF-8 text",
            error.utf8_error().valid_up_to()
        ))
    })
}

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::format::Format;
use super::{DONE, Failure, Outcome, Session};

/// Print the resources in force as YAML for `apply`, or the whole state for `import`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl export > all.yaml
  splitterctl export --with-secret --file host.yaml
  splitterctl export --with-secret | ssh other splitterctl import -f -

Plain, it is what `apply` takes, with the weights desired; drains are not in it. With --with-secret it is one document of kind
HostState: resources, slots, drains, generations, the splits that undo can go back to, and the secret of the hashes. On the host
that imports it the same clients meet the same tracks. Keep it private: whoever has the secret can choose addresses that meet a
track. Files are written with mode 0600, and the audit tells that the secret was exported.")]
pub struct Args {
    /// The whole state, the secret included.
    #[arg(long)]
    with_secret: bool,
    /// Only this service's state.
    #[arg(long, value_name = "NAME", requires = "with_secret")]
    service: Option<String>,
    /// Write to this file, mode 0600, instead of stdout; `-` is stdout, even if that is a terminal.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub async fn run(args: Args, session: Session<'_, '_>) -> Outcome {
    if matches!(session.format, Format::Json | Format::Jsonl) {
        return Err(Failure::Refused(
            "export writes YAML alone; for JSON: splitterctl get services -o json".to_owned(),
        ));
    }
    if args.with_secret && args.file.is_none() && session.around.terminal {
        return Err(Failure::Refused(
            "the secret is not for a terminal: name a file with --file, or pipe it on; `--file -` prints it all the same"
                .to_owned(),
        ));
    }
    let yaml = if args.with_secret {
        session.client.export_state(args.service.as_deref()).await?
    } else {
        session.client.export().await?
    };
    match args.file.filter(|file| file.as_os_str() != "-") {
        Some(file) => write(&file, &yaml)
            .map_err(|error| Failure::Refused(format!("{}: {error}", file.display())))?,
        None => drop(session.around.print(&yaml)?),
    }
    Ok(DONE)
}

/// The whole file or none, and never readable by others, not even for a moment.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut open = OpenOptions::new();
    let mut written = open.write(true).create_new(true).mode(0o600).open(&new)?;
    let done = written
        .write_all(text.as_bytes())
        .and_then(|()| written.sync_all())
        .and_then(|()| fs::rename(&new, file));
    if done.is_err() {
        // What cannot be removed either is private still.
        drop(fs::remove_file(&new));
    }
    done
}

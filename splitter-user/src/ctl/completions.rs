use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, DONE, Outcome, Session};

/// Print what a shell needs to complete verbs and options
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  splitterctl completions bash > /etc/bash_completion.d/splitterctl
  splitterctl completions zsh > /usr/local/share/zsh/site-functions/_splitterctl
  splitterctl completions fish > ~/.config/fish/completions/splitterctl.fish")]
pub struct Args {
    /// Which shell.
    shell: Shell,
}

pub fn run(args: &Args, session: Session<'_, '_>) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "splitterctl", &mut script);
    session.around.print(&String::from_utf8_lossy(&script))?;
    Ok(DONE)
}

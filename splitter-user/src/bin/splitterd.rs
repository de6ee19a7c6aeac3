//! The agent.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use splitter_user::config::Config;
use splitter_user::{daemon, decap};
use tracing_subscriber::EnvFilter;

/// Splits the traffic of this host's listeners with XDP. Stopping it leaves the data plane running.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    max_term_width = 120,
    after_help = "Logs go to standard error; RUST_LOG=debug says more."
)]
struct Arguments {
    /// The configuration.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/splitter/splitterd.toml"
    )]
    config: PathBuf,
    /// Check the configuration and exit.
    #[arg(long)]
    check_config: bool,
    /// Remove the data plane of an agent that no longer runs: the program leaves the interfaces,
    /// and every flow is cut.
    #[arg(long, conflicts_with = "check_config")]
    detach: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What else this binary is.
#[derive(Debug, Subcommand)]
enum Part {
    Decap(decap::Arguments),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no failures; a closed pipe is none either.
            let _printed = error.print();
            return if error.use_stderr() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("splitterd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(Part::Decap(arguments)) = &arguments.part {
        return Ok(decap::perform(arguments)?);
    }
    let config = Config::from_path(&arguments.config)?;
    if arguments.check_config {
        for warning in config.warnings() {
            eprintln!("warning: {warning}");
        }
        println!("{} is a valid configuration", arguments.config.display());
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.detach {
        daemon::detach(&config)?;
        println!("detached: the program is off all interfaces");
        return Ok(ExitCode::SUCCESS);
    }
    daemon::run(config)?;
    Ok(ExitCode::SUCCESS)
}

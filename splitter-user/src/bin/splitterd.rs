//! The agent.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use splitter_user::config::Config;
use splitter_user::daemon::{Arguments, Part};
use splitter_user::{daemon, decap};
use tracing_subscriber::EnvFilter;

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

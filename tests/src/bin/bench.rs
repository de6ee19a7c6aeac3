//! `cargo xtask bench`: nanoseconds a packet, a flip and a scan.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use lab::bench::{Choice, Report, run};

/// Measures what a packet, a flip and a table cost
#[derive(Debug, Parser)]
struct Arguments {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Show the difference to an earlier `--json`
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,
    /// Rounds of every case
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Only cases whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let old: Option<Report> = match &arguments.compare {
        Some(path) => {
            let text =
                fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
            Some(
                serde_json::from_str(&text)
                    .with_context(|| format!("{} is no report of the bench", path.display()))?,
            )
        }
        None => None,
    };
    let report = run(&Choice {
        rounds: arguments.rounds.into(),
        only: arguments.only,
    })?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", report.table(old.as_ref()));
    }
    Ok(())
}

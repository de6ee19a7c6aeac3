//! The command line of `splitterd`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::decap;

/// Splits the traffic of this host's listeners with XDP. Stopping it leaves the data plane running.
#[derive(Debug, Parser)]
#[command(
    name = "splitterd",
    version,
    args_conflicts_with_subcommands = true,
    max_term_width = 120,
    after_help = "Logs go to standard error; RUST_LOG=debug says more."
)]
pub struct Arguments {
    /// The configuration.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/splitter/splitterd.toml"
    )]
    pub config: PathBuf,
    /// Check the configuration and exit.
    #[arg(long)]
    pub check_config: bool,
    /// Remove the data plane of an agent that no longer runs: the program leaves the interfaces,
    /// and every flow is cut.
    #[arg(long, conflicts_with = "check_config")]
    pub detach: bool,
    /// What else this binary is.
    #[command(subcommand)]
    pub part: Option<Part>,
}

/// What else this binary is.
#[derive(Debug, Subcommand)]
pub enum Part {
    #[expect(missing_docs, reason = "the arguments say it, and clap shows that")]
    Decap(decap::Arguments),
}

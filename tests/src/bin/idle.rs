//! Holds ends of idle connections for `lab::Idle`.

use anyhow::Result;
use clap::Parser;
use lab::{IdleRole, hold_idle_ends};

/// Holds ends of idle TCP connections, and says how they end
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    role: IdleRole,
}

fn main() -> Result<()> {
    hold_idle_ends(&Arguments::parse().role)
}

//! `cargo xtask verifier`: what the kernel makes of each XDP program.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use lab::verifier::Figures;

/// Loads each XDP program without attaching it, and prints what the verifier walked
#[derive(Debug, Parser)]
struct Arguments {
    /// This object, not the one that ships
    #[arg(long, value_name = "FILE")]
    object: Option<PathBuf>,
    /// Compare with the figures kept there
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Keep the figures there
    #[arg(long, value_name = "FILE")]
    accept: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let figures = match &arguments.object {
        Some(path) => Figures::of_file(path)?,
        None => Figures::shipped()?,
    };
    println!("{}", figures.table());
    if let Some(path) = &arguments.accept {
        figures.write(path)?;
    }
    if let Some(path) = &arguments.compare {
        figures.compare(&Figures::read(path)?)?;
    }
    Ok(())
}

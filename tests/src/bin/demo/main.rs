//! The whole thing, live: three hosts, real servers, real connections, and the agent between them.
//!
//! `cargo xtask demo` builds and runs this. It ends by itself; with `--hold` it stays until Ctrl-C.

mod hold;
mod scene;
mod screen;
mod story;
mod summary;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use scene::Scene;
use screen::Screen;

/// Shows the splitter at work on three hosts in network namespaces.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Stay up after the show, with load, until Ctrl-C; prints commands to play with
    #[arg(long)]
    hold: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    lab::clean_up_on_signals();
    match show(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn show(arguments: &Arguments) -> Result<()> {
    let mut screen = Screen::new();
    let mut scene = Scene::open(&mut screen)?;
    story::tell(&mut scene, &mut screen)?;
    summary::give(&mut scene, &mut screen)?;
    if arguments.hold {
        hold::until_interrupted(&mut scene, &mut screen)?;
    }
    Ok(())
}

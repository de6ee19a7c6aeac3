//! `cargo xtask setup`: whatever the build, the tests and the demo need and the machine lacks.

mod packages;
mod rust;
mod survey;

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Result, bail};

pub use packages::refresh_lists;
use survey::Survey;

/// Installs what is missing: the compiler and linker for XDP programs, and what the tests and the demo run
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Install without asking (without a terminal nobody is asked anyhow)
    #[arg(long)]
    yes: bool,
}

/// Whether a person is asked before anything is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Given on the command line.
    Given,
    /// Asked for, if there is a terminal.
    Ask,
}

impl From<bool> for Consent {
    fn from(yes: bool) -> Self {
        if yes { Self::Given } else { Self::Ask }
    }
}

/// Installs, or says that there is nothing to do.
pub fn run(arguments: &Arguments) -> Result<()> {
    if ensure(arguments.yes.into(), Scope::WithKernels)? == Outcome::NothingMissing {
        println!("set-up: nothing is missing");
    }
    Ok(())
}

/// What the machine is to be fit for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The build, the tests on this machine's kernel, the demo.
    ThisKernel,
    /// Tests on other kernels, too.
    WithKernels,
}

/// What [`ensure`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All was there.
    NothingMissing,
    /// It is now.
    Installed,
}

/// Says what is missing and why it is needed, asks, installs, and looks again.
pub fn ensure(consent: Consent, scope: Scope) -> Result<Outcome> {
    let survey = Survey::take(scope)?;
    if survey.is_complete() {
        return Ok(Outcome::NothingMissing);
    }
    eprintln!("set-up: this machine lacks");
    eprint!("{survey}");
    packages::check_manager(&survey)?;
    if consent == Consent::Ask && !agreed()? {
        bail!("set-up was refused; nothing was installed");
    }
    packages::install(&survey)?;
    rust::install(&survey)?;

    let left = Survey::take(scope)?;
    if left.is_complete() {
        return Ok(Outcome::Installed);
    }
    bail!("set-up ran, and these are still missing:\n{left}")
}

/// Asks on the terminal; without one, whoever started us has agreed.
fn agreed() -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(true);
    }
    eprint!("Install them? [Y/n] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(
        answer.trim().to_lowercase().as_str(),
        "" | "y" | "yes"
    ))
}

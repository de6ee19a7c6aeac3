//! `cargo xtask`: everything that is done with the checkout, from set-up to release.

mod bench;
mod build;
mod demo;
mod dist;
mod fuzz;
mod kernels;
mod lint;
mod load;
mod man;
mod privilege;
mod setup;
mod test;
mod toolchain;
mod verifier;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Set-up, build, load, demo, test, lint, bench, verifier, fuzz, man and dist of the splitter.
///
/// A newcomer needs two of them: `cargo xtask demo` shows what it does, `cargo xtask test` shows that it does it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Setup(setup::Arguments),
    Build(build::Arguments),
    Load(load::Arguments),
    Demo(demo::Arguments),
    Test(test::Arguments),
    Lint(lint::Arguments),
    Bench(bench::Arguments),
    Verifier(verifier::Arguments),
    Fuzz(fuzz::Arguments),
    Man(man::Arguments),
    Dist(dist::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().verb {
        Verb::Setup(arguments) => setup::run(&arguments),
        Verb::Build(arguments) => build::run(&arguments),
        Verb::Load(arguments) => load::run(&arguments),
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Test(arguments) => test::run(&arguments),
        Verb::Lint(arguments) => lint::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::Verifier(arguments) => verifier::run(&arguments),
        Verb::Fuzz(arguments) => fuzz::run(&arguments),
        Verb::Man(arguments) => man::run(&arguments),
        Verb::Dist(arguments) => dist::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! Where the checkout is, and how commands are run in it.

use std::env;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// The top folder of the checkout, wherever the command was typed.
pub fn root() -> Result<PathBuf> {
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .context("CARGO_MANIFEST_DIR is not set: call this as `cargo xtask`")?;
    let root = Path::new(&package).parent();
    Ok(root
        .context("the package xtask has left its workspace")?
        .to_path_buf())
}

/// Cargo's target folder: the one that this program was built into.
pub fn target_dir() -> Result<PathBuf> {
    let program = env::current_exe().context("cannot find this program's own path")?;
    let target = program.parent().and_then(Path::parent);
    Ok(target
        .context("this program is in no target folder: call it as `cargo xtask`")?
        .to_path_buf())
}

/// One of the project's own binaries, of the release build.
pub fn release_binary(name: &str) -> Result<PathBuf> {
    Ok(target_dir()?.join("release").join(name))
}

/// The cargo that runs us, in the top folder.
pub fn cargo<I, S>(arguments: I) -> Result<Command>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()?);
    Ok(command)
}

/// Runs a command to its end, its output on ours; a failure names the command.
pub fn run(command: &mut Command) -> Result<()> {
    let text = written(command);
    let status = command
        .status()
        .with_context(|| format!("cannot run `{text}`"))?;
    if !status.success() {
        bail!("`{text}` failed: {status}");
    }
    Ok(())
}

/// Becomes the command: signals and the exit code are its own. Comes back only if that is not possible.
pub fn become_command(command: &mut Command) -> Result<()> {
    let text = written(command);
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run `{text}`"))
}

/// Whether a command can be run and succeeds. Its output goes nowhere.
pub fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// A program in PATH, or where administrators' programs are.
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Does one step of a longer task, and says on standard error what it is and how long it took.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("==> {what}");
    let start = Instant::now();
    let result = work()?;
    eprintln!("    done in {:.1} s", start.elapsed().as_secs_f64());
    Ok(result)
}

/// A command as a person would type it.
pub fn written(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

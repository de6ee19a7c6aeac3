//! A machine of translated CPUs that runs one kernel, until it powers itself off or takes too long.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// After this long a guest hangs: five times what it needs on a slow machine.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Lines of output that wait for whoever prints them; a guest that is ahead of that waits.
const DEPTH: usize = 256;

/// What starts a guest.
#[derive(Debug)]
pub struct Guest {
    /// The kernel's series, such as 6.1.
    pub series: &'static str,
    /// The kernel.
    pub kernel: PathBuf,
    /// What the kernel unpacks as its first file system.
    pub image: PathBuf,
    /// Where the kernel's own words go.
    pub console: PathBuf,
}

/// How a guest's tests went.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every test ran and passed.
    Passed {
        /// How many.
        tests: usize,
        /// The kernel, as `uname -r` says it.
        kernel: String,
    },
    /// Something failed, or did not run.
    Failed {
        /// What, in one line.
        why: String,
        /// What the tests printed.
        output: String,
    },
}

impl Guest {
    /// Runs `tests` to their end and says how each went on standard error.
    pub fn run(&self, tests: &[String]) -> Result<Verdict> {
        let mut machine = Machine(self.start()?);
        let output = machine.0.stdout.take().context("qemu has no output")?;
        let (sender, lines) = sync_channel(DEPTH);
        thread::spawn(move || {
            // Ends with the machine, or when nobody listens any more.
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let (output, ended) = self.listen(&lines);
        Ok(judge(tests, &output, ended))
    }

    fn start(&self) -> Result<Child> {
        let mut console = std::ffi::OsString::from("file:");
        console.push(&self.console);
        Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1536"])
            .args(["-nodefaults", "-display", "none", "-monitor", "none", "-no-reboot"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.image)
            // Mitigations cost a translated CPU half of its speed.
            .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"])
            .arg("-serial")
            .arg(console)
            .args(["-serial", "stdio"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run qemu-system-x86_64; `cargo xtask setup` installs it")
    }

    /// Everything the guest prints, and whether it ended in time.
    fn listen(&self, lines: &Receiver<String>) -> (String, Ended) {
        let deadline = Instant::now() + LIMIT;
        let mut output = String::new();
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some((name, result)) = result(&line) {
                        eprintln!("    {:<5} {result:<6} {name}", self.series);
                    }
                    output.push_str(&line);
                    output.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => return (output, Ended::ByItself),
                Err(RecvTimeoutError::Timeout) => return (output, Ended::Late),
            }
        }
    }
}

/// Whether a guest powered itself off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    ByItself,
    Late,
}

/// A process that does not outlive this value.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only for one that has ended.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A test's name and result, from a line that tells it.
fn result(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let result = rest.split_whitespace().next_back()?;
    ["ok", "FAILED"].contains(&result).then_some((name, result))
}

fn judge(tests: &[String], output: &str, ended: Ended) -> Verdict {
    let passed: BTreeSet<_> = output
        .lines()
        .filter_map(result)
        .filter(|(_, result)| *result == "ok")
        .map(|(name, _)| name)
        .collect();
    let missing = tests
        .iter()
        .filter(|test| !passed.contains(test.as_str()))
        .count();
    let word = |start: &str| output.lines().find_map(|line| line.strip_prefix(start));
    let module = output
        .lines()
        .find(|line| line.starts_with("guest: module "));
    let why = match word("guest: the tests ended with status ") {
        _ if ended == Ended::Late => format!("did not end within {} s", LIMIT.as_secs()),
        None => "ended before its tests did".to_owned(),
        Some("0") if missing == 0 && module.is_none() => {
            return Verdict::Passed {
                tests: tests.len(),
                kernel: word("guest: kernel ").unwrap_or("?").to_owned(),
            };
        }
        Some(_) if missing > 0 => format!("{missing} of {} tests did not pass", tests.len()),
        Some(status) => module.map_or_else(
            || format!("the tests ended with status {status}"),
            str::to_owned,
        ),
    };
    Verdict::Failed {
        why,
        output: failures(output),
    }
}

/// What the failed tests printed; everything, if no test had the time to say.
fn failures(output: &str) -> String {
    match output.find("\nfailures:\n") {
        Some(at) => output[at..].to_owned(),
        None => output.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests() -> Vec<String> {
        ["packets::a", "packets::b"].map(str::to_owned).to_vec()
    }

    const GOOD: &str = "guest: kernel 6.1.0\ntest packets::a ... ok\ntest packets::b ... ok\nguest: the tests ended with status 0\n";

    fn why(output: &str, ended: Ended) -> String {
        match judge(&tests(), output, ended) {
            Verdict::Failed { why, .. } => why,
            Verdict::Passed { .. } => panic!("passed: {output}"),
        }
    }

    #[test]
    fn a_guest_whose_every_test_passes_passes() {
        let (tests, kernel) = (2, "6.1.0".to_owned());
        assert_eq!(
            judge(&self::tests(), GOOD, Ended::ByItself),
            Verdict::Passed { tests, kernel }
        );
    }

    #[test]
    fn a_test_that_did_not_run_has_not_passed() {
        let output = GOOD.replace("test packets::b ... ok\n", "");
        assert_eq!(why(&output, Ended::ByItself), "1 of 2 tests did not pass");
    }

    #[test]
    fn a_failed_test_a_crash_a_hang_and_a_missing_module_fail() {
        let failed = GOOD
            .replace("b ... ok", "b ... FAILED")
            .replace("status 0", "status 101");
        assert_eq!(why(&failed, Ended::ByItself), "1 of 2 tests did not pass");
        let crashed = GOOD.split("guest: the").next().unwrap_or_default();
        assert_eq!(why(crashed, Ended::ByItself), "ended before its tests did");
        assert!(why(GOOD, Ended::Late).contains("did not end within"));
        let module = format!("guest: module bonding does not load\n{GOOD}");
        assert_eq!(
            why(&module, Ended::ByItself),
            "guest: module bonding does not load"
        );
    }

    #[test]
    fn what_failed_tests_printed_is_found() {
        assert_eq!(
            failures("test a ... FAILED\n\nfailures:\n\nwords\n"),
            "\nfailures:\n\nwords\n"
        );
    }
}

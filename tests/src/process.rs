//! A process that ends with its guard.

use std::process::{Child, ChildStdout, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::cleanup::{Debt, Owed};
use crate::wait::await_some;

/// A running process; killed and reaped on drop.
#[derive(Debug)]
pub struct ChildGuard {
    name: String,
    child: Child,
    owed: Option<Owed>,
}

impl ChildGuard {
    /// Starts `command`.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let owed = Owed::new(Debt::Process(Pid::from_child(&child)));
        Ok(Self {
            name,
            child,
            owed: Some(owed),
        })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it writes to its standard output, if that is a pipe that nobody has taken yet.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The exit status if the process has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let status = self
            .child
            .try_wait()
            .with_context(|| format!("cannot wait for {}", self.name))?;
        if status.is_some() {
            self.forget();
        }
        Ok(status)
    }

    /// Sends `signal`.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("{} (process {}) to end", self.name, self.pid());
        await_some(deadline, &what, || self.ended().transpose())?
    }

    /// Asks it to end (SIGTERM) and waits until it has, successfully.
    pub fn stop(mut self, deadline: Duration) -> Result<()> {
        self.signal(Signal::TERM)?;
        let status = self.wait(deadline)?;
        if !status.success() {
            bail!("{} was asked to stop and ended with {status}", self.name);
        }
        Ok(())
    }

    /// `kill -9`.
    pub fn kill9(mut self) -> Result<()> {
        self.end_now();
        Ok(())
    }

    fn end_now(&mut self) {
        if self.owed.is_some() {
            // Both fail only where the process is gone already.
            let _ = self.child.kill();
            let _ = self.child.wait();
            self.forget();
        }
    }

    /// Once reaped, its id may be another's.
    fn forget(&mut self) {
        if let Some(owed) = self.owed.take() {
            owed.forgive();
        }
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        self.end_now();
    }
}

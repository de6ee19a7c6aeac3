//! What this process has made on the machine and still has to take away.
//!
//! Each guard holds an [`Owed`]; dropping it pays the debt. The list behind it lets a signal pay all debts at
//! once, newest first, before the process exits.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::signal::unix::{SignalKind, signal};

/// One thing to take away.
#[derive(Debug)]
pub(crate) enum Debt {
    Process(Pid),
    Mount(PathBuf),
    Namespace(String),
    Directory(PathBuf),
}

impl Debt {
    /// Takes the thing away. Errors are of no use to anyone here: the thing may be gone already.
    fn pay(self) {
        match self {
            Self::Process(pid) => {
                let _ = kill_process(pid, Signal::KILL);
                let _ = waitpid(Some(pid), WaitOptions::empty());
            }
            Self::Mount(path) => quietly(Command::new("umount").arg("--lazy").arg(path)),
            Self::Namespace(name) => quietly(Command::new("ip").args(["netns", "del", &name])),
            Self::Directory(path) => {
                let _ = std::fs::remove_dir_all(path);
            }
        }
    }
}

fn quietly(command: &mut Command) {
    let _ = command.output();
}

struct Ledger {
    next: u64,
    debts: Vec<(u64, Debt)>,
}

static LEDGER: Mutex<Ledger> = Mutex::new(Ledger {
    next: 0,
    debts: Vec::new(),
});

fn ledger() -> MutexGuard<'static, Ledger> {
    LEDGER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A debt on the list, paid when this is dropped.
#[derive(Debug)]
#[must_use = "dropping it takes the thing away at once"]
pub(crate) struct Owed(u64);

impl Owed {
    /// Puts `debt` on the list. Call it before making the thing, so that no signal falls in between.
    pub(crate) fn new(debt: Debt) -> Self {
        let mut ledger = ledger();
        let id = ledger.next;
        ledger.next += 1;
        ledger.debts.push((id, debt));
        Self(id)
    }

    /// Strikes the debt off without paying: the thing went away by itself.
    pub(crate) fn forgive(self) {
        drop(self.take());
    }

    fn take(&self) -> Option<Debt> {
        let mut ledger = ledger();
        let at = ledger.debts.iter().position(|(id, _)| *id == self.0)?;
        Some(ledger.debts.remove(at).1)
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some(debt) = self.take() {
            debt.pay();
        }
    }
}

/// From now on SIGINT, SIGTERM and SIGHUP take away everything that this process made, and end it with the shell's
/// exit code for the signal. Calling it again does nothing.
pub fn on_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::thread::Builder::new()
            .name("cleanup".into())
            .spawn(|| {
                let number = wait_for_signal();
                // The list stays locked until the process is gone: nothing new is made behind our back.
                let mut ledger = ledger();
                while let Some((_, debt)) = ledger.debts.pop() {
                    debt.pay();
                }
                std::process::exit(128 + number);
            })
            .expect("a thread for the signals can be started");
    });
}

fn wait_for_signal() -> i32 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime for the signals can be made");
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be handled");
        let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
        let mut hangup = signal(SignalKind::hangup()).expect("SIGHUP can be handled");
        tokio::select! {
            _ = interrupt.recv() => libc::SIGINT,
            _ = terminate.recv() => libc::SIGTERM,
            _ = hangup.recv() => libc::SIGHUP,
        }
    })
}

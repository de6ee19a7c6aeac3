//! A network namespace: one host of the lab.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::agent::Answer;
use crate::cleanup::{Debt, Owed};
use crate::process::ChildGuard;
use crate::scratch::unique;
use crate::{cleanup, leftovers};

/// A network namespace, deleted when the last clone of this handle is dropped.
#[derive(Clone, Debug)]
pub struct Namespace {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    file: File,
    _owed: Owed,
}

impl Namespace {
    /// Makes an empty namespace with its loopback up.
    pub fn new(what: &str) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!(
                "network namespaces, XDP and bpffs need root, and this runs as uid {}: run it as root (sudo -E)",
                rustix::process::geteuid().as_raw()
            );
        }
        cleanup::on_signals();
        leftovers::sweep();
        let name = unique(what);
        let owed = Owed::new(Debt::Namespace(name.clone()));
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let path = format!("/run/netns/{name}");
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        let namespace = Self {
            inner: Arc::new(Inner {
                name,
                file,
                _owed: owed,
            }),
        };
        namespace.exec("ip link set lo up")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// A command that will run in this namespace. Unlike under `ip netns exec` the mount namespace stays the
    /// machine's: bpffs mounted before is seen, bpffs mounted inside outlives the process.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let namespace = self.clone();
        // SAFETY: between fork and exec only async-signal-safe work is allowed: this is one system call on a file
        // that the closure keeps open; it neither allocates nor locks.
        unsafe {
            command.pre_exec(move || {
                enter(namespace.inner.file.as_fd()).map_err(std::io::Error::from)
            });
        }
        command
    }

    /// Runs a command line, words parted by spaces, and returns what it printed.
    pub fn exec(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let Some(program) = words.next() else {
            bail!("an empty command line for namespace {}", self.name())
        };
        run(self.command(program).args(words))
    }

    /// Runs lines of `ip`, without that word, in one process; the first that fails ends it.
    pub fn ip(&self, lines: &str) -> Result<()> {
        let mut command = self.command("ip");
        command.args(["-batch", "-"]);
        Answer::with_input(command, lines)?
            .succeeded()
            .with_context(|| format!("cannot set up {}", self.name()))?;
        Ok(())
    }

    /// Starts a command line and leaves it running.
    pub fn spawn(&self, line: &str) -> Result<ChildGuard> {
        let mut words = line.split_whitespace();
        let Some(program) = words.next() else {
            bail!("an empty command line for namespace {}", self.name())
        };
        let mut command = self.command(program);
        command.args(words);
        ChildGuard::spawn(command)
    }

    /// Sets a kernel parameter of this namespace, named as below /proc/sys/net.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{key}");
        self.enter(|| std::fs::write(&path, value))
            .with_context(|| format!("cannot write {value} to {path}"))
    }

    /// A counter of this host's stack: `Icmp` and `OutDestUnreachs`, say; of IPv6 where `group` ends in a 6.
    pub fn count(&self, group: &str, counter: &str) -> Result<u64> {
        let file = if group.ends_with('6') {
            "snmp6"
        } else {
            "snmp"
        };
        let text = self
            .enter(|| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")))
            .with_context(|| format!("cannot read {file}"))?;
        let found = if file == "snmp6" {
            // A line a counter: its name and its value.
            let name = format!("{group}{counter}");
            text.lines()
                .filter_map(|line| line.split_once(char::is_whitespace))
                .find(|(one, _)| *one == name)
                .map(|(_, value)| value.trim())
        } else {
            // Two lines a group: names, then values.
            let mut lines = text
                .lines()
                .filter_map(|line| line.split_once(": "))
                .filter(|(one, _)| *one == group)
                .map(|(_, rest)| rest.split(' '));
            let (names, values) = (lines.next(), lines.next());
            names
                .zip(values)
                .and_then(|(names, values)| names.zip(values).find(|(name, _)| *name == counter))
                .map(|(_, value)| value)
        };
        found
            .and_then(|value| value.parse().ok())
            .with_context(|| format!("{file} has no {group} {counter}"))
    }

    /// Lets addresses be used at once, and packets come by any way; call it before there are devices.
    pub(crate) fn forget_delays(&self) -> Result<()> {
        for scope in ["all", "default"] {
            // Without this an address may not be used for a second after it was added.
            self.sysctl(&format!("ipv6/conf/{scope}/accept_dad"), "0")?;
            self.sysctl(&format!("ipv4/conf/{scope}/rp_filter"), "0")?;
        }
        // No rescue for a TCP that is not told of a small MTU: what the splitter must do, nothing else does.
        self.sysctl("ipv4/tcp_mtu_probing", "0")
    }

    /// Runs `work` in this namespace, in a thread of its own; sockets that it opens stay in the namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter_this_thread();
                work()
            });
            inside
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a thread that lives in this namespace.
    pub fn thread<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        let namespace = self.clone();
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                namespace.enter_this_thread();
                work()
            })
            .with_context(|| format!("cannot start the thread {name}"))
    }

    fn enter_this_thread(&self) {
        enter(self.inner.file.as_fd()).expect("root may enter a namespace that it made");
    }
}

fn enter(namespace: BorrowedFd<'_>) -> rustix::io::Result<()> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
}

/// Runs a command to its end and returns its standard output; its error output becomes the error.
fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

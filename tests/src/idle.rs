//! Idle TCP connections, by the thousand: neither end says anything, and both are watched for how they end.
//!
//! The ends live in processes of their own, a part of the clients' or of the backends' in each: a process may not
//! open as many files as there are connections.

mod end;

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::agent::binary;
use crate::namespace::Namespace;
use crate::process::ChildGuard;

pub use end::{IdleRole, hold_idle_ends};

/// Longest time for a part to be open.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lines of a process that wait to be heard; it waits when there are more.
const DEPTH: usize = 1_024;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleEnd {
    /// The client's.
    Client,
    /// The backend's.
    Backend,
}

/// How and when an end ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Which.
    pub end: IdleEnd,
    /// When it was told, by the machine's monotonic clock.
    pub at: Duration,
    /// Whether it was told by a RST.
    pub reset: bool,
}

/// Open connections, which are watched. They are closed on drop.
#[derive(Debug)]
pub struct Idle {
    _ends: Vec<ChildGuard>,
    ended: Receiver<Ended>,
}

/// What the processes say.
enum Said {
    Open,
    Ended(Ended),
}

impl Idle {
    /// Opens `count` connections in all from the client's addresses `from`, in turn, to each of `at`, where
    /// something in `backends` that this makes accepts them.
    pub fn open(
        client: &Namespace,
        backends: &Namespace,
        at: &[SocketAddr],
        from: &[IpAddr],
        count: usize,
    ) -> Result<Self> {
        ensure!(count.is_multiple_of(at.len()), "{count} cannot be parted");
        let (part, mut ends) = ((count / at.len()).to_string(), Vec::new());
        // Room for every end.
        let (sender, ended) = sync_channel(2 * count);
        for target in at {
            let any = if target.is_ipv4() { "0.0.0.0" } else { "[::]" };
            let listen = format!("{any}:{}", target.port());
            let accepting = start(backends, IdleEnd::Backend, &["accept", &listen, &part])?;
            accepting.await_open()?;
            let to = target.to_string();
            let from: Vec<String> = from.iter().map(ToString::to_string).collect();
            let mut words = vec!["dial", &to, &part];
            words.extend(from.iter().map(String::as_str));
            let dialling = start(client, IdleEnd::Client, &words)?;
            dialling.await_open()?;
            // The second time: all are accepted.
            accepting.await_open()?;
            for part in [accepting, dialling] {
                let sender = sender.clone();
                ends.push(part.end);
                std::thread::spawn(move || forward(&part.said, &sender));
            }
        }
        Ok(Self { _ends: ends, ended })
    }

    /// The next end that ends, within `patience`.
    pub fn next(&self, patience: Duration) -> Option<Ended> {
        self.ended.recv_timeout(patience).ok()
    }

    /// Waits until so many ends have ended, each within `patience` of the one before.
    pub fn await_ended(&self, count: usize, patience: Duration) -> Result<Vec<Ended>> {
        let mut ended = Vec::with_capacity(count);
        while ended.len() < count {
            let Some(next) = self.next(patience) else {
                break;
            };
            ended.push(next);
        }
        let of = |end| ended.iter().filter(|one| one.end == end).count();
        ensure!(
            ended.len() == count,
            "{} clients' and {} backends' ends have ended, not {count} in all, and none for {patience:?}",
            of(IdleEnd::Client),
            of(IdleEnd::Backend)
        );
        Ok(ended)
    }
}

/// A process with ends, and what it says.
struct Part {
    end: ChildGuard,
    said: Receiver<Said>,
}

impl Part {
    fn await_open(&self) -> Result<()> {
        match self.said.recv_timeout(PATIENCE) {
            Ok(Said::Open) => Ok(()),
            Ok(Said::Ended(ended)) => bail!("{ended:?} before all were open"),
            Err(RecvTimeoutError::Timeout) => bail!("not open after {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("a process of idle ends has ended"),
        }
    }
}

fn forward(said: &Receiver<Said>, to: &SyncSender<Ended>) {
    while let Ok(said) = said.recv() {
        if let Said::Ended(ended) = said
            && to.send(ended).is_err()
        {
            return;
        }
    }
}

fn start(host: &Namespace, end: IdleEnd, words: &[&str]) -> Result<Part> {
    let mut command = host.command(binary("splitter-idle"));
    command.args(words).stdout(Stdio::piped());
    let mut guard = ChildGuard::spawn(command)?;
    let output = guard.stdout().context("its output is not a pipe")?;
    let (sender, said) = sync_channel(DEPTH);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Some(heard) = line.ok().and_then(|line| hear(end, &line)) else {
                return;
            };
            if sender.send(heard).is_err() {
                return;
            }
        }
    });
    Ok(Part { end: guard, said })
}

fn hear(end: IdleEnd, line: &str) -> Option<Said> {
    let (how, at) = match line.split_once(' ') {
        None => return Some(Said::Open),
        Some(parts) => parts,
    };
    Some(Said::Ended(Ended {
        end,
        at: Duration::from_nanos(at.parse().ok()?),
        reset: how == "reset",
    }))
}

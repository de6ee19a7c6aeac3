//! What operators do to an agent.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Agent, Answer, Change, binary};
use crate::service::Service;

impl Agent {
    /// Runs `splitterctl` with a command line, words parted by spaces.
    pub fn ctl(&self, line: &str) -> Result<Answer> {
        self.ctl_words(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs `splitterctl` with words that may hold spaces.
    pub fn ctl_words(&self, words: &[&str]) -> Result<Answer> {
        Answer::of(self.ctl_command(words))
    }

    /// A `splitterctl` command that reaches this agent.
    pub fn ctl_command(&self, words: &[&str]) -> Command {
        let mut command = self.balancer.command(binary("splitterctl"));
        command.arg("--socket").arg(self.socket()).args(words);
        command
    }

    /// Runs `splitterctl` with words, and `input` on its standard input.
    pub fn ctl_with_input(&self, words: &[&str], input: &str) -> Result<Answer> {
        Answer::with_input(self.ctl_command(words), input)
    }

    /// Runs `splitterctl` as another user with one supplementary group, a command line of words parted by spaces. The socket has to be
    /// where that user gets at it.
    pub fn ctl_as(&self, uid: u32, group: u32, line: &str) -> Result<Answer> {
        // A copy, because another user may not get at the build directory.
        let directory = tempfile::Builder::new().prefix("splitterctl").tempdir()?;
        open_to_all(directory.path())?;
        let copy = directory.path().join("splitterctl");
        std::fs::copy(binary("splitterctl"), &copy).context("cannot copy splitterctl")?;
        let mut command = Command::new("setpriv");
        command
            .args([
                format!("--reuid={uid}"),
                format!("--regid={uid}"),
                format!("--groups={group}"),
            ])
            .arg(&copy)
            .arg("--socket")
            .arg(self.socket())
            .args(line.split_whitespace());
        Answer::of(command)
    }

    /// Runs `splitterctl LINE -o json`, which must succeed, and returns what it says.
    pub fn json(&self, line: &str) -> Result<Value> {
        self.ctl(&format!("{line} -o json"))?.succeeded()?.json()
    }

    /// Runs a verb that changes one service.
    pub fn change(&self, line: &str) -> Result<Change> {
        Change::from_json(&self.json(line)?)
    }

    /// `splitterctl apply -f -`, which must succeed.
    pub fn apply(&self, service: &Service) -> Result<Answer> {
        self.apply_yaml(&service.to_yaml())?.succeeded()
    }

    /// `splitterctl apply -f -` with any text.
    pub fn apply_yaml(&self, yaml: &str) -> Result<Answer> {
        Answer::with_input(self.ctl_command(&["apply", "-f", "-"]), yaml)
    }

    /// `get services NAME -o json`.
    pub fn service(&self, name: &str) -> Result<Value> {
        self.json(&format!("get services {name}"))
    }

    /// The metrics, as Prometheus reads them from the default address.
    pub fn metrics(&self) -> Result<String> {
        self.balancer.enter(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", 9901))?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: metrics\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })
    }

    /// A connection to the metrics with the beginning of a request on it.
    pub fn begin_scrape(&self) -> Result<TcpStream> {
        self.balancer.enter(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", 9901))?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost:")?;
            Ok(stream)
        })
    }

    /// How many packets have met the verdict with this reason, as the metrics say it.
    pub fn verdicts(&self, reason: &str) -> Result<u64> {
        let metrics = self.metrics()?;
        let label = format!("reason=\"{reason}\"");
        counts(&metrics, &label)
            .next()
            .map(|(_, count)| count)
            .with_context(|| format!("the metrics have no verdicts with {label}:\n{metrics}"))
    }

    /// The lines of the metrics that count dropped packets, of those reasons that have any.
    pub fn drops(&self) -> Result<Vec<String>> {
        Ok(met(&self.metrics()?, "verdict=\"drop\""))
    }

    /// The lines of the metrics that count packets by verdict, of those reasons that have any.
    pub fn all_verdicts(&self) -> Result<Vec<String>> {
        Ok(met(&self.metrics()?, ""))
    }

    /// The number of pinned flows of a track, as `get services` says it (at most a second old).
    pub fn flows_of(&self, service: &str, track: &str) -> Result<u64> {
        let service = self.service(service)?;
        let tracks = service["tracks"]
            .as_array()
            .context("a service without tracks")?;
        let track = tracks
            .iter()
            .find(|one| one["name"] == track)
            .context("no such track")?;
        track["flows"]
            .as_u64()
            .context("a track without a number of flows")
    }
}

/// Lets everybody look into a directory.
pub fn open_to_all(directory: &Path) -> Result<()> {
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory, mode)
        .with_context(|| format!("cannot open {} to all", directory.display()))
}

/// The lines of verdicts with `label` that some packet has met.
fn met(metrics: &str, label: &str) -> Vec<String> {
    counts(metrics, label)
        .filter(|(_, count)| *count > 0)
        .map(|(line, _)| line.to_owned())
        .collect()
}

/// The lines of verdicts with `label`, and their counts.
fn counts<'a>(metrics: &'a str, label: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
    metrics
        .lines()
        .filter(move |line| line.starts_with("splitter_verdicts_total{") && line.contains(label))
        .filter_map(|line| Some((line, line.rsplit(' ').next()?.parse().ok()?)))
}

//! The binaries at work on a backend's host, without an agent: `splitterd decap` and
//! `splitterctl backend-setup`.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::agent::{Answer, binary};
use crate::cleanup::{Debt, Owed};
use crate::hosts::{VIP_V4, VIP_V6};
use crate::namespace::Namespace;
use crate::process::ChildGuard;
use crate::scratch::Scratch;

/// A host with a bpffs and a record of changes of its own; both go with this guard, pins and all.
#[derive(Debug)]
pub struct BackendHost {
    host: Namespace,
    _bpffs: Owed,
    scratch: Scratch,
}

impl BackendHost {
    /// Makes the directories. The bpffs is mounted by the binaries themselves.
    pub fn new(host: &Namespace) -> Result<Self> {
        let scratch = Scratch::new("backend")?;
        std::fs::create_dir(scratch.join("bpffs")).context("cannot make a directory")?;
        Ok(Self {
            host: host.clone(),
            _bpffs: Owed::new(Debt::Mount(scratch.join("bpffs"))),
            scratch,
        })
    }

    /// A host that takes packets for the lab's VIPs, which come in by `eth0`, out of their tunnels.
    pub fn decapsulating(host: &Namespace) -> Result<Self> {
        let host = Self::new(host)?;
        host.decap(&format!("--once --interface eth0 --vip {VIP_V4},{VIP_V6}"))?
            .succeeded()
            .context("cannot attach the decapsulator")?;
        Ok(host)
    }

    /// The host itself.
    #[must_use]
    pub const fn host(&self) -> &Namespace {
        &self.host
    }

    /// Runs `splitterd decap LINE`, words parted by spaces.
    pub fn decap(&self, line: &str) -> Result<Answer> {
        Answer::of(self.decap_command(line))
    }

    /// Starts `splitterd decap LINE` and leaves it running.
    pub fn spawn_decap(&self, line: &str) -> Result<ChildGuard> {
        ChildGuard::spawn(self.decap_command(line))
    }

    fn decap_command(&self, line: &str) -> Command {
        let mut command = self.host.command(binary("splitterd"));
        command.arg("decap").args(line.split_whitespace());
        command.arg("--bpffs").arg(self.scratch.join("bpffs"));
        command.env_remove("NOTIFY_SOCKET");
        command
    }

    /// `splitterd decap --status --json`.
    pub fn status(&self) -> Result<Value> {
        self.decap("--status --json")?.json()
    }

    /// Frames that were counted under `reason`.
    pub fn counted(&self, reason: &str) -> Result<u64> {
        self.status()?["frames"][reason]
            .as_u64()
            .with_context(|| format!("no counter {reason}"))
    }

    /// Runs `splitterctl backend-setup LINE`.
    pub fn setup(&self, line: &str) -> Result<Answer> {
        let mut command = self.host.command(binary("splitterctl"));
        command.arg("backend-setup").args(line.split_whitespace());
        command.arg("--bpffs").arg(self.scratch.join("bpffs"));
        command
            .arg("--record")
            .arg(self.scratch.join("record.json"));
        Answer::of(command)
    }

    /// The steps of `splitterctl backend-setup LINE -o json`: what each is about, and its state.
    pub fn steps(&self, line: &str) -> Result<Vec<(String, String)>> {
        let answer = self.setup(&format!("{line} -o json"))?.json()?;
        let steps = answer["steps"].as_array().context("no steps")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(steps
            .iter()
            .map(|step| (text(&step["what"]), text(&step["state"])))
            .collect())
    }
}

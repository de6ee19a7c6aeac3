//! `splitterctl backend-setup` on a backend's host.

use anyhow::{Context, Result};

use crate::agent::{Answer, binary};
use crate::cleanup::{Debt, Owed};
use crate::hosts::{VIP_V4, VIP_V6};
use crate::mode::Mode;
use crate::namespace::Namespace;
use crate::scratch::Scratch;

/// What was set up on a host, with its record; a decapsulator goes with this guard.
#[derive(Debug)]
pub struct BackendSetup {
    host: Namespace,
    mode: Mode,
    _bpffs: Owed,
    scratch: Scratch,
}

impl BackendSetup {
    /// Lets `host` be a backend of `mode` for both VIPs, with packets of balancers coming in by `eth0`.
    pub fn apply(host: &Namespace, mode: Mode) -> Result<Self> {
        let scratch = Scratch::new("setup")?;
        std::fs::create_dir(scratch.join("bpffs"))?;
        let setup = Self {
            host: host.clone(),
            mode,
            _bpffs: Owed::new(Debt::Mount(scratch.join("bpffs"))),
            scratch,
        };
        setup
            .run(&["--apply"])?
            .succeeded()
            .with_context(|| format!("cannot set up a backend of {}", mode.name()))?;
        Ok(setup)
    }

    /// Runs it once more, with other arguments than `--apply`.
    pub fn run(&self, arguments: &[&str]) -> Result<Answer> {
        let mut command = self.host.command(binary("splitterctl"));
        command.arg("backend-setup");
        command.arg("--record").arg(self.scratch.join("record"));
        if !arguments.contains(&"--undo") {
            command.args(["--mode", self.mode.name(), "--interface", "eth0", "--vip"]);
            command.arg(format!("{VIP_V4},{VIP_V6}"));
            command.arg("--bpffs").arg(self.scratch.join("bpffs"));
        }
        command.args(arguments);
        Answer::of(command)
    }
}

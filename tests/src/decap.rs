//! The other end of mode `ipip`: `splitterd decap` on the backends' host.

use anyhow::{Context, Result};

use crate::agent::{Answer, binary};
use crate::cleanup::{Debt, Owed};
use crate::hosts::{VIP_V4, VIP_V6};
use crate::namespace::Namespace;
use crate::scratch::Scratch;

/// An attached decapsulator; gone with this guard.
#[derive(Debug)]
pub struct Decap {
    _bpffs: Owed,
    _scratch: Scratch,
}

impl Decap {
    /// Attaches it to a backend's interface towards the balancer, for both VIPs.
    pub fn attach(backend: &Namespace) -> Result<Self> {
        let scratch = Scratch::new("decap")?;
        let bpffs = scratch.join("bpffs");
        std::fs::create_dir(&bpffs)?;
        let owed = Owed::new(Debt::Mount(bpffs.clone()));
        let mut command = backend.command(binary("splitterd"));
        command.args(["decap", "--once", "--interface", "eth0", "--vip"]);
        command.arg(format!("{VIP_V4},{VIP_V6}"));
        command.arg("--bpffs").arg(&bpffs);
        Answer::of(command)?
            .succeeded()
            .context("cannot attach the decapsulator")?;
        Ok(Self {
            _bpffs: owed,
            _scratch: scratch,
        })
    }
}

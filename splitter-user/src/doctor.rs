//! What `doctor` finds on this host: what is fine, what is not, and the command that mends it. Changes nothing.

mod forwarding;
mod links;
mod machine;
#[cfg(test)]
mod tests;
mod vips;
mod vlans;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::api::types::Finding;
use crate::interface::{self, Address, Interface};

impl Finding {
    fn good(check: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            ok: true,
            message: message.into(),
            fix: None,
        }
    }

    fn bad(check: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            ok: false,
            ..Self::good(check, message)
        }
    }

    fn fix(self, command: impl Into<String>) -> Self {
        Self {
            fix: Some(command.into()),
            ..self
        }
    }
}

/// What the configuration and the services ask of this host.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The interfaces that the program is, or will be, attached to.
    pub interfaces: Vec<String>,
    /// The VIPs of all listeners.
    pub vips: Vec<IpAddr>,
    /// The addresses that clients are translated to, as configured.
    pub nat: Vec<IpAddr>,
    /// Where the pins live.
    pub bpffs: PathBuf,
}

impl Default for Inputs {
    /// For a host without a configuration.
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            vips: Vec::new(),
            nat: Vec::new(),
            bpffs: PathBuf::from("/sys/fs/bpf"),
        }
    }
}

/// Looks at everything that can be seen without an agent. Blocks while it asks the kernel.
pub fn local_findings(inputs: &Inputs) -> Vec<Finding> {
    let mut findings = machine::findings(&inputs.bpffs);
    let (links, addresses) = match seen() {
        Ok(seen) => seen,
        Err(error) => {
            findings.push(Finding::bad("interfaces", error.to_string()));
            return findings;
        }
    };
    let (attached, unusable) = links::find(&inputs.interfaces);
    findings.extend(unusable);
    findings.extend(links::findings(&attached, &links));
    findings.extend(vlans::findings(&attached, &links));
    findings.extend(forwarding::findings(&attached, &inputs.vips));
    findings.extend(
        inputs
            .vips
            .iter()
            .map(|vip| vips::finding(vips::Asked::Vip(*vip), &attached, &links, &addresses)),
    );
    findings.extend(
        inputs
            .nat
            .iter()
            .map(|nat| vips::finding(vips::Asked::Nat(*nat), &attached, &links, &addresses)),
    );
    findings
}

fn seen() -> Result<(Vec<Interface>, Vec<Address>), interface::InterfaceError> {
    Ok((interface::list()?, interface::addresses()?))
}

/// A number under `/proc/sys/net` of this thread's network namespace.
fn setting(name: &str) -> Option<i64> {
    fs::read_to_string(Path::new("/proc/sys/net").join(name))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// An interface's number under `/proc/sys/net`; a dot in its name is no end of it here.
fn interface_setting(family: &str, interface: &str, name: &str) -> Option<i64> {
    setting(&format!("{family}/conf/{interface}/{name}"))
}

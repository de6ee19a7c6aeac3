//! The agent's configuration, `splitterd.toml`.
//!
//! Unknown keys are refused, defaults are filled in, and everything that is wrong is reported at
//! once. [`Config::from_path`] is the only function of the pure core that reads a file.

mod check;
mod forwarding;
mod read;
mod roles;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostics, Report};
pub use forwarding::{Nat, Tunnel};
use read::Table;
pub use roles::{Holder, Role, Roles};

/// What the agent needs to know before it starts; checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Interfaces that XDP is attached to; at least one.
    pub interfaces: Vec<String>,
    /// How it is attached.
    pub xdp_mode: XdpMode,
    /// The instance; a safe file name.
    pub name: String,
    /// The API's unix socket.
    pub socket: PathBuf,
    /// Desired state, history and secret.
    pub state_dir: PathBuf,
    /// Where the BPF file system is mounted, or is to be.
    pub bpffs: PathBuf,
    /// Resource files that are applied at start; the folder need not exist.
    pub resources: PathBuf,
    /// Metrics.
    pub metrics: Metrics,
    /// Sizes.
    pub limits: Limits,
    /// What clients are translated to, in mode `fullnat`.
    pub nat: Nat,
    /// Where outer source addresses are taken from, in mode `ipip`.
    pub tunnel: Tunnel,
    /// Who may do how much over the socket.
    pub roles: Roles,
}

/// How XDP is attached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver, or not at all.
    #[default]
    Native,
    /// In the stack, slowly.
    Generic,
    /// In the driver, else loudly in the stack.
    Auto,
}

impl std::fmt::Display for XdpMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Auto => "auto",
        })
    }
}

/// The `[metrics]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Where metrics are served.
    pub listen: SocketAddr,
}

/// The `[limits]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most services.
    pub services: u32,
    /// Most backends of all services.
    pub backends: u32,
    /// Most flows.
    pub flows: u32,
    /// Most new flows that each CPU pins in a second; 0: as many as come.
    pub new_flows_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 256,
            backends: 4_096,
            flows: 1_000_000,
            new_flows_per_second: 0,
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {}: {source}; name a readable file with --config", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What it says cannot be used.
    #[error(transparent)]
    Invalid(#[from] Diagnostics),
}

impl Config {
    /// Reads and checks a file.
    pub fn from_path(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::parse(&text, &path.display().to_string())?)
    }

    /// Checks a text; `origin` names it in messages.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Diagnostics> {
        let mut report = Report::new(origin, text);
        let config = match read::parse(text, &mut report) {
            Some(root) => Self::read(&root, &mut report),
            None => Self::of_instance("splitter".to_owned()),
        };
        report.finish(config)
    }

    /// What can be used but is hardly meant, for people.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.tunnel.warnings()
    }

    /// The defaults of an instance; without interfaces.
    fn of_instance(name: String) -> Self {
        Self {
            interfaces: Vec::new(),
            xdp_mode: XdpMode::Native,
            socket: Path::new("/run").join(&name).join("splitterd.sock"),
            state_dir: Path::new("/var/lib").join(&name),
            bpffs: PathBuf::from("/sys/fs/bpf"),
            resources: PathBuf::from("/etc/splitter/resources.d"),
            metrics: Metrics {
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9_901)),
            },
            limits: Limits::default(),
            nat: Nat::default(),
            tunnel: Tunnel::default(),
            roles: Roles::default(),
            name,
        }
    }

    fn read(root: &Table<'_>, report: &mut Report<'_>) -> Self {
        root.only(
            &[
                "interfaces",
                "xdp_mode",
                "name",
                "socket",
                "state_dir",
                "bpffs",
                "resources",
                "metrics",
                "limits",
                "nat",
                "tunnel",
                "roles",
            ],
            &[],
            report,
        );
        let name = check::name(root, report).unwrap_or_else(|| "splitter".to_owned());
        let mut config = Self::of_instance(name);
        config.interfaces = check::interfaces(root, report);
        if let Some(mode) = check::xdp_mode(root, report) {
            config.xdp_mode = mode;
        }
        for (key, path) in [
            ("socket", &mut config.socket),
            ("state_dir", &mut config.state_dir),
            ("bpffs", &mut config.bpffs),
            ("resources", &mut config.resources),
        ] {
            if let Some(given) = check::path(root, key, &config.name, report) {
                *path = given;
            }
        }
        check::socket_length(&config.socket, root, report);
        if let Some(metrics) = root.table("metrics", report) {
            metrics.only(&["listen"], &[], report);
            if let Some(listen) = check::listen(&metrics, report) {
                config.metrics.listen = listen;
            }
        }
        if let Some(limits) = root.table("limits", report) {
            check::limits(&limits, &mut config.limits, report);
        }
        if let Some(nat) = root.table("nat", report) {
            forwarding::nat(&nat, &mut config.nat, report);
        }
        if let Some(tunnel) = root.table("tunnel", report) {
            forwarding::tunnel(&tunnel, &mut config.tunnel, report);
        }
        if let Some(roles) = root.table("roles", report) {
            config.roles = roles::roles(&roles, report);
        }
        config
    }
}

#[cfg(test)]
mod tests;

//! How packets get to backends, and what happens to those that none can take.

use std::fmt;

use serde::{Deserialize, Serialize};
use splitter_ebpf::abi;

/// How packets of a service get to its backends.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Destination translated; answers return through this host.
    #[default]
    Dnat,
    /// Source translated too; answers return to an address of this host.
    #[serde(rename = "fullnat")]
    FullNat,
    /// MAC addresses alone are changed; the backend has the VIP and answers by itself.
    DsrL2,
    /// Carried inside another IP packet; the backend has the VIP and answers by itself.
    Ipip,
}

impl Mode {
    /// Every mode, with its name in resources.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("dnat", Self::Dnat),
        ("fullnat", Self::FullNat),
        ("dsr-l2", Self::DsrL2),
        ("ipip", Self::Ipip),
    ];

    /// As resources, JSON and tables write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dnat => "dnat",
            Self::FullNat => "fullnat",
            Self::DsrL2 => "dsr-l2",
            Self::Ipip => "ipip",
        }
    }

    /// Whether answers do not come through this host: what the client dialled is what the backend gets.
    #[must_use]
    pub const fn is_one_way(self) -> bool {
        match self {
            Self::Dnat | Self::FullNat => false,
            Self::DsrL2 | Self::Ipip => true,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<Mode> for abi::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Dnat => Self::Dnat,
            Mode::FullNat => Self::FullNat,
            Mode::DsrL2 => Self::DsrL2,
            Mode::Ipip => Self::Ipip,
        }
    }
}

/// What a new flow gets when no backend can take it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoBackend {
    /// Nothing.
    #[default]
    Drop,
    /// TCP: a RST. UDP: an ICMP error.
    Reset,
    /// An ICMP error: port unreachable.
    Unreachable,
}

impl NoBackend {
    /// All of it, with the names in resources.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("drop", Self::Drop),
        ("reset", Self::Reset),
        ("unreachable", Self::Unreachable),
    ];

    /// As resources and tables write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Reset => "reset",
            Self::Unreachable => "unreachable",
        }
    }
}

impl fmt::Display for NoBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<NoBackend> for abi::NoBackend {
    fn from(no_backend: NoBackend) -> Self {
        match no_backend {
            NoBackend::Drop => Self::Drop,
            NoBackend::Reset => Self::Reset,
            NoBackend::Unreachable => Self::Unreachable,
        }
    }
}

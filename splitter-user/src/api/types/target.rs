use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What set-weight, cutover and undo act on: `web`, or `release/shop` for all services of a release.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Target {
    /// One service.
    Service(String),
    /// All services that name this release.
    Release(String),
}

/// Text that names neither a service, a release, a track nor a backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Empty, or with a slash that is not `release/`.
    #[error(
        "{0:?} names no service: write a service's name, or release/NAME for all services of a release"
    )]
    Target(String),
    /// Neither a track's name nor an address with a port.
    #[error("{0:?} names no track and no backend: write a track's name, ADDR:PORT or [V6]:PORT")]
    Drain(String),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let refused = || TargetError::Target(text.to_owned());
        let (release, name) = match text.split_once('/') {
            Some(("release", name)) => (true, name),
            Some(_) => return Err(refused()),
            None => (false, text),
        };
        if name.is_empty() || name.contains('/') {
            return Err(refused());
        }
        Ok(if release {
            Self::Release(name.to_owned())
        } else {
            Self::Service(name.to_owned())
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => f.write_str(name),
            Self::Release(name) => write!(f, "release/{name}"),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

/// What drain and ready act on: a track by name, or a backend as `ADDR:PORT` or `[V6]:PORT`.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum DrainTarget {
    /// A whole track.
    Track(String),
    /// One backend.
    Backend {
        /// Its address.
        address: IpAddr,
        /// Its port.
        port: u16,
    },
}

impl FromStr for DrainTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(Self::Backend {
                address: socket.ip(),
                port: socket.port(),
            });
        }
        if text.is_empty() || text.parse::<IpAddr>().is_ok() || text.contains([':', '/', '[', ']'])
        {
            return Err(TargetError::Drain(text.to_owned()));
        }
        Ok(Self::Track(text.to_owned()))
    }
}

impl fmt::Display for DrainTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Track(name) => f.write_str(name),
            Self::Backend { address, port } => SocketAddr::new(*address, *port).fmt(f),
        }
    }
}

impl TryFrom<String> for DrainTarget {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl From<DrainTarget> for String {
    fn from(what: DrainTarget) -> Self {
        what.to_string()
    }
}

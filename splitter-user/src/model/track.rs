//! Tracks and their backends.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Endpoint, Family, Listener, Weight};

/// One real endpoint of a track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Its address.
    pub address: IpAddr,
    /// Its port; `None` is the listener's.
    pub port: Option<u16>,
    /// Its weight inside the track, from 1.
    pub weight: u32,
}

impl Backend {
    /// The family of its address.
    pub const fn family(&self) -> Family {
        Family::of(self.address)
    }

    /// The port that serves a listener of that port.
    pub fn endpoint_port(&self, listener_port: u16) -> u16 {
        self.port.unwrap_or(listener_port)
    }

    /// The endpoint that serves a listener; `None` if the listener is of the other family.
    pub fn endpoint_for(&self, listener: &Listener) -> Option<Endpoint> {
        (self.family() == listener.family()).then(|| Endpoint {
            address: self.address,
            port: self.endpoint_port(listener.port),
            protocol: listener.protocol,
        })
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

/// How the weight of a backend that has just become ready grows to what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SlowStart {
    /// From ready to its whole weight.
    pub duration: Duration,
    /// How it gets there.
    pub curve: Curve,
}

/// The way of a slow start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Curve {
    /// By the same amount in the same time.
    #[default]
    Linear,
}

impl Curve {
    /// Every curve, with its name in resources.
    pub const NAMES: [(&'static str, Self); 1] = [("linear", Self::Linear)];
}

/// A named set of backends that run one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// Its name, unique in the service.
    pub name: String,
    /// What runs there, for people.
    pub version: Option<String>,
    /// Its share of new flows; `None` keeps the one in force.
    pub weight: Option<Weight>,
    /// How backends that become ready come in; `None`: at once.
    #[serde(default)]
    pub slow_start: Option<SlowStart>,
    /// Its backends.
    pub backends: Vec<Backend>,
}

impl Track {
    /// The families it has a backend of.
    pub fn families(&self) -> BTreeSet<Family> {
        self.backends.iter().map(Backend::family).collect()
    }
}

//! A service: listeners, tracks, and how its flows are dealt and kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Family, Listener, Mode, NoBackend, Preview, Route, Track, Weight};

/// What the split hash covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AffinityKey {
    /// The 5-tuple: every flow is dealt for itself.
    #[default]
    Flow,
    /// The client's address, masked to the prefix: a client keeps its track.
    #[serde(rename = "clientIP")]
    ClientIp,
}

impl AffinityKey {
    /// As resources and JSON write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::ClientIp => "clientIP",
        }
    }
}

/// What fixes the track of a new flow, and the backend within it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affinity {
    /// What is hashed for the track.
    pub key: AffinityKey,
    /// What is hashed for the backend within the track.
    #[serde(default)]
    pub backend: AffinityKey,
    /// Leading bits of an IPv4 client address that count, 0 to 32.
    pub prefix_v4: u8,
    /// Leading bits of an IPv6 client address that count, 0 to 128.
    pub prefix_v6: u8,
    /// Another salt deals the clients anew. Without one it is the release's name, else the service's.
    pub salt: Option<String>,
}

impl Affinity {
    /// Whether both hash the same of a client, whatever salt is written.
    #[must_use]
    pub fn covers_like(&self, other: &Self) -> bool {
        let covered = |one: &Self| (one.key, one.backend, one.prefix_v4, one.prefix_v6);
        covered(self) == covered(other)
    }
}

impl Default for Affinity {
    fn default() -> Self {
        Self {
            key: AffinityKey::Flow,
            backend: AffinityKey::Flow,
            prefix_v4: 32,
            prefix_v6: 64,
            salt: None,
        }
    }
}

/// How long a flow may be silent before its pin goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowTimes {
    /// Established TCP.
    pub tcp_idle: Duration,
    /// Established UDP.
    pub udp_idle: Duration,
    /// Not yet established.
    pub unconfirmed: Duration,
    /// After FIN or RST.
    pub closing: Duration,
}

impl Default for FlowTimes {
    fn default() -> Self {
        Self {
            tcp_idle: Duration::from_secs(3_600),
            udp_idle: Duration::from_secs(60),
            unconfirmed: Duration::from_secs(30),
            closing: Duration::from_secs(30),
        }
    }
}

/// What becomes of the flows that outlive a drain's deadline.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum OnTimeout {
    /// They go on, and the drain is said to have timed out.
    #[default]
    Keep,
    /// They are reset: both ends are told.
    Reset,
    /// Their pins are freed: the next packet of each is split anew.
    Resteer,
}

impl OnTimeout {
    /// All of it, with the names in resources.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("keep", Self::Keep),
        ("reset", Self::Reset),
        ("resteer", Self::Resteer),
    ];

    /// As resources and the command line write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Reset => "reset",
            Self::Resteer => "resteer",
        }
    }
}

/// What bounds a drain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainPolicy {
    /// The deadline.
    pub timeout: Duration,
    /// What becomes of flows that outlive it.
    #[serde(default)]
    pub on_timeout: OnTimeout,
    /// The time over which flows are closed that are not kept, evenly; 0: at once.
    #[serde(default)]
    pub close_spread: Duration,
}

impl Default for DrainPolicy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(1_800),
            on_timeout: OnTimeout::Keep,
            close_spread: Duration::ZERO,
        }
    }
}

/// A named set of listeners that is split as one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name, unique on the host.
    pub name: String,
    /// Labels, for people and their tools.
    pub labels: BTreeMap<String, String>,
    /// What clients dial.
    pub listeners: Vec<Listener>,
    /// How packets get to its backends.
    #[serde(default)]
    pub mode: Mode,
    /// The release it belongs to, if any.
    pub release: Option<String>,
    /// What fixes a flow's track.
    pub affinity: Affinity,
    /// Its tracks.
    pub tracks: Vec<Track>,
    /// The track that takes new flows when theirs has no backend that may take them.
    #[serde(default)]
    pub fallback: Option<String>,
    /// What a new flow gets when no backend can take it.
    #[serde(default)]
    pub no_backend: NoBackend,
    /// A listener that leads to one track, whatever the weights.
    #[serde(default)]
    pub preview: Option<Preview>,
    /// Ways before the weights; the first that matches wins.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Times of its flows.
    pub flows: FlowTimes,
    /// Its drain policy.
    pub drain: DrainPolicy,
}

impl Service {
    /// The track of that name.
    pub fn track(&self, name: &str) -> Option<&Track> {
        self.tracks.iter().find(|track| track.name == name)
    }

    /// Everything that clients and testers dial: its listeners, and the preview.
    pub fn dialled(&self) -> impl Iterator<Item = &Listener> {
        let preview = self.preview.iter().map(|preview| &preview.listener);
        self.listeners.iter().chain(preview)
    }

    /// The families its listeners have; the preview's is not asked for.
    pub fn families_of_listeners(&self) -> BTreeSet<Family> {
        self.listeners.iter().map(Listener::family).collect()
    }

    /// The families of listeners that this track has no backend for: it may take no new flows
    /// while there are any.
    pub fn families_without_backend(&self, track: &Track) -> BTreeSet<Family> {
        let served = track.families();
        self.families_of_listeners()
            .into_iter()
            .filter(|family| !served.contains(family))
            .collect()
    }

    /// The salt of the split hash: its own, else the release's name, else the service's, so that
    /// a client meets one version in all services of a release.
    pub fn salt(&self) -> &str {
        self.affinity
            .salt
            .as_deref()
            .or(self.release.as_deref())
            .unwrap_or(&self.name)
    }

    /// The weights by track, in the order of the tracks; `None` if any track has none.
    pub fn weights(&self) -> Option<Vec<(String, Weight)>> {
        self.tracks
            .iter()
            .map(|track| Some((track.name.clone(), track.weight?)))
            .collect()
    }

    /// The same service with these weights; tracks that are not named keep theirs.
    #[must_use]
    pub fn with_weights(mut self, weights: &[(String, Weight)]) -> Self {
        for track in &mut self.tracks {
            if let Some((_, weight)) = weights.iter().find(|(name, _)| *name == track.name) {
                track.weight = Some(*weight);
            }
        }
        self
    }
}

//! Ways around the weights: routes for clients that are known, the preview.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Family, Listener};

/// A rule that leads clients to a track, whatever the weights. Of several the first that matches wins.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    /// It matches clients in any of these networks; not empty.
    pub sources: Vec<IpNet>,
    /// Where their new flows go.
    pub track: String,
    /// Why, for people.
    pub reason: Option<String>,
}

impl Route {
    /// Whether it matches a client.
    pub fn matches(&self, client: std::net::IpAddr) -> bool {
        self.sources.iter().any(|source| source.contains(&client))
    }
}

/// A listener that always leads to one track, to try it before anyone else meets it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Preview {
    /// What testers dial.
    pub listener: Listener,
    /// Where it leads.
    pub track: String,
}

/// The family of a network's addresses.
pub const fn family_of(source: &IpNet) -> Family {
    match source {
        IpNet::V4(_) => Family::V4,
        IpNet::V6(_) => Family::V6,
    }
}

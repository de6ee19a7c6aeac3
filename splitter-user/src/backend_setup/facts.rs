//! The host as it is.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::decap::Rules;
use crate::interface::Address;

/// All that a plan looks at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The interfaces.
    pub links: Vec<Link>,
    /// Their addresses.
    pub addresses: Vec<Address>,
    /// Settings below `net.ipv4.conf`, by the names that sysctl(8) takes.
    pub settings: BTreeMap<String, i64>,
    /// Unicast routes of the main table.
    pub routes: Vec<Route>,
    /// The decapsulator that is attached.
    pub decapsulator: Option<Decapsulator>,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Octets that one packet may have.
    pub mtu: u32,
    /// The loopback interface.
    pub loopback: bool,
}

/// The decapsulator that is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decapsulator {
    /// What it goes by.
    pub rules: Rules,
    /// Where it is.
    pub interfaces: Vec<String>,
    /// Whether a process looks after it.
    pub running: bool,
}

/// A route, with all that it takes to write it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where it leads.
    pub destination: IpNet,
    /// The router.
    pub via: Option<IpAddr>,
    /// The interface.
    pub device: String,
    /// Who made it, as the kernel numbers them.
    pub protocol: u8,
    /// How far it goes, as the kernel numbers that.
    pub scope: u8,
    /// The address to send from.
    pub source: Option<IpAddr>,
    /// Which of several: the lowest.
    pub priority: Option<u32>,
    /// The router is reached although no route says so.
    pub onlink: bool,
    /// Metrics, by the names that ip(8) takes.
    pub metrics: BTreeMap<String, u32>,
    /// What keeps it from being written again, if anything does.
    pub odd: Option<String>,
}

/// `RT_SCOPE_LINK` (include/uapi/linux/rtnetlink.h).
const SCOPE_LINK: u8 = 253;

impl Route {
    /// The largest segment that is announced to hosts behind it, if it says.
    #[must_use]
    pub fn advmss(&self) -> Option<u32> {
        self.metrics.get("advmss").copied()
    }

    /// Its description, as ip(8) takes it.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let destination = if self.destination.prefix_len() == 0 {
            "default".to_owned()
        } else {
            self.destination.to_string()
        };
        let mut words = vec![destination];
        let mut add = |name: &str, value: Option<String>| {
            words.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
        };
        add("via", self.via.map(|via| via.to_string()));
        add("dev", Some(self.device.clone()));
        add("proto", Some(protocol(self.protocol)));
        let scope = match (self.destination, self.scope) {
            (IpNet::V4(_), SCOPE_LINK) => Some("link".to_owned()),
            (IpNet::V4(_), 0) => Some("global".to_owned()),
            (IpNet::V4(_), other) => Some(other.to_string()),
            (IpNet::V6(_), _) => None,
        };
        add("scope", scope);
        add("src", self.source.map(|source| source.to_string()));
        add("metric", self.priority.map(|priority| priority.to_string()));
        for (name, value) in &self.metrics {
            add(name, Some(value.to_string()));
        }
        if self.onlink {
            words.push("onlink".to_owned());
        }
        words
    }
}

/// `RTPROT_*`: names for those that every ip(8) knows.
fn protocol(number: u8) -> String {
    match number {
        2 => "kernel".to_owned(),
        3 => "boot".to_owned(),
        4 => "static".to_owned(),
        9 => "ra".to_owned(),
        16 => "dhcp".to_owned(),
        other => other.to_string(),
    }
}

/// The name of a setting below `net.ipv4.conf`. sysctl(8) wants the dots of an interface's name as
/// slashes.
#[must_use]
pub fn setting_of(interface: &str, name: &str) -> String {
    format!("net.ipv4.conf.{}.{name}", interface.replace('.', "/"))
}

impl Facts {
    /// The interface of that name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The loopback's name.
    #[must_use]
    pub fn loopback(&self) -> &str {
        let loopback = self.links.iter().find(|link| link.loopback);
        loopback.map_or("lo", |link| &link.name)
    }

    /// A setting of an interface, or of `all`.
    #[must_use]
    pub fn setting(&self, interface: &str, name: &str) -> i64 {
        let of = |interface: &str| self.settings.get(&setting_of(interface, name)).copied();
        of(interface).or_else(|| of("default")).unwrap_or(0)
    }

    /// The routes that packets to all of `net` go by: of the longest prefix that covers it, each of its
    /// priorities.
    #[must_use]
    pub fn routes_to(&self, net: IpNet) -> Vec<&Route> {
        let covers = |route: &&Route| route.destination.contains(&net);
        let longest = self
            .routes
            .iter()
            .filter(covers)
            .map(|route| route.destination.prefix_len())
            .max();
        self.routes
            .iter()
            .filter(covers)
            .filter(|route| Some(route.destination.prefix_len()) == longest)
            .collect()
    }

    /// Where `address` is, by interface.
    pub fn places_of(&self, address: IpAddr) -> impl Iterator<Item = (&Link, u8)> {
        self.addresses
            .iter()
            .filter(move |found| found.address == address)
            .filter_map(|found| {
                let link = self.links.iter().find(|link| link.index == found.index)?;
                Some((link, found.prefix))
            })
    }
}

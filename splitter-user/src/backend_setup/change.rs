//! One change of the host: how it is made, and how it is taken back.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::facts::{Facts, Route};
use crate::decap::AttachMode;

/// One change. Each carries what it takes to turn it round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// A kernel parameter, by the name that sysctl(8) takes.
    Setting {
        /// The name.
        key: String,
        /// Its value before.
        from: i64,
        /// Its value after.
        to: i64,
    },
    /// An address of the loopback interface, alone in its prefix.
    Address {
        /// The loopback's name.
        interface: String,
        /// The address.
        address: IpAddr,
        /// Whether it is there after.
        present: bool,
    },
    /// A route of the main table.
    Route {
        /// As it is before.
        from: Box<Route>,
        /// As it is after.
        to: Box<Route>,
    },
    /// A tunnel device of the kernel.
    Tunnel {
        /// The device.
        tunnel: Tunnel,
        /// Whether it is there after.
        present: bool,
    },
    /// The decapsulator, attached without a process that looks after it.
    Decapsulator {
        /// Where packets of balancers come in.
        interface: String,
        /// What clients dial.
        vips: Vec<IpAddr>,
        /// Where tunnels may begin.
        sources: Vec<IpNet>,
        /// Where tunnels may end; none: all of this host's addresses but the VIPs.
        addresses: Vec<IpAddr>,
        /// How it is attached.
        mode: AttachMode,
        /// Where its pins live.
        bpffs: PathBuf,
        /// Its name.
        name: String,
        /// Whether it is attached after.
        present: bool,
    },
}

/// A tunnel device of the kernel: packets that arrive at `local` from anywhere are taken out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// Its name.
    pub name: String,
    /// Where its tunnels end.
    pub local: IpAddr,
}

/// A change, beside the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The host is as before it.
    Before,
    /// The host is as after it.
    After,
    /// Somebody has made it something else.
    Else(String),
}

impl Change {
    /// The change back.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let mut inverse = self.clone();
        match &mut inverse {
            Self::Setting { from, to, .. } => std::mem::swap(from, to),
            Self::Route { from, to } => std::mem::swap(from, to),
            Self::Address { present, .. }
            | Self::Tunnel { present, .. }
            | Self::Decapsulator { present, .. } => *present = !*present,
        }
        inverse
    }

    /// What it is about: changes of one thing agree in it.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Setting { key, .. } => key.clone(),
            Self::Address {
                interface, address, ..
            } => format!("{address} on {interface}"),
            Self::Route { to, .. } => {
                let which = to
                    .priority
                    .map_or(String::new(), |n| format!(", metric {n}"));
                format!(
                    "route {}{which}",
                    to.words().first().map_or("", String::as_str)
                )
            }
            Self::Tunnel { tunnel, .. } => format!("tunnel device {}", tunnel.name),
            Self::Decapsulator {
                interface, name, ..
            } => format!("decapsulator {name} on {interface}"),
        }
    }

    /// This change and an `older` one of the same subject, as one.
    #[must_use]
    pub fn since(self, older: &Self) -> Self {
        match (self, older) {
            (Self::Setting { key, to, .. }, Self::Setting { from, .. }) => Self::Setting {
                key,
                from: *from,
                to,
            },
            (Self::Route { to, .. }, Self::Route { from, .. }) => Self::Route {
                from: from.clone(),
                to,
            },
            (newer, _) => newer,
        }
    }

    /// What stands there before and after, for people.
    #[must_use]
    pub fn sides(&self) -> (String, String) {
        let there = |present: bool| if present { "there" } else { "not there" }.to_owned();
        match self {
            Self::Setting { from, to, .. } => (from.to_string(), to.to_string()),
            Self::Route { from, to } => {
                let advmss = |route: &Route| match route.advmss() {
                    Some(advmss) => format!("advmss {advmss}"),
                    None => "no advmss".to_owned(),
                };
                (advmss(from), advmss(to))
            }
            Self::Address { present, .. }
            | Self::Tunnel { present, .. }
            | Self::Decapsulator { present, .. } => (there(!present), there(*present)),
        }
    }

    /// Whether it has been made on a host.
    #[must_use]
    pub fn state(&self, facts: &Facts) -> State {
        let is = |now: bool, present: bool| {
            if now == present {
                State::After
            } else {
                State::Before
            }
        };
        match self {
            Self::Setting { key, from, to } => match facts.settings.get(key) {
                Some(now) if now == to => State::After,
                Some(now) if now == from => State::Before,
                Some(now) => State::Else(now.to_string()),
                // Its interface has gone, or is still to come.
                None => State::Else("not there".to_owned()),
            },
            Self::Address {
                interface,
                address,
                present,
            } => {
                let there = facts
                    .places_of(*address)
                    .any(|(link, _)| link.name == *interface);
                is(there, *present)
            }
            Self::Route { from, to } => {
                if facts.routes.contains(to) {
                    State::After
                } else if facts.routes.contains(from) {
                    State::Before
                } else {
                    State::Else("another route".to_owned())
                }
            }
            Self::Tunnel { tunnel, present } => is(facts.link(&tunnel.name).is_some(), *present),
            Self::Decapsulator {
                interface, present, ..
            } => {
                let attached = facts.decapsulator.as_ref();
                is(
                    attached.is_some_and(|found| found.interfaces.contains(interface)),
                    *present,
                )
            }
        }
    }

    /// The commands that make it, in order, each as its words.
    #[must_use]
    pub fn commands(&self) -> Vec<Vec<String>> {
        let line = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        match self {
            Self::Setting { key, to, .. } => vec![line(format!("sysctl -w {key}={to}"))],
            Self::Address {
                interface,
                address,
                present,
            } => {
                let verb = if *present { "add" } else { "del" };
                vec![line(match address {
                    IpAddr::V4(v4) => format!("ip addr {verb} {v4}/32 dev {interface}"),
                    // Deprecated from the start, so that no connection of this host is made from it.
                    IpAddr::V6(v6) if *present => {
                        format!("ip addr add {v6}/128 dev {interface} preferred_lft 0 nodad")
                    }
                    IpAddr::V6(v6) => format!("ip addr del {v6}/128 dev {interface}"),
                })]
            }
            Self::Route { to, .. } => {
                let family = match to.destination {
                    IpNet::V4(_) => "-4",
                    IpNet::V6(_) => "-6",
                };
                let mut words = line(format!("ip {family} route change"));
                words.extend(to.words());
                vec![words]
            }
            Self::Tunnel { tunnel, present } => {
                let Tunnel { name, local } = tunnel;
                let kind = match local {
                    IpAddr::V4(_) => "ipip",
                    IpAddr::V6(_) => "ip6tnl mode ip6ip6",
                };
                if *present {
                    let mut lines = vec![line(format!(
                        "ip link add {name} type {kind} local {local} remote any"
                    ))];
                    if let IpAddr::V4(local) = local {
                        // Loose reverse-path filtering is strict on an interface without an address
                        // (net/ipv4/fib_frontend.c, `last_resort`).
                        lines.push(line(format!("ip addr add {local}/32 dev {name}")));
                    }
                    lines.push(line(format!("ip link set {name} up")));
                    lines
                } else {
                    vec![line(format!("ip link del {name}"))]
                }
            }
            Self::Decapsulator {
                interface,
                vips,
                sources,
                addresses,
                mode,
                bpffs,
                name,
                present,
            } => {
                let own = format!("--bpffs {} --name {name}", bpffs.display());
                if !present {
                    return vec![line(format!("splitterd decap --detach {own}"))];
                }
                let mut text = format!(
                    "splitterd decap --once --interface {interface} --vip {} --source {}",
                    joined(vips),
                    joined(sources)
                );
                if !addresses.is_empty() {
                    text += &format!(" --address {}", joined(addresses));
                }
                vec![line(format!("{text} --mode {mode} {own}"))]
            }
        }
    }
}

/// Items parted by commas.
pub(super) fn joined<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(",")
}

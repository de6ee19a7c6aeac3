//! From the facts and what is wanted to what has to be done: pure.
//!
//! The order is that of doing: neighbours are silenced before the VIP is there, and packets are let in
//! before they are taken out of tunnels.

mod neighbours;
#[cfg(test)]
mod tests;
mod tunnel;
mod vips;
mod way_back;

use std::net::IpAddr;

use super::change::{Change, State};
use super::facts::{Facts, Link};
use super::wish::{Decapsulation, Mode, SetupError, Wish};

/// One thing that a backend needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is about.
    pub what: String,
    /// Why it is needed.
    pub why: String,
    /// What has to be done for it.
    pub need: Need,
}

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it is as it should be, namely so.
    Met(String),
    /// This change.
    Change(Change),
    /// Something that only a person can decide.
    Person(String),
}

impl Item {
    fn met(what: impl Into<String>, is: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            why: why.into(),
            need: Need::Met(is.into()),
        }
    }

    fn person(what: impl Into<String>, how: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            why: why.into(),
            need: Need::Person(how.into()),
        }
    }

    /// A change, unless the host is so already.
    fn change(change: Change, facts: &Facts, why: impl Into<String>) -> Self {
        let need = match change.state(facts) {
            State::After => Need::Met(change.sides().1),
            _ => Need::Change(change.clone()),
        };
        Self {
            what: change.subject(),
            why: why.into(),
            need,
        }
    }
}

/// What has to be done, in order, and what is as it should be.
///
/// # Errors
/// [`SetupError`]: the wish itself is wrong.
pub fn plan(wish: &Wish, facts: &Facts) -> Result<Vec<Item>, SetupError> {
    if let Some(vip) = wish.vips.iter().find(|vip| !is_unicast(**vip)) {
        return Err(SetupError::NotUnicast(*vip));
    }
    match wish.mode {
        Mode::Fullnat => Ok(vec![Item::met(
            "everything",
            "as it should be",
            "in mode fullnat a backend answers the balancer's own address: it needs nothing",
        )]),
        Mode::Dnat => way_back::through_balancer(wish, facts),
        Mode::DsrL2 | Mode::Ipip if wish.vips.is_empty() => Err(SetupError::NoVip(wish.mode)),
        Mode::DsrL2 | Mode::Ipip => directly(wish, facts),
    }
}

fn directly(wish: &Wish, facts: &Facts) -> Result<Vec<Item>, SetupError> {
    let ingress = ingress(wish, facts)?;
    let has_v4 = wish.vips.iter().any(IpAddr::is_ipv4);
    let mut items = Vec::new();
    if has_v4 {
        items.extend(neighbours::silence(facts));
    }
    items.extend(vips::on_loopback(wish, facts));
    if has_v4 {
        items.push(vips::source_check(ingress, facts));
    }
    if wish.mode == Mode::Ipip {
        items.extend(tunnel::advertised_segments(wish, ingress, facts)?);
        // Last: from here on packets arrive.
        items.extend(match wish.decapsulation {
            Decapsulation::Xdp => tunnel::decapsulator(wish, ingress, facts)?,
            Decapsulation::Kernel => tunnel::devices(wish, ingress, facts),
            Decapsulation::None => Vec::new(),
        });
    }
    Ok(items)
}

/// The interface that packets of balancers come in by.
fn ingress<'f>(wish: &Wish, facts: &'f Facts) -> Result<&'f Link, SetupError> {
    let name = match (&wish.interface, wish.balancer) {
        (Some(name), _) => name.clone(),
        (None, Some(balancer)) => device_towards(balancer.into(), facts)?,
        // The VIP itself may be on this host already: the way to everywhere is asked for.
        (None, None) => {
            let ways = wish.vips.iter().map(|vip| everywhere(*vip));
            ways.map(|net| device_towards(net, facts))
                .find(Result::is_ok)
                .unwrap_or(Err(SetupError::WhichInterface))?
        }
    };
    match facts.link(&name) {
        Some(link) if link.loopback => Err(SetupError::Loopback(name)),
        Some(link) => Ok(link),
        None => Err(SetupError::NoInterface {
            name,
            existing: facts.links.iter().map(|link| link.name.clone()).collect(),
        }),
    }
}

fn device_towards(net: ipnet::IpNet, facts: &Facts) -> Result<String, SetupError> {
    let routes = facts.routes_to(net);
    let device = routes.first().map(|route| route.device.clone());
    device.ok_or(SetupError::WhichInterface)
}

/// All addresses of the family of `address`.
fn everywhere(address: IpAddr) -> ipnet::IpNet {
    let unspecified = match address {
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    };
    ipnet::IpNet::new_assert(unspecified, 0)
}

fn is_unicast(address: IpAddr) -> bool {
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

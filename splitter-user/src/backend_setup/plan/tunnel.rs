//! What mode `ipip` needs besides the VIP: room for the outer header, and somebody to take it off.

use std::net::IpAddr;

use ipnet::IpNet;

use super::vips::loosened;
use super::{Item, everywhere};
use crate::backend_setup::change::{Change, Tunnel, joined};
use crate::backend_setup::facts::{Decapsulator, Facts, Link, Route};
use crate::backend_setup::wish::{SetupError, Wish};
use crate::decap::{Rules, RulesError, Unchecked};

/// Segments to announce on the ways back to clients: an MTU, less the outer header, less IP and TCP.
///
/// # Errors
/// [`SetupError::SmallMtu`].
pub(super) fn advertised_segments(
    wish: &Wish,
    ingress: &Link,
    facts: &Facts,
) -> Result<Vec<Item>, SetupError> {
    let mut items = Vec::new();
    for sample in [is_v4 as fn(&IpAddr) -> bool, IpAddr::is_ipv6] {
        let Some(vip) = wish.vips.iter().find(|vip| sample(vip)) else {
            continue;
        };
        let most = segment(wish.mtu.unwrap_or(ingress.mtu), *vip)?;
        let mut clients = wish.clients.clone();
        clients.retain(|net| sample(&net.addr()));
        if wish.clients.is_empty() {
            clients.push(everywhere(*vip));
        }
        for net in clients {
            items.extend(towards(net, most, facts));
        }
    }
    Ok(items)
}

fn is_v4(address: &IpAddr) -> bool {
    address.is_ipv4()
}

/// The largest segment that fits a tunnel for `vip` over a path of `mtu`.
fn segment(mtu: u32, vip: IpAddr) -> Result<u32, SetupError> {
    // Outer header, then IP and TCP without options; and the least MTU that IP itself asks for, with it
    // (RFC 791 section 3.2, RFC 8200 section 5).
    let (overhead, least) = match vip {
        IpAddr::V4(_) => (20 + 40, 576 + 20),
        IpAddr::V6(_) => (40 + 60, 1280 + 40),
    };
    if mtu < least {
        return Err(SetupError::SmallMtu { given: mtu, least });
    }
    Ok(mtu - overhead)
}

fn towards(clients: IpNet, most: u32, facts: &Facts) -> Vec<Item> {
    let why = format!(
        "the SYN-ACK announces at most {most} octets a segment, so that clients leave room for the outer header, and no \
         packet of theirs is too big for the tunnel"
    );
    let routes = facts.routes_to(clients);
    if routes.is_empty() {
        return vec![Item::person(
            format!("route to {clients}"),
            format!(
                "there is none in the main table: give the prefixes where clients are with --clients, or add `advmss {most}` \
                 to the route that answers take"
            ),
            why,
        )];
    }
    routes
        .into_iter()
        .map(|route| announce(route, most, facts, &why))
        .collect()
}

fn announce(route: &Route, most: u32, facts: &Facts, why: &str) -> Item {
    let mut after = route.clone();
    after.metrics.insert("advmss".to_owned(), most);
    let change = Change::Route {
        from: Box::new(route.clone()),
        to: Box::new(after),
    };
    match (route.advmss(), &route.odd) {
        (Some(now), _) if (1..=most).contains(&now) => {
            Item::met(change.subject(), format!("advmss {now}"), why)
        }
        (_, Some(odd)) => Item::person(
            change.subject(),
            format!("it {odd}, so it is yours to change: announce `advmss {most}` on it"),
            why,
        ),
        _ => Item::change(change, facts, why),
    }
}

/// The project's own decapsulator.
///
/// # Errors
/// [`SetupError::Rules`].
pub(super) fn decapsulator(
    wish: &Wish,
    ingress: &Link,
    facts: &Facts,
) -> Result<Vec<Item>, SetupError> {
    let rules = wanted_rules(wish, facts)?;
    let why = format!(
        "packets from {} to this host, with a VIP inside, are taken out of their tunnel before the stack sees them",
        joined(&rules.sources().collect::<Vec<_>>())
    );
    let change = Change::Decapsulator {
        interface: ingress.name.clone(),
        vips: wish.vips.clone(),
        sources: wish.sources.clone(),
        addresses: wish.addresses.clone(),
        mode: wish.xdp_mode,
        bpffs: wish.bpffs.clone(),
        name: wish.name.clone(),
        present: true,
    };
    let what = change.subject();
    Ok(vec![match &facts.decapsulator {
        Some(found) if goes_by(found, &ingress.name, &rules) => Item::met(what, "attached", why),
        Some(Decapsulator { running: true, .. }) => Item::person(
            what,
            format!(
                "a process looks after another one: give that these, and restart it: {}",
                change
                    .commands()
                    .concat()
                    .get(3..)
                    .unwrap_or_default()
                    .join(" ")
            ),
            why,
        ),
        Some(found) if !covers(&rules, &ingress.name, found) => Item::person(
            what,
            format!(
                "another one serves {} on {}, which this would take away: name all VIPs, sources and interfaces together, or take it off \
                 with splitterd decap --detach",
                joined(&found.rules.vips().collect::<Vec<_>>()),
                found.interfaces.join(", ")
            ),
            why,
        ),
        // Not there, or attached for less: it is replaced.
        _ => Item {
            what,
            why,
            need: super::Need::Change(change),
        },
    }])
}

fn goes_by(found: &Decapsulator, interface: &str, rules: &Rules) -> bool {
    found.rules == *rules && found.interfaces.iter().any(|name| name == interface)
}

/// Whether these rules on this interface do all that the one that was found does for others.
fn covers(rules: &Rules, interface: &str, found: &Decapsulator) -> bool {
    let vips: Vec<IpAddr> = rules.vips().collect();
    let sources: Vec<IpNet> = rules.sources().collect();
    found.rules.vips().all(|vip| vips.contains(&vip))
        && found
            .rules
            .sources()
            .all(|source| sources.contains(&source))
        && found.interfaces.iter().all(|name| name == interface)
}

/// The rules as they will be once the VIPs are on the loopback.
fn wanted_rules(wish: &Wish, facts: &Facts) -> Result<Rules, RulesError> {
    let locals = if wish.addresses.is_empty() {
        crate::decap::reachable(&facts.addresses, &wish.vips)
    } else {
        wish.addresses.clone()
    };
    Rules::new(Unchecked {
        vips: wish.vips.clone(),
        sources: wish.sources.clone(),
        locals,
    })
}

/// Tunnel devices of the kernel, one a family.
pub(super) fn devices(wish: &Wish, ingress: &Link, facts: &Facts) -> Vec<Item> {
    let mut items = Vec::new();
    for (name, sample) in [
        ("splitter-ipip", is_v4 as fn(&IpAddr) -> bool),
        ("splitter-ip6tnl", IpAddr::is_ipv6),
    ] {
        if !wish.vips.iter().any(sample) {
            continue;
        }
        let why = "the kernel takes packets out of their tunnel. It asks nobody where they come from: let a firewall admit \
            protocols 4 and 41 from balancers alone";
        let own = facts
            .addresses
            .iter()
            .filter(|found| found.index == ingress.index);
        let reachable = crate::decap::reachable(&own.copied().collect::<Vec<_>>(), &wish.vips);
        let local = wish
            .addresses
            .iter()
            .chain(&reachable)
            .find(|address| sample(address));
        let Some(local) = local else {
            items.push(Item::person(
                format!("tunnel device {name}"),
                format!(
                    "{} has no address of its family: name where tunnels end with --address",
                    ingress.name
                ),
                why,
            ));
            continue;
        };
        let tunnel = Tunnel {
            name: name.to_owned(),
            local: *local,
        };
        let change = Change::Tunnel {
            tunnel,
            present: true,
        };
        items.push(Item::change(change, facts, why));
        if local.is_ipv4() {
            items.push(loosened(name, facts));
        }
    }
    items
}

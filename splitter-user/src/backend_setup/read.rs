//! Reads the host: the routing socket and `/proc/sys/net`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnet::IpNet;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric,
    RoutePreference, RouteProtocol, RouteType, RouteVia,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::facts::{Decapsulator, Facts, Link, Route, setting_of};
use crate::decap::Pinned;
use crate::interface::{self, InterfaceError, netlink};

const SETTINGS: [&str; 3] = ["arp_ignore", "arp_announce", "rp_filter"];

/// The host, and the decapsulator that is pinned as `pinned`.
///
/// # Errors
/// [`InterfaceError::Netlink`].
pub fn read(pinned: &Pinned) -> Result<Facts, InterfaceError> {
    let interfaces = interface::list()?;
    let links: Vec<Link> = interfaces
        .iter()
        .map(|found| Link {
            index: found.index,
            name: found.name.clone(),
            mtu: found.mtu,
            loopback: found.loopback,
        })
        .collect();
    let names = links.iter().map(|link| link.name.as_str());
    let settings = names
        .chain(["all", "default"])
        .flat_map(|name| SETTINGS.map(|setting| (name, setting)))
        .filter_map(|(name, setting)| {
            let path = Path::new("/proc/sys/net/ipv4/conf")
                .join(name)
                .join(setting);
            let value = fs::read_to_string(path).ok()?.trim().parse().ok()?;
            Some((setting_of(name, setting), value))
        })
        .collect();
    let decapsulator = pinned.rules().map(|rules| Decapsulator {
        rules,
        interfaces: interfaces
            .iter()
            .filter(|found| {
                let carried = found.xdp.map(|xdp| xdp.program_id);
                carried.is_some() && carried == pinned.program_on(&found.name)
            })
            .map(|found| found.name.clone())
            .collect(),
        running: pinned.is_looked_after(),
    });
    Ok(Facts {
        routes: routes(&links)?,
        links,
        addresses: interface::addresses()?,
        settings,
        decapsulator,
    })
}

fn routes(links: &[Link]) -> io::Result<Vec<Route>> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        for answer in netlink::dump(RouteNetlinkMessage::GetRoute(question))? {
            if let RouteNetlinkMessage::NewRoute(message) = answer {
                routes.extend(route(&message, links));
            }
        }
    }
    Ok(routes)
}

/// A unicast route of the main table.
fn route(message: &RouteMessage, links: &[Link]) -> Option<Route> {
    let header = &message.header;
    let table = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
    let main = table.unwrap_or(header.table.into()) == u32::from(RouteHeader::RT_TABLE_MAIN);
    if !main || header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let unspecified = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mut route = Route {
        destination: IpNet::new(unspecified, 0).ok()?,
        via: None,
        device: String::new(),
        protocol: header.protocol.into(),
        scope: header.scope.into(),
        source: None,
        priority: None,
        onlink: header.flags.contains(RouteFlags::Onlink),
        metrics: BTreeMap::new(),
        odd: None,
    };
    if header.protocol == RouteProtocol::Ra {
        route.odd = Some("comes from router advertisements, which write it anew".to_owned());
    }
    if header.tos != 0 || header.source_prefix_length != 0 {
        route.odd = Some("goes by more than the destination".to_owned());
    }
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => {
                route.destination =
                    IpNet::new(plain(to)?, header.destination_prefix_length).ok()?;
            }
            RouteAttribute::Gateway(via) => route.via = plain(via),
            RouteAttribute::Via(RouteVia::Inet(v4)) => route.via = Some(IpAddr::V4(*v4)),
            RouteAttribute::Via(RouteVia::Inet6(v6)) => {
                // ip(8) wants it said: via inet6.
                route.via = Some(IpAddr::V6(*v6));
                route.odd = Some("leads an IPv4 prefix by an IPv6 router".to_owned());
            }
            RouteAttribute::Oif(index) => {
                route.device = links.iter().find(|link| link.index == *index)?.name.clone();
            }
            RouteAttribute::PrefSource(source) => route.source = plain(source),
            RouteAttribute::Priority(priority) => route.priority = Some(*priority),
            RouteAttribute::Metrics(metrics) => {
                for metric in metrics {
                    note(metric, &mut route);
                }
            }
            RouteAttribute::MultiPath(_) => route.odd = Some("has several next hops".to_owned()),
            RouteAttribute::NhId(_) => route.odd = Some("names a next-hop object".to_owned()),
            RouteAttribute::Encap(_) | RouteAttribute::Realm(_) => {
                route.odd = Some("has an encapsulation or a realm".to_owned());
            }
            RouteAttribute::Preference(preference)
                if !matches!(preference, RoutePreference::Medium) =>
            {
                route.odd = Some("has a router preference".to_owned());
            }
            _ => {}
        }
    }
    // Several next hops name their interfaces one by one.
    (!route.device.is_empty() || route.odd.is_some()).then_some(route)
}

fn plain(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn note(metric: &RouteMetric, route: &mut Route) {
    let (name, value) = match metric {
        RouteMetric::Mtu(value) => ("mtu", *value),
        RouteMetric::Advmss(value) => ("advmss", *value),
        RouteMetric::Window(value) => ("window", *value),
        RouteMetric::InitCwnd(value) => ("initcwnd", *value),
        RouteMetric::InitRwnd(value) => ("initrwnd", *value),
        RouteMetric::Hoplimit(value) => ("hoplimit", *value),
        RouteMetric::QuickAck(value) => ("quickack", *value),
        RouteMetric::Reordering(value) => ("reordering", *value),
        // Nothing is locked.
        RouteMetric::Lock(0) => return,
        _ => {
            route.odd = Some("has metrics that cannot be written again as they are".to_owned());
            return;
        }
    };
    if value != 0 {
        route.metrics.insert(name.to_owned(), value);
    }
}

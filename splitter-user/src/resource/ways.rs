//! `routes` and `preview` of a service document.

use ipnet::IpNet;

use super::fields::{Field, Fields, Known};
use super::places::Places;
use super::service::protocol;
use crate::diagnostic::Report;
use crate::model::{Listener, Place, Preview, Route};

const PREVIEW: Known = Known {
    now: &["vip", "port", "protocol", "track"],
    later: &[],
};
const ROUTE: Known = Known {
    now: &["match", "track", "reason"],
    later: &[],
};
const MATCH: Known = Known {
    now: &["source"],
    later: &[],
};

pub(super) fn preview(
    spec: &Fields<'_>,
    places: &mut Places,
    report: &mut Report<'_>,
) -> Option<Preview> {
    let field = spec.get("preview")?;
    places.put(Place::Preview, field.node.at);
    let fields = Fields::open(field, &PREVIEW, report)?;
    let vip = fields
        .require("vip", "198.18.1.101", report)
        .and_then(|field| {
            places.put(Place::PreviewVip, field.node.at);
            field.address(report)
        });
    let port = fields
        .require("port", "80", report)
        .and_then(|field| field.number(1..=u16::MAX, report));
    let protocol = protocol(&fields, report);
    let track = fields.require("track", "green", report).and_then(|field| {
        places.put(Place::PreviewTrack, field.node.at);
        field.text(report)
    });
    Some(Preview {
        listener: Listener {
            vip: vip?,
            port: port?,
            protocol: protocol?,
        },
        track: track?.to_owned(),
    })
}

pub(super) fn routes(
    spec: &Fields<'_>,
    places: &mut Places,
    report: &mut Report<'_>,
) -> Vec<Route> {
    let Some(field) = spec.get("routes") else {
        return Vec::new();
    };
    places.put(Place::Routes, field.node.at);
    let elements = field.elements(report).unwrap_or_default();
    elements
        .into_iter()
        .enumerate()
        .filter_map(|(index, element)| route(index, element, places, report))
        .collect()
}

fn route(
    index: usize,
    element: Field<'_>,
    places: &mut Places,
    report: &mut Report<'_>,
) -> Option<Route> {
    places.put(Place::Route(index), element.node.at);
    let fields = Fields::open(element, &ROUTE, report)?;
    let sources = fields
        .require("match", "{source: [198.18.9.0/24]}", report)
        .and_then(|field| Fields::open(field, &MATCH, report))
        .and_then(|matches| matches.require("source", "[198.18.9.0/24]", report))
        .and_then(|field| field.elements(report))
        .map(|elements| {
            let networks = elements.into_iter().enumerate();
            networks
                .filter_map(|(s, element)| {
                    places.put(Place::RouteSource(index, s), element.node.at);
                    network(&element, report)
                })
                .collect()
        });
    let track = fields.require("track", "green", report).and_then(|field| {
        places.put(Place::RouteTrack(index), field.node.at);
        field.text(report)
    });
    let reason = fields.get("reason").and_then(|field| field.text(report));
    Some(Route {
        sources: sources?,
        track: track?.to_owned(),
        reason: reason.map(str::to_owned),
    })
}

fn network(field: &Field<'_>, report: &mut Report<'_>) -> Option<IpNet> {
    let text = field.text(report)?;
    let network = text.parse().ok();
    if network.is_none() {
        let fix = match text.parse::<std::net::IpAddr>() {
            Ok(address) => format!("write {} for the one address", IpNet::from(address)),
            Err(_) => "write a network such as 198.18.9.0/24 or \"2001:db8:9::/48\"".to_owned(),
        };
        field.error(
            report,
            format!("`{text}` is not a network in CIDR notation"),
            fix,
        );
    }
    network
}

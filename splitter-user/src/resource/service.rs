//! A document of kind Service, field by field.

use std::collections::BTreeMap;

use super::fields::{Field, Fields, Known};
use super::places::Places;
use super::track::tracks;
use super::ways;
use crate::diagnostic::Report;
use crate::model::{
    Affinity, AffinityKey, DrainPolicy, FlowTime, FlowTimes, Listener, Mode, NoBackend, OnTimeout,
    Place, Protocol, Service,
};

const SPEC: Known = Known {
    now: &[
        "listeners",
        "mode",
        "release",
        "affinity",
        "tracks",
        "fallback",
        "noBackend",
        "preview",
        "routes",
        "flows",
        "drain",
    ],
    later: &["healthChecks"],
};
const METADATA: Known = Known {
    now: &["name", "labels"],
    later: &[],
};
const LISTENER: Known = Known {
    now: &["vip", "port", "protocol"],
    later: &[],
};
const AFFINITY: Known = Known {
    now: &["key", "prefix", "salt", "backend"],
    later: &[],
};
const PREFIX: Known = Known {
    now: &["v4", "v6"],
    later: &[],
};
const FLOWS: Known = Known {
    now: &["tcpIdle", "udpIdle", "unconfirmed", "closing"],
    later: &[],
};
const DRAIN: Known = Known {
    now: &["timeout", "onTimeout", "closeSpread"],
    later: &[],
};

/// Reads metadata and spec of a service. What cannot be read is reported; the value is only worth
/// something if nothing was.
pub(super) fn service(document: &Fields<'_>, report: &mut Report<'_>) -> Option<(Service, Places)> {
    let mut places = Places::default();
    places.put(Place::Service, document.at());
    let metadata = document
        .require("metadata", "{name: web}", report)
        .and_then(|field| Fields::open(field, &METADATA, report));
    let spec = document
        .require("spec", "{listeners: [...], tracks: [...]}", report)
        .and_then(|field| Fields::open(field, &SPEC, report));
    let name = metadata
        .as_ref()
        .and_then(|metadata| metadata.require("name", "web", report))
        .and_then(|field| {
            places.put(Place::Name, field.node.at);
            Some(field.text(report)?.to_owned())
        });
    let labels = metadata
        .and_then(|metadata| metadata.get("labels"))
        .map(|field| {
            places.put(Place::Labels, field.node.at);
            labels(&field, report)
        });
    let spec = spec?;
    let mode = spec.get("mode");
    let mode = mode.and_then(|field| field.word(&Mode::NAMES, &[], report));
    let no_backend = spec.get("noBackend");
    let no_backend = no_backend.and_then(|field| field.word(&NoBackend::NAMES, &[], report));
    let service = Service {
        name: name.unwrap_or_default(),
        labels: labels.unwrap_or_default(),
        listeners: listeners(&spec, &mut places, report),
        mode: mode.unwrap_or_default(),
        release: text_of(&spec, "release", Place::Release, &mut places, report),
        affinity: affinity(&spec, &mut places, report),
        tracks: tracks(&spec, &mut places, report),
        fallback: text_of(&spec, "fallback", Place::Fallback, &mut places, report),
        preview: ways::preview(&spec, &mut places, report),
        routes: ways::routes(&spec, &mut places, report),
        no_backend: no_backend.unwrap_or_default(),
        flows: flows(&spec, &mut places, report),
        drain: drain(&spec, &mut places, report),
    };
    Some((service, places))
}

/// An optional text, its place noted.
pub(super) fn text_of(
    fields: &Fields<'_>,
    name: &str,
    place: Place,
    places: &mut Places,
    report: &mut Report<'_>,
) -> Option<String> {
    let field = fields.get(name)?;
    places.put(place, field.node.at);
    field.text(report).map(str::to_owned)
}

fn labels(field: &Field<'_>, report: &mut Report<'_>) -> BTreeMap<String, String> {
    let entries = field.entries(report).unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value.text(report)?.to_owned())))
        .collect()
}

fn listeners(spec: &Fields<'_>, places: &mut Places, report: &mut Report<'_>) -> Vec<Listener> {
    let Some(field) = spec.require(
        "listeners",
        "[{vip: 198.18.1.100, port: 80, protocol: tcp}]",
        report,
    ) else {
        return Vec::new();
    };
    places.put(Place::Listeners, field.node.at);
    let elements = field.elements(report).unwrap_or_default();
    elements
        .into_iter()
        .enumerate()
        .filter_map(|(index, element)| listener(index, element, places, report))
        .collect()
}

fn listener(
    index: usize,
    element: Field<'_>,
    places: &mut Places,
    report: &mut Report<'_>,
) -> Option<Listener> {
    places.put(Place::Listener(index), element.node.at);
    let fields = Fields::open(element, &LISTENER, report)?;
    let vip = fields
        .require("vip", "198.18.1.100", report)
        .and_then(|field| {
            places.put(Place::Vip(index), field.node.at);
            field.address(report)
        });
    let port = fields.require("port", "80", report).and_then(|field| {
        places.put(Place::Port(index), field.node.at);
        field.number(1..=u16::MAX, report)
    });
    let protocol = protocol(&fields, report);
    Some(Listener {
        vip: vip?,
        port: port?,
        protocol: protocol?,
    })
}

/// The protocol of what is dialled.
pub(super) fn protocol(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<Protocol> {
    let protocols = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
    fields
        .require("protocol", "tcp", report)
        .and_then(|field| field.word(&protocols, &[], report))
}

fn affinity(spec: &Fields<'_>, places: &mut Places, report: &mut Report<'_>) -> Affinity {
    let mut affinity = Affinity::default();
    let Some(fields) = spec
        .get("affinity")
        .and_then(|field| Fields::open(field, &AFFINITY, report))
    else {
        return affinity;
    };
    let keys = [
        ("flow", AffinityKey::Flow),
        ("clientIP", AffinityKey::ClientIp),
    ];
    if let Some(key) = fields
        .get("key")
        .and_then(|field| field.word(&keys, &[], report))
    {
        affinity.key = key;
    }
    if let Some(field) = fields.get("backend") {
        places.put(Place::AffinityBackend, field.node.at);
        affinity.backend = field.word(&keys, &[], report).unwrap_or_default();
    }
    affinity.salt = text_of(&fields, "salt", Place::Salt, places, report);
    let prefix = fields
        .get("prefix")
        .and_then(|field| Fields::open(field, &PREFIX, report));
    let Some(prefix) = prefix else {
        return affinity;
    };
    for (name, place, most, bits) in [
        ("v4", Place::PrefixV4, 32, &mut affinity.prefix_v4),
        ("v6", Place::PrefixV6, 128, &mut affinity.prefix_v6),
    ] {
        if let Some(field) = prefix.get(name) {
            places.put(place, field.node.at);
            *bits = field.number(0..=most, report).unwrap_or(*bits);
        }
    }
    affinity
}

fn flows(spec: &Fields<'_>, places: &mut Places, report: &mut Report<'_>) -> FlowTimes {
    let mut times = FlowTimes::default();
    let Some(fields) = spec
        .get("flows")
        .and_then(|field| Fields::open(field, &FLOWS, report))
    else {
        return times;
    };
    for (time, value) in [
        (FlowTime::TcpIdle, &mut times.tcp_idle),
        (FlowTime::UdpIdle, &mut times.udp_idle),
        (FlowTime::Unconfirmed, &mut times.unconfirmed),
        (FlowTime::Closing, &mut times.closing),
    ] {
        if let Some(field) = fields.get(time.field()) {
            places.put(Place::Flow(time), field.node.at);
            *value = field.duration(report).unwrap_or(*value);
        }
    }
    times
}

fn drain(spec: &Fields<'_>, places: &mut Places, report: &mut Report<'_>) -> DrainPolicy {
    let mut drain = DrainPolicy::default();
    let Some(fields) = spec
        .get("drain")
        .and_then(|field| Fields::open(field, &DRAIN, report))
    else {
        return drain;
    };
    if let Some(field) = fields.get("timeout") {
        places.put(Place::DrainTimeout, field.node.at);
        drain.timeout = field.duration(report).unwrap_or(drain.timeout);
    }
    if let Some(field) = fields.get("onTimeout") {
        let word = field.word(&OnTimeout::NAMES, &[], report);
        drain.on_timeout = word.unwrap_or_default();
    }
    if let Some(field) = fields.get("closeSpread") {
        places.put(Place::CloseSpread, field.node.at);
        drain.close_spread = field.duration(report).unwrap_or_default();
    }
    drain
}

//! The model as resources: what `export` prints. Reading it back gives the same model.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_saphyr::{DoubleQuoted, FlowMap, FlowSeq, SerializeError};

use crate::model::{
    Affinity, AffinityKey, Backend, Curve, Listener, Mode, NoBackend, Preview, Protocol, Route,
    Service, Track, show_time,
};

/// Writes services as YAML, one document each.
pub fn render<'s>(
    services: impl IntoIterator<Item = &'s Service>,
) -> Result<String, SerializeError> {
    let mut text = String::new();
    for (index, service) in services.into_iter().enumerate() {
        if index > 0 {
            text.push_str("---\n");
        }
        text.push_str(&serde_saphyr::to_string(&Document::of(service))?);
    }
    Ok(text)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'s> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'s>,
    spec: Spec<'s>,
}

#[derive(Serialize)]
struct Metadata<'s> {
    name: &'s str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'s BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'s> {
    listeners: Vec<FlowMap<ListenerOut>>,
    mode: Mode,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<&'s str>,
    affinity: AffinityOut<'s>,
    tracks: Vec<TrackOut<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<&'s str>,
    no_backend: NoBackend,
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<FlowMap<PreviewOut<'s>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<FlowMap<RouteOut<'s>>>,
    flows: FlowsOut,
    drain: DrainOut,
}

#[derive(Serialize)]
struct ListenerOut {
    vip: DoubleQuoted<String>,
    port: u16,
    protocol: Protocol,
}

#[derive(Serialize)]
struct PreviewOut<'s> {
    vip: DoubleQuoted<String>,
    port: u16,
    protocol: Protocol,
    track: &'s str,
}

#[derive(Serialize)]
struct RouteOut<'s> {
    #[serde(rename = "match")]
    matches: FlowMap<MatchOut>,
    track: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<DoubleQuoted<&'s str>>,
}

#[derive(Serialize)]
struct MatchOut {
    source: FlowSeq<Vec<DoubleQuoted<String>>>,
}

#[derive(Serialize)]
struct AffinityOut<'s> {
    key: AffinityKey,
    prefix: FlowMap<PrefixOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<&'s str>,
    backend: AffinityKey,
}

#[derive(Serialize)]
struct PrefixOut {
    v4: u8,
    v6: u8,
}

#[derive(Serialize)]
struct TrackOut<'s> {
    name: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<String>,
    #[serde(rename = "slowStart", skip_serializing_if = "Option::is_none")]
    slow_start: Option<FlowMap<SlowStartOut>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backends: Vec<FlowMap<BackendOut>>,
}

#[derive(Serialize)]
struct SlowStartOut {
    duration: String,
    curve: Curve,
}

#[derive(Serialize)]
struct BackendOut {
    address: DoubleQuoted<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    weight: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FlowsOut {
    tcp_idle: String,
    udp_idle: String,
    unconfirmed: String,
    closing: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DrainOut {
    timeout: String,
    on_timeout: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    close_spread: Option<String>,
}

impl<'s> Document<'s> {
    pub(super) fn of(service: &'s Service) -> Self {
        let flows = &service.flows;
        Self {
            api_version: "splitter/v1",
            kind: "Service",
            metadata: Metadata {
                name: &service.name,
                labels: &service.labels,
            },
            spec: Spec {
                listeners: service.listeners.iter().map(listener).collect(),
                mode: service.mode,
                release: service.release.as_deref(),
                affinity: affinity(&service.affinity),
                tracks: service.tracks.iter().map(track).collect(),
                fallback: service.fallback.as_deref(),
                no_backend: service.no_backend,
                preview: service.preview.as_ref().map(preview),
                routes: service.routes.iter().map(route).collect(),
                flows: FlowsOut {
                    tcp_idle: show_time(flows.tcp_idle),
                    udp_idle: show_time(flows.udp_idle),
                    unconfirmed: show_time(flows.unconfirmed),
                    closing: show_time(flows.closing),
                },
                drain: DrainOut {
                    timeout: show_time(service.drain.timeout),
                    on_timeout: service.drain.on_timeout.name(),
                    close_spread: (!service.drain.close_spread.is_zero())
                        .then(|| show_time(service.drain.close_spread)),
                },
            },
        }
    }
}

fn listener(listener: &Listener) -> FlowMap<ListenerOut> {
    FlowMap(ListenerOut {
        vip: DoubleQuoted(listener.vip.to_string()),
        port: listener.port,
        protocol: listener.protocol,
    })
}

fn preview(preview: &Preview) -> FlowMap<PreviewOut<'_>> {
    FlowMap(PreviewOut {
        vip: DoubleQuoted(preview.listener.vip.to_string()),
        port: preview.listener.port,
        protocol: preview.listener.protocol,
        track: &preview.track,
    })
}

fn route(route: &Route) -> FlowMap<RouteOut<'_>> {
    let sources = route.sources.iter();
    FlowMap(RouteOut {
        matches: FlowMap(MatchOut {
            source: FlowSeq(sources.map(|net| DoubleQuoted(net.to_string())).collect()),
        }),
        track: &route.track,
        reason: route.reason.as_deref().map(DoubleQuoted),
    })
}

fn affinity(affinity: &Affinity) -> AffinityOut<'_> {
    AffinityOut {
        key: affinity.key,
        prefix: FlowMap(PrefixOut {
            v4: affinity.prefix_v4,
            v6: affinity.prefix_v6,
        }),
        salt: affinity.salt.as_deref(),
        backend: affinity.backend,
    }
}

fn track(track: &Track) -> TrackOut<'_> {
    TrackOut {
        name: &track.name,
        version: track.version.as_deref(),
        weight: track.weight.map(|weight| format!("{weight}%")),
        slow_start: track.slow_start.map(|slow_start| {
            FlowMap(SlowStartOut {
                duration: show_time(slow_start.duration),
                curve: slow_start.curve,
            })
        }),
        backends: track.backends.iter().map(backend).collect(),
    }
}

fn backend(backend: &Backend) -> FlowMap<BackendOut> {
    FlowMap(BackendOut {
        address: DoubleQuoted(backend.address.to_string()),
        port: backend.port,
        weight: backend.weight,
    })
}

//! Where in a service something is wrong, in terms of the resource's fields.

use std::fmt;

/// A field of a service resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The service as a whole.
    Service,
    /// Its name.
    Name,
    /// Its labels.
    Labels,
    /// All its listeners.
    Listeners,
    /// One listener.
    Listener(usize),
    /// The VIP of a listener.
    Vip(usize),
    /// The port of a listener.
    Port(usize),
    /// The release.
    Release,
    /// `affinity.prefix.v4`.
    PrefixV4,
    /// `affinity.prefix.v6`.
    PrefixV6,
    /// `affinity.salt`.
    Salt,
    /// `affinity.backend`.
    AffinityBackend,
    /// `fallback`.
    Fallback,
    /// `preview`.
    Preview,
    /// The VIP of the preview.
    PreviewVip,
    /// The track of the preview.
    PreviewTrack,
    /// All its routes.
    Routes,
    /// One route.
    Route(usize),
    /// The track of a route.
    RouteTrack(usize),
    /// One network of a route.
    RouteSource(usize, usize),
    /// All its tracks.
    Tracks,
    /// One track.
    Track(usize),
    /// The name of a track.
    TrackName(usize),
    /// The version of a track.
    Version(usize),
    /// The weight of a track.
    Weight(usize),
    /// `slowStart.duration` of a track.
    SlowStart(usize),
    /// All backends of a track.
    Backends(usize),
    /// One backend of a track.
    Backend(usize, usize),
    /// Its address.
    Address(usize, usize),
    /// Its port.
    BackendPort(usize, usize),
    /// Its weight.
    BackendWeight(usize, usize),
    /// One of the times of flows.
    Flow(FlowTime),
    /// `drain.timeout`.
    DrainTimeout,
    /// `drain.closeSpread`.
    CloseSpread,
}

/// One of the times of flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowTime {
    /// `flows.tcpIdle`.
    TcpIdle,
    /// `flows.udpIdle`.
    UdpIdle,
    /// `flows.unconfirmed`.
    Unconfirmed,
    /// `flows.closing`.
    Closing,
}

impl FlowTime {
    /// The field's name in a resource.
    pub const fn field(self) -> &'static str {
        match self {
            Self::TcpIdle => "tcpIdle",
            Self::UdpIdle => "udpIdle",
            Self::Unconfirmed => "unconfirmed",
            Self::Closing => "closing",
        }
    }
}

impl Place {
    /// The place that holds this one: where to point when this one was not written.
    pub const fn parent(self) -> Option<Self> {
        Some(match self {
            Self::Service => return None,
            Self::Vip(l) | Self::Port(l) => Self::Listener(l),
            Self::Listener(_) => Self::Listeners,
            Self::PreviewVip | Self::PreviewTrack => Self::Preview,
            Self::Route(_) => Self::Routes,
            Self::RouteTrack(r) | Self::RouteSource(r, _) => Self::Route(r),
            Self::Track(_) => Self::Tracks,
            Self::TrackName(t)
            | Self::Version(t)
            | Self::Weight(t)
            | Self::SlowStart(t)
            | Self::Backends(t) => Self::Track(t),
            Self::Backend(t, _) => Self::Backends(t),
            Self::Address(t, b) | Self::BackendPort(t, b) | Self::BackendWeight(t, b) => {
                Self::Backend(t, b)
            }
            _ => Self::Service,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service => f.write_str("spec"),
            Self::Name => f.write_str("metadata.name"),
            Self::Labels => f.write_str("metadata.labels"),
            Self::Listeners => f.write_str("spec.listeners"),
            Self::Listener(l) => write!(f, "spec.listeners[{l}]"),
            Self::Vip(l) => write!(f, "spec.listeners[{l}].vip"),
            Self::Port(l) => write!(f, "spec.listeners[{l}].port"),
            Self::Release => f.write_str("spec.release"),
            Self::PrefixV4 => f.write_str("spec.affinity.prefix.v4"),
            Self::PrefixV6 => f.write_str("spec.affinity.prefix.v6"),
            Self::Salt => f.write_str("spec.affinity.salt"),
            Self::AffinityBackend => f.write_str("spec.affinity.backend"),
            Self::Fallback => f.write_str("spec.fallback"),
            Self::Preview => f.write_str("spec.preview"),
            Self::PreviewVip => f.write_str("spec.preview.vip"),
            Self::PreviewTrack => f.write_str("spec.preview.track"),
            Self::Routes => f.write_str("spec.routes"),
            Self::Route(r) => write!(f, "spec.routes[{r}]"),
            Self::RouteTrack(r) => write!(f, "spec.routes[{r}].track"),
            Self::RouteSource(r, s) => write!(f, "spec.routes[{r}].match.source[{s}]"),
            Self::Tracks => f.write_str("spec.tracks"),
            Self::Track(t) => write!(f, "spec.tracks[{t}]"),
            Self::TrackName(t) => write!(f, "spec.tracks[{t}].name"),
            Self::Version(t) => write!(f, "spec.tracks[{t}].version"),
            Self::Weight(t) => write!(f, "spec.tracks[{t}].weight"),
            Self::SlowStart(t) => write!(f, "spec.tracks[{t}].slowStart.duration"),
            Self::Backends(t) => write!(f, "spec.tracks[{t}].backends"),
            Self::Backend(t, b) => write!(f, "spec.tracks[{t}].backends[{b}]"),
            Self::Address(t, b) => write!(f, "spec.tracks[{t}].backends[{b}].address"),
            Self::BackendPort(t, b) => write!(f, "spec.tracks[{t}].backends[{b}].port"),
            Self::BackendWeight(t, b) => write!(f, "spec.tracks[{t}].backends[{b}].weight"),
            Self::Flow(time) => write!(f, "spec.flows.{}", time.field()),
            Self::DrainTimeout => f.write_str("spec.drain.timeout"),
            Self::CloseSpread => f.write_str("spec.drain.closeSpread"),
        }
    }
}

/// A place in one service of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// The service.
    pub service: String,
    /// The field.
    pub place: Place,
}

/// Something that makes no sense in a service or between services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Every place that takes part in it; never empty.
    pub at: Vec<At>,
    /// The value and what is allowed.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.at.last() {
            write!(f, "service {}: {}: ", at.service, at.place)?;
        }
        write!(f, "{}; fix: {}", self.message, self.fix)
    }
}

impl std::error::Error for Problem {}

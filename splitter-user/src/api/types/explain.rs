use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ListenerView;

/// A client's packet that opens a flow: what `explain` is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExplainQuery {
    /// The client's address and port.
    #[schemars(with = "String")]
    pub client: SocketAddr,
    /// The address and port that it dials.
    #[schemars(with = "String")]
    pub to: SocketAddr,
    /// `tcp` (a SYN) or `udp`.
    pub protocol: String,
}

/// Where a packet would go at this moment, and why, or why it would not be forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename = "Explanation", rename_all = "camelCase")]
pub struct Explanation {
    /// The client.
    #[schemars(with = "String")]
    pub client: SocketAddr,
    /// What it dials.
    pub to: ListenerView,
    /// `forward`, `pass` or `drop`.
    pub verdict: String,
    /// The verdict's reason, as metrics name it.
    pub reason: String,
    /// Why, in sentences.
    pub why: Vec<String>,
    /// The service that the listener belongs to; null if nobody listens there.
    pub service: Option<String>,
    /// The flow of that client that is in the table already.
    pub pin: Option<PinView>,
    /// The slot of the split table, 0 to 65,535; null if the split is not asked.
    pub slot: Option<u16>,
    /// What decides the track: `weights`, `route`, `preview`, or `pin`; null if nothing does.
    pub by: Option<String>,
    /// The track that it goes to; null if it goes nowhere.
    pub track: Option<String>,
    /// Whether that is the fallback, for its own track has nobody.
    pub fallback: bool,
    /// The backend that it goes to, at the port where that answers.
    #[schemars(with = "Option<String>")]
    pub backend: Option<SocketAddr>,
}

/// A flow that is pinned already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PinView {
    /// Whether the packet would follow it; else it is over, and a new flow takes its place.
    pub followed: bool,
    /// The state of the flow, such as `Established`.
    pub state: String,
    /// Seconds since it was last seen; of an unconfirmed flow, first seen.
    pub idle_seconds: u64,
    /// Its track.
    pub track: String,
    /// Its backend.
    #[schemars(with = "String")]
    pub backend: SocketAddr,
    /// Whether its track or backend takes no new flows: it drains or was removed.
    pub draining: bool,
}

/// Which track the new flows of a client meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub struct Which {
    /// The client.
    pub client: IpAddr,
    /// The service.
    pub service: String,
    /// The service's generation.
    pub generation: u64,
    /// Its slot of the split table, 0 to 65,535.
    pub slot: u16,
    /// What decides: `weights` or `route`.
    pub by: String,
    /// The route's reason, if it is a route and has one.
    pub reason: Option<String>,
    /// The track.
    pub track: String,
    /// The backend, with `backend: clientIP`: the same for all flows of the client.
    #[schemars(with = "Option<String>")]
    pub backend: Option<SocketAddr>,
    /// The weight at which the client would move; null if it is routed, or if other than two tracks share the flows.
    pub moves: Option<Move>,
}

/// The weight at which a client would move to another track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// The track that it would move to.
    pub to: String,
    /// The least weight of that track at which it does: percent as decimal text without sign.
    pub at: String,
}

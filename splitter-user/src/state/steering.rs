//! Ways of new flows beside the weights, with tracks by their numbers: as the tables hold them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Drain;
use crate::model::{Listener, Service};
use crate::table::route::Spans;

/// Routes, fallback and preview of a split. A track that is drained is in none of them: it takes no new
/// flows, so its routes' clients go by the next route that matches, or by the weights.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steering {
    /// Tracks by the client's address, before the weights.
    pub routes: Spans,
    /// The track that takes what another one has nobody for.
    pub fallback: Option<u8>,
    /// The preview.
    pub preview: Option<Preview>,
}

/// A preview, as the tables hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// What testers dial.
    pub listener: Listener,
    /// Where it leads; `None`: its track is drained, nobody serves.
    pub track: Option<u8>,
}

impl Steering {
    /// What a service wants, with these numbers for its tracks and these of them drained.
    #[must_use]
    pub fn of(
        spec: &Service,
        numbers: &BTreeMap<String, u8>,
        drained: &BTreeMap<String, Drain>,
    ) -> Self {
        let open = |track: &str| {
            let number = numbers.get(track).copied();
            number.filter(|_| !drained.contains_key(track))
        };
        let routes = spec.routes.iter();
        Self {
            routes: Spans::compile(
                routes.filter_map(|route| Some((route.sources.as_slice(), open(&route.track)?))),
            ),
            fallback: spec.fallback.as_deref().and_then(open),
            preview: spec.preview.as_ref().map(|preview| Preview {
                listener: preview.listener,
                track: open(&preview.track),
            }),
        }
    }

    /// Whether both lead the clients of the service's listeners to the same tracks. Testers do not count:
    /// the preview comes and goes with the resource, whatever undo goes back to.
    #[must_use]
    pub fn same_for_clients(&self, other: &Self) -> bool {
        self.routes == other.routes && self.fallback == other.fallback
    }

    /// Whether clients may be led to this track.
    #[must_use]
    pub fn uses(&self, number: u8) -> bool {
        self.fallback == Some(number) || self.routes.lead_to(number)
    }

    /// Whether anybody may be led to this track, testers among them.
    #[must_use]
    pub fn leads_to(&self, number: u8) -> bool {
        let previewed = self.preview.as_ref().and_then(|preview| preview.track);
        self.uses(number) || previewed == Some(number)
    }
}

//! What decides who goes where, as the API shows it.

use super::listener_view;
use crate::api::types::{AffinityView, PrefixView, PreviewView, RampView, RouteView};
use crate::model::{Preview, Route};
use crate::state::{ServiceState, Split};

pub(super) fn affinity(split: &Split) -> AffinityView {
    let affinity = &split.affinity;
    AffinityView {
        key: affinity.key.name().to_owned(),
        backend: affinity.backend.name().to_owned(),
        prefix: PrefixView {
            v4: affinity.prefix_v4,
            v6: affinity.prefix_v6,
        },
        salt: split.salt.clone(),
    }
}

pub(super) fn preview(preview: &Preview) -> PreviewView {
    PreviewView {
        listener: listener_view(&preview.listener),
        track: preview.track.clone(),
    }
}

pub(super) fn route(route: &Route) -> RouteView {
    RouteView {
        source: route.sources.clone(),
        track: route.track.clone(),
        reason: route.reason.clone(),
    }
}

pub(super) fn ramp(service: &ServiceState) -> Option<RampView> {
    let ramp = service.ramp.as_ref()?;
    let (slots, moved) = service.ramp_slots().ok().flatten()?;
    Some(RampView {
        slots,
        moved,
        remaining_seconds: ramp.left().as_secs(),
    })
}

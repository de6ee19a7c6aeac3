//! What decides who goes where, and what is on its way to that, as the API shows it.

use super::super::now_ms;
use super::listener_view;
use crate::api::types::{
    AffinityView, PrefixView, PreviewView, RampView, RouteView, SlowStartView,
};
use crate::model::{Backend, Preview, Route, Track, Weight};
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

pub(super) fn slow_start(
    service: &ServiceState,
    track: &Track,
    backend: &Backend,
) -> Option<SlowStartView> {
    let (part, left) = service.slow_start_of(track, backend, now_ms())?;
    // Thousandths of the whole, which is 100 %.
    let share = Weight::from_millis(part * 100).ok()?;
    let seconds = left.as_millis().div_ceil(1_000);
    Some(SlowStartView {
        share: share.to_string(),
        remaining_seconds: u64::try_from(seconds).unwrap_or(u64::MAX),
    })
}

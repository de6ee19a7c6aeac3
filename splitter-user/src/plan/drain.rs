//! drain, maint, quarantine and ready, of tracks and of backends.

use std::time::Duration;

use super::place::{Place, backend_key};
use super::repeat::{Repeated, repeated};
use super::service::resplit;
use super::{Draft, ways};
use crate::api::types::{ApiError, DrainTarget};
use crate::model::{Backend, OnTimeout};
use crate::state::{Drain, Out, ServiceState, Steering};

/// What a drain asks for beside what the service says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    /// Its deadline.
    pub timeout: Option<Duration>,
    /// What becomes of flows that outlive it.
    pub on_timeout: Option<OnTimeout>,
    /// The time over which they are closed.
    pub spread: Option<Duration>,
}

/// A time as records have it.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// No new flows for a track or a backend, as `out` says.
pub fn take_out(
    draft: &mut Draft<'_>,
    name: &str,
    what: &DrainTarget,
    out: Out,
    wish: Wish,
    now: u64,
) -> Result<(), ApiError> {
    let service = draft.service(name)?;
    let target = Place::of(service, what)?;
    if let Some(there) = target.record(service).filter(|there| there.out == out) {
        let Repeated { record, changed } = repeated(there, wish, now);
        target.put(service, record);
        if !changed.is_empty() {
            let said = format!(
                "{target} is {} already: {}",
                out.state(),
                changed.join(", ")
            );
            draft.warn(name, said);
        }
        return Ok(());
    }
    let record = begun(service, out, wish, now);
    match target {
        Place::Track(track) => take_out_track(draft, name, track, record),
        Place::Backend(backend) => {
            let left = others_left(service, &backend);
            Place::Backend(backend.clone()).put(service, record);
            if let Some(track) = left {
                let instead = ways::instead_of(service, &track, &[backend.family()].into());
                draft.warn(
                    name,
                    format!("track {track} has no other backend of this family for new flows: {instead}; pinned flows go on"),
                );
            }
            Ok(())
        }
    }
}

/// The record of what begins at `now`.
fn begun(service: &ServiceState, out: Out, wish: Wish, now: u64) -> Drain {
    let policy = &service.spec.drain;
    let timeout = wish.timeout.unwrap_or(policy.timeout);
    Drain {
        since: now,
        deadline: match out {
            Out::Draining => now.saturating_add(millis(timeout)),
            Out::Maint | Out::Quarantined => u64::MAX,
        },
        out,
        on_timeout: match out {
            Out::Draining => wish.on_timeout.unwrap_or(policy.on_timeout),
            Out::Maint | Out::Quarantined => OnTimeout::Keep,
        },
        spread: millis(wish.spread.unwrap_or(policy.close_spread)),
        unpinned_before: 0,
    }
}

fn take_out_track(
    draft: &mut Draft<'_>,
    name: &str,
    track: &str,
    record: Drain,
) -> Result<(), ApiError> {
    let service = draft.service(name)?;
    let before = service.clone();
    service.drained_tracks.insert(track.to_owned(), record);
    service.stop_ramp();
    let open = service.shares().is_ok();
    if open {
        resplit(&before, service)?;
    } else {
        steer_anew(&before, service);
    }
    let families = service.spec.families_of_listeners();
    let instead = ways::instead_of(service, track, &families);
    for text in ways::drain_warnings(&before.spec, track) {
        draft.warn(name, text);
    }
    if !open {
        // Nobody is left to take its slots: it keeps them.
        draft.warn(
            name,
            format!(
                "no track with weight is left that takes new flows: {instead} until one is ready; pinned flows go on"
            ),
        );
    }
    Ok(())
}

/// Ends a drain, `maint` or `quarantine`.
pub fn ready(draft: &mut Draft<'_>, name: &str, what: &DrainTarget) -> Result<(), ApiError> {
    let service = draft.service(name)?;
    match Place::of(service, what)? {
        Place::Track(track) => {
            if !service.drained_tracks.contains_key(track) {
                return Ok(());
            }
            let before = service.clone();
            // It is out still, and so keeps the weight that is desired.
            service.stop_ramp();
            service.drained_tracks.remove(track);
            if service.shares().is_err() && !service.drained_tracks.is_empty() {
                // Its weight is 0, and those that have any are out still.
                steer_anew(&before, service);
                return Ok(());
            }
            resplit(&before, service)
        }
        Place::Backend(backend) => {
            service.drained_backends.remove(&backend_key(&backend));
            Ok(())
        }
    }
}

/// The slots stay, while routes, fallback and preview follow what is out now.
fn steer_anew(before: &ServiceState, after: &mut ServiceState) {
    let steering = Steering::of(&after.spec, &after.numbers, &after.drained_tracks);
    let split = before.split.clone().steered(steering);
    if !split.same_as(&before.split) {
        after.remember(before);
    }
    after.split = split;
}

/// The name of the backend's track if it is the last there, of its family, that takes new flows.
fn others_left(service: &ServiceState, last: &Backend) -> Option<String> {
    let track = service
        .spec
        .tracks
        .iter()
        .find(|track| track.backends.contains(last))?;
    let others = track.backends.iter().any(|backend| {
        backend != last
            && backend.family() == last.family()
            && service.takes_new_flows(backend.address, backend.port)
    });
    (!others).then(|| track.name.clone())
}

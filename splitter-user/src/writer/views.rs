//! What is in force, as the API shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use splitter_ebpf::flow::State;
use splitter_ebpf::wire::{Family, WirePort};

use super::scan::listener_of;
use super::{PlaneStatus, Writer, moment, now_ms};
use crate::api::types::{
    AffinityView, AnchorView, ApiError, BackendView, Condition, ConditionKind, ConditionStatus,
    DrainState, DrainTarget, DrainView, FlowFilter, FlowList, FlowState, FlowView, Health,
    LifeState, LimitsView, ListenerView, Observed, Phase, PrefixView, ServiceStatus, ServiceView,
    TrackView,
};
use crate::dataplane::{DataPlane, FlowSlot};
use crate::model::{AffinityKey, Listener, Mode, NoBackend, Track};
use crate::plan::unknown_service;
use crate::share::percent;
use crate::state::{Anchor, BackendKey, Drain, IdState, Out, ServiceState};

fn anchor_view(anchor: &Anchor) -> AnchorView {
    let weights = anchor.weights.iter();
    AnchorView {
        since: anchor.since,
        generation: anchor.generation,
        weights: weights
            .map(|(track, weight)| (track.clone(), weight.to_string()))
            .collect(),
    }
}

mod ways;

pub(super) fn listener_view(listener: &Listener) -> ListenerView {
    ListenerView {
        vip: listener.vip,
        port: listener.port,
        protocol: listener.protocol.to_string(),
    }
}

impl<D: DataPlane + 'static> Writer<D> {
    pub(super) fn service_views(&self, name: Option<&str>) -> Result<Vec<ServiceView>, ApiError> {
        match name {
            None => {
                let former = self.former_services();
                let gone = former.iter().map(|name| self.former_view(name));
                let services = self.world.services.values();
                let mut views: Vec<ServiceView> = services
                    .map(|service| self.service_view(service))
                    .chain(gone)
                    .collect();
                views.sort_by(|a, b| a.name.cmp(&b.name));
                Ok(views)
            }
            Some(name) if self.world.is_former(name) => Ok(vec![self.former_view(name)]),
            Some(name) => Ok(vec![self.service_view(self.service(name)?)]),
        }
    }

    fn service(&self, name: &str) -> Result<&ServiceState, ApiError> {
        let known: Vec<&String> = self.world.services.keys().collect();
        self.world
            .services
            .get(name)
            .ok_or_else(|| unknown_service(name, &known))
    }

    fn service_view(&self, service: &ServiceState) -> ServiceView {
        let spec = &service.spec;
        let seen: Vec<u64> = spec
            .tracks
            .iter()
            .map(|track| self.observed(&spec.name, &track.name))
            .collect();
        let all: u64 = seen.iter().sum();
        let mut tracks: Vec<TrackView> = spec
            .tracks
            .iter()
            .zip(&seen)
            .map(|(track, new)| self.track_view(service, track, *new, all))
            .collect();
        tracks.extend(self.former_tracks(&spec.name, Some(service)));
        let ids: Vec<u16> = tracks
            .iter()
            .flat_map(|track| self.backends_of(&spec.name, &DrainTarget::Track(track.name.clone())))
            .collect();
        ServiceView {
            name: spec.name.clone(),
            labels: spec.labels.clone(),
            generation: service.generation,
            undo_generation: service.anchor().map(|anchor| anchor.generation),
            anchors: service.anchors.iter().map(anchor_view).collect(),
            state: LifeState::Ready,
            release: spec.release.clone(),
            mode: spec.mode.name().to_owned(),
            no_backend: spec.no_backend.name().to_owned(),
            affinity: ways::affinity(&service.split),
            digest: service.digest(),
            listeners: spec.listeners.iter().map(listener_view).collect(),
            fallback: spec.fallback.clone(),
            preview: spec.preview.as_ref().map(ways::preview),
            routes: spec.routes.iter().map(ways::route).collect(),
            ramp: ways::ramp(service),
            tracks,
            unpinned: self.unpinned_of(&ids),
            conditions: self.conditions_of(service),
        }
    }

    fn observed(&self, service: &str, track: &str) -> u64 {
        let ids = self.backends_of(service, &DrainTarget::Track(track.to_owned()));
        ids.into_iter().map(|id| self.observe.new_flows(id)).sum()
    }

    fn track_view(
        &self,
        service: &ServiceState,
        track: &Track,
        new_flows: u64,
        all: u64,
    ) -> TrackView {
        let name = &service.spec.name;
        let mut backends: Vec<BackendView> = track
            .backends
            .iter()
            .map(|backend| {
                let place = (backend.address, backend.port.unwrap_or(0));
                let state = state_of(service.drained_backends.get(&place));
                let key = BackendKey::of(&service.spec, &track.name, backend);
                BackendView {
                    slow_start: ways::slow_start(service, track, backend),
                    ..self.backend_view(&key, backend.weight, state)
                }
            })
            .collect();
        backends.extend(self.former_backends(name, &track.name));
        TrackView {
            name: track.name.clone(),
            version: track.version.clone(),
            state: state_of(service.drained_tracks.get(&track.name)),
            weight: track.weight.unwrap_or_default().to_string(),
            slots: service.slots_of(&track.name),
            observed: Observed {
                new_flows,
                share: percent(new_flows, all),
            },
            flows: backends.iter().map(|backend| backend.flows).sum(),
            backends,
        }
    }

    /// Services that were deleted and still have flows.
    fn former_services(&self) -> BTreeSet<String> {
        let keys = self.world.backend_ids.iter();
        keys.filter(|(_, key, state)| {
            matches!(state, IdState::Deleting(_)) && !self.world.services.contains_key(&key.service)
        })
        .map(|(_, key, _)| key.service.clone())
        .collect()
    }

    /// What is left of a service that was deleted.
    fn former_view(&self, name: &str) -> ServiceView {
        ServiceView {
            name: name.to_owned(),
            labels: BTreeMap::new(),
            generation: 0,
            undo_generation: None,
            anchors: Vec::new(),
            state: LifeState::Deleting,
            release: None,
            mode: self.former_mode(name).name().to_owned(),
            no_backend: NoBackend::Drop.name().to_owned(),
            affinity: AffinityView {
                key: AffinityKey::Flow.name().to_owned(),
                backend: AffinityKey::Flow.name().to_owned(),
                prefix: PrefixView::default(),
                salt: String::new(),
            },
            digest: String::new(),
            listeners: Vec::new(),
            fallback: None,
            preview: None,
            routes: Vec::new(),
            ramp: None,
            tracks: self.former_tracks(name, None),
            unpinned: 0,
            conditions: Vec::new(),
        }
    }

    /// How the flows that are left of a deleted service get to its backends.
    fn former_mode(&self, name: &str) -> Mode {
        let mut keys = self.world.backend_ids.iter();
        keys.find(|(_, key, state)| key.service == name && matches!(state, IdState::Deleting(_)))
            .map_or_else(Mode::default, |(_, key, _)| key.mode)
    }

    /// Tracks that were removed and still have backends with flows.
    fn former_tracks(&self, name: &str, service: Option<&ServiceState>) -> Vec<TrackView> {
        let slots = |track: &str| service.map_or(0, |service| service.slots_of(track));
        let mut names: Vec<&str> = self
            .world
            .backend_ids
            .iter()
            .filter(|(_, key, state)| {
                key.service == name
                    && matches!(state, IdState::Deleting(_))
                    && service.is_none_or(|service| service.spec.track(&key.track).is_none())
            })
            .map(|(_, key, _)| key.track.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .map(|track| {
                let backends = self.former_backends(name, track);
                TrackView {
                    name: track.to_owned(),
                    version: None,
                    state: LifeState::Deleting,
                    weight: "0".to_owned(),
                    slots: slots(track),
                    observed: Observed::default(),
                    flows: backends.iter().map(|backend| backend.flows).sum(),
                    backends,
                }
            })
            .collect()
    }

    fn former_backends(&self, service: &str, track: &str) -> Vec<BackendView> {
        let ids = self.world.backend_ids.iter();
        let of_track = ids.filter(|(_, key, state)| {
            key.service == service && key.track == track && matches!(state, IdState::Deleting(_))
        });
        of_track
            .map(|(_, key, _)| self.backend_view(key, 0, LifeState::Deleting))
            .collect()
    }

    fn backend_view(&self, key: &BackendKey, weight: u32, state: LifeState) -> BackendView {
        let flows = self
            .world
            .backend_ids
            .get(key)
            .and_then(|id| self.scan.last.backends.get(usize::from(id)));
        BackendView {
            address: key.address,
            port: key.port,
            mode: key.mode.name().to_owned(),
            weight,
            state,
            health: Health::Unknown,
            flows: flows.copied().unwrap_or(0),
            slow_start: None,
        }
    }

    fn conditions_of(&self, service: &ServiceState) -> Vec<Condition> {
        let keys = service.spec.tracks.iter().flat_map(|track| {
            let backends = track.backends.iter();
            backends.map(|backend| BackendKey::of(&service.spec, &track.name, backend))
        });
        let since = |kind| {
            let raised = self.conditions.get(&kind);
            raised.map_or_else(std::time::SystemTime::now, |(_, since)| *since)
        };
        let found = self.obstacles(keys);
        let conditions = found.into_iter().map(|(kind, message)| Condition {
            kind,
            status: ConditionStatus::True,
            message,
            since: since(kind),
        });
        conditions.chain(out_of_service(service)).collect()
    }

    pub(super) fn status(&self) -> PlaneStatus {
        let layout = self.plane.tables().layout;
        let conditions = self
            .conditions
            .iter()
            .map(|(kind, (message, since))| Condition {
                kind: *kind,
                status: ConditionStatus::True,
                message: message.clone(),
                since: *since,
            });
        let services = self.world.services.iter().map(|(name, service)| {
            let view = self.service_view(service);
            let draining = service
                .drained_tracks
                .keys()
                .map(|track| DrainTarget::Track(track.clone()))
                .chain(service.drained_backends.keys().map(|(address, port)| {
                    DrainTarget::Backend {
                        address: *address,
                        port: *port,
                    }
                }))
                .any(|what| self.proven(name, &what) == Some(false));
            ServiceStatus {
                name: name.clone(),
                generation: service.generation,
                mode: view.mode,
                phase: if draining {
                    Phase::Draining
                } else if self.is_deleting(name) {
                    Phase::Deleting
                } else {
                    Phase::Steady
                },
                flows: view.tracks.iter().map(|track| track.flows).sum(),
                conditions: view.conditions,
            }
        });
        let former = self.former_services();
        let former = former.iter().map(|name| ServiceStatus {
            name: name.clone(),
            generation: 0,
            mode: self.former_mode(name).name().to_owned(),
            phase: Phase::Deleting,
            flows: self
                .former_tracks(name, None)
                .iter()
                .map(|track| track.flows)
                .sum(),
            conditions: Vec::new(),
        });
        PlaneStatus {
            selector_sequence: self.plane.tables().selector().sequence(),
            limits: LimitsView {
                services: layout.services,
                backends: layout.backends,
                flows: u64::try_from(layout.flow_slots() / 2).unwrap_or(u64::MAX),
            },
            flow_table: self.flow_table(),
            conditions: conditions.collect(),
            services: services.chain(former).collect(),
        }
    }

    /// Whether something of a service was removed and still has flows.
    fn is_deleting(&self, service: &str) -> bool {
        self.world
            .backend_ids
            .iter()
            .any(|(_, key, state)| key.service == service && matches!(state, IdState::Deleting(_)))
    }

    pub(super) fn export(&self) -> Result<String, ApiError> {
        crate::resource::render(self.world.services.values().map(|service| &service.spec)).map_err(
            |error| ApiError::internal(format!("cannot write the resources as YAML: {error}")),
        )
    }

    pub(super) fn drain_view(&self, name: &str, what: &DrainTarget) -> Result<DrainView, ApiError> {
        let service = self.service(name)?;
        let (what, drain) = match what {
            DrainTarget::Track(track) => {
                if service.spec.track(track).is_none() {
                    return Err(ApiError::not_found(format!(
                        "service {name} has no track `{track}`"
                    )));
                }
                (what.clone(), service.drained_tracks.get(track))
            }
            DrainTarget::Backend { address, port } => {
                let backend = crate::plan::find_backend(service, *address, *port)?;
                let written = backend.port.unwrap_or(0);
                let what = DrainTarget::Backend {
                    address: *address,
                    port: written,
                };
                (what, service.drained_backends.get(&(*address, written)))
            }
        };
        let ids = self.backends_of(name, &what);
        let pins = self.pins_of(name, &what, &self.scan.last);
        let oldest = ids
            .iter()
            .filter_map(|id| self.scan.last.oldest.get(usize::from(*id)))
            .max()
            .copied();
        let proven = self.proven(name, &what).unwrap_or(false);
        let now = now_ms();
        let state = match drain {
            None => DrainState::Ready,
            Some(_) if proven => DrainState::Drained,
            Some(drain) if drain.out == Out::Maint => DrainState::Maint,
            Some(drain) => match drain.closing() {
                Some(closing) if now >= closing.since => DrainState::Closing,
                // Not before a scan that counts has found flows: there may be none.
                None if now >= drain.deadline && self.has_counted(name, &what) => {
                    DrainState::TimedOut
                }
                _ => DrainState::Draining,
            },
        };
        let pace = drain.and(self.pace_of(name, &what));
        let sum = |counts: &[u64]| {
            ids.iter()
                .filter_map(|id| counts.get(usize::from(*id)))
                .sum()
        };
        Ok(DrainView {
            state,
            mode: service.spec.mode.name().to_owned(),
            pins,
            resetting: sum(&self.scan.last.cut),
            oldest_age_seconds: drain
                .filter(|_| pins > 0)
                .map(|drain| now.saturating_sub(drain.since) / 1_000),
            idlest_seconds: (pins > 0)
                .then(|| oldest.map_or(0, |ticks| self.plane.duration_of(ticks).as_secs())),
            ended_per_minute: pace,
            estimated_seconds_left: pace.and_then(|pace| (pins * 60).checked_div(pace)),
            on_timeout: drain.map(|drain| drain.on_timeout).unwrap_or_default(),
            never_pinned: drain.map_or(0, |drain| {
                self.unpinned_of(&ids).saturating_sub(drain.unpinned_before)
            }),
            deadline: drain
                .filter(|drain| drain.deadline != u64::MAX)
                .map(|drain| moment(drain.deadline)),
            proven,
        })
    }

    pub(super) fn flow_list(&self, filter: &FlowFilter) -> Result<FlowList, ApiError> {
        if let Some(name) = &filter.service
            && !self.world.is_former(name)
        {
            self.service(name)?;
        }
        let now = self
            .plane
            .now()
            .map_err(|error| ApiError::internal(error.to_string()))?;
        let mut list = FlowList {
            total: 0,
            items: Vec::new(),
        };
        let most = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        let tables = self.plane.tables();
        tables.scan(0..tables.flow_buckets(), |flow| {
            if let Some(view) = self.flow_view(&flow, now)
                && admits(filter, &view)
            {
                list.total += 1;
                if list.items.len() < most {
                    list.items.push(view);
                }
            }
        });
        Ok(list)
    }

    fn flow_view(&self, flow: &FlowSlot, now: u32) -> Option<FlowView> {
        let tables = self.plane.tables();
        let key = self.world.backend_ids.key_of(flow.value.backend())?;
        let listener = self.world.listener_ids.key_of(listener_of(tables, flow))?;
        let client = match Family::of(&key.address) {
            Family::V4 => {
                let word = u32::try_from(flow.key >> 32).ok()?;
                let port = WirePort(u16::try_from((flow.key >> 16) & 0xffff).ok()?);
                Some(SocketAddr::new(
                    splitter_ebpf::wire::WireAddress::v4(word).to_ip(Family::V4),
                    port.get(),
                ))
            }
            Family::V6 => tables
                .cold_key(flow)
                .map(|cold| SocketAddr::new(cold.address.to_ip(Family::V6), cold.port().get())),
        };
        let idle: Duration = self.plane.duration_of(flow.value.age(now));
        Some(FlowView {
            service: key.service.clone(),
            listener: listener_view(listener),
            client,
            track: key.track.clone(),
            backend: SocketAddr::new(key.address, key.port.unwrap_or(listener.port)),
            mode: key.mode.name().to_owned(),
            translated: tables.translation(flow).map(|(address, port)| {
                SocketAddr::new(address.to_ip(Family::of(&key.address)), port.get())
            }),
            state: match State::from_bits(flow.value.state_bits())? {
                State::Translated => return None,
                State::New | State::Replied | State::ResetNew | State::UdpNew => {
                    FlowState::Unconfirmed
                }
                State::Established
                | State::FinClient
                | State::FinBackend
                | State::UdpEstablished => FlowState::Established,
                State::Closing | State::Reset => FlowState::Closing,
                State::Cut | State::CutFirst | State::CutSecond | State::CutTold => {
                    FlowState::Reset
                }
            },
            idle_seconds: idle.as_secs(),
        })
    }
}

/// What operators took out of a service: the resource does not say it.
fn out_of_service(service: &ServiceState) -> Option<Condition> {
    let tracks = service.drained_tracks.iter();
    let tracks = tracks.map(|(track, drain)| (format!("track {track}"), drain));
    let backends = service.drained_backends.iter();
    let backends = backends.map(|((address, port), drain)| match port {
        0 => (format!("backend {address}"), drain),
        port => (
            format!("backend {}", SocketAddr::new(*address, *port)),
            drain,
        ),
    });
    let out: Vec<(String, &Drain)> = tracks.chain(backends).collect();
    let since = out.iter().map(|(_, drain)| drain.since).min()?;
    let what: Vec<String> = out
        .iter()
        .map(|(what, drain)| format!("{what} is {}", state_of(Some(drain)).as_str()))
        .collect();
    Some(Condition {
        kind: ConditionKind::OutOfService,
        status: ConditionStatus::True,
        message: format!(
            "{}: `splitterctl ready {} TRACK|BACKEND` ends it",
            what.join(", "),
            service.spec.name
        ),
        since: moment(since),
    })
}

/// The state of what an operator took out so, or of what nobody did.
fn state_of(drain: Option<&Drain>) -> LifeState {
    match drain.map(|drain| drain.out) {
        None => LifeState::Ready,
        Some(Out::Draining) => LifeState::Draining,
        Some(Out::Maint) => LifeState::Maint,
        Some(Out::Quarantined) => LifeState::Quarantined,
    }
}

fn admits(filter: &FlowFilter, view: &FlowView) -> bool {
    filter
        .service
        .as_ref()
        .is_none_or(|service| view.service == *service)
        && filter
            .track
            .as_ref()
            .is_none_or(|track| view.track == *track)
        && filter.backend.is_none_or(|backend| view.backend == backend)
        && filter
            .source
            .is_none_or(|net| view.client.is_some_and(|client| net.contains(&client.ip())))
}

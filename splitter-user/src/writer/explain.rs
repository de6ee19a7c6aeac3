//! `explain` and `which`: who goes where and why, by the tables as they are in the data plane.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use splitter_ebpf::choice::{Cause, Choice};
use splitter_ebpf::flow::{State, Value};
use splitter_ebpf::verdict::{Action, Reason};
use splitter_ebpf::wire::{TCP, UDP};

use super::Writer;
use super::views::listener_view;
use crate::api::types::{ApiError, ExplainQuery, Explanation, ListenerView, Move, PinView, Which};
use crate::dataplane::{Clock, DataPlane, Opening, Trace};
use crate::model::{AffinityKey, Weight};
use crate::plan::unknown_service;
use crate::state::{BackendKey, IdState, ServiceState};

impl<D: DataPlane + 'static> Writer<D> {
    pub(super) fn explain(&self, query: &ExplainQuery) -> Result<Explanation, ApiError> {
        if query.client.is_ipv4() != query.to.is_ipv4() {
            return Err(ApiError::refused(format!(
                "{} and {} are of two address families: a packet has one",
                query.client, query.to
            )));
        }
        let protocol = match query.protocol.as_str() {
            "tcp" => TCP,
            "udp" => UDP,
            other => {
                return Err(ApiError::refused(format!(
                    "protocol {other:?}: `tcp` and `udp` are possible"
                )));
            }
        };
        let opening = Opening {
            client: query.client,
            to: query.to,
            protocol,
        };
        let clock = self.clock()?;
        let trace = self.plane.tables().trace(&opening, clock);
        let service = self.service_of(&trace);
        let pin = trace.pin.and_then(|pin| self.pin_view(&trace, pin, clock));
        let (by, track, backend) = self.goes_to(&trace, query.to);
        Ok(Explanation {
            client: query.client,
            to: ListenerView {
                vip: query.to.ip(),
                port: query.to.port(),
                protocol: query.protocol.clone(),
            },
            verdict: trace.reason.action().name().to_owned(),
            reason: trace.reason.name().to_owned(),
            why: self.why(&trace, service, pin.as_ref(), query),
            service: service.map(|service| service.spec.name.clone()),
            slot: trace.choice.map(|choice| choice.slot),
            by: by.map(str::to_owned),
            track,
            fallback: fell_back(&trace),
            backend,
            pin,
        })
    }

    fn clock(&self) -> Result<Clock, ApiError> {
        let tick = self.plane.duration_of(1).max(Duration::from_millis(1));
        let ticks = |duration: Duration| {
            u32::try_from(duration.as_nanos() / tick.as_nanos()).map_or(u32::MAX, |ticks| ticks + 1)
        };
        Ok(Clock {
            now: self
                .plane
                .now()
                .map_err(|error| ApiError::internal(error.to_string()))?,
            second: ticks(Duration::from_secs(1)),
            reuse: ticks(Duration::from_secs(60)),
        })
    }

    /// The service that the packet's listener belongs to.
    fn service_of(&self, trace: &Trace) -> Option<&ServiceState> {
        let listener = self.world.listener_ids.key_of(trace.listener)?;
        self.world.owner_of(listener)
    }

    fn pin_view(&self, trace: &Trace, pin: Value, clock: Clock) -> Option<PinView> {
        let key = self.world.backend_ids.key_of(pin.backend())?;
        let listener = self.world.listener_ids.key_of(trace.listener)?;
        let state = State::from_bits(pin.state_bits())?;
        Some(PinView {
            followed: trace.choice.is_none() && trace.reason != Reason::InactiveListener,
            state: format!("{state:?}"),
            idle_seconds: self.plane.duration_of(pin.age(clock.now)).as_secs(),
            track: key.track.clone(),
            backend: SocketAddr::new(key.address, key.port.unwrap_or(listener.port)),
            draining: !self.takes_new_flows(pin.backend(), key),
        })
    }

    fn takes_new_flows(&self, id: u16, key: &BackendKey) -> bool {
        self.world.backend_ids.state_of(id) == Some(IdState::Active)
            && self
                .world
                .services
                .get(&key.service)
                .is_some_and(|service| {
                    !service.drained_tracks.contains_key(&key.track)
                        && service.takes_new_flows(key.address, key.port)
                })
    }

    /// What decides, and where the packet goes.
    fn goes_to(
        &self,
        trace: &Trace,
        to: SocketAddr,
    ) -> (Option<&'static str>, Option<String>, Option<SocketAddr>) {
        let by = match (&trace.choice, trace.pin) {
            (Some(choice), _) => Some(by(choice)),
            (None, Some(_)) if trace.backend != 0 => Some("pin"),
            _ => None,
        };
        let key = self.world.backend_ids.key_of(trace.backend);
        let key = key.filter(|_| trace.reason.action() == Action::Forward);
        (
            by,
            key.map(|key| key.track.clone()),
            key.map(|key| SocketAddr::new(key.address, key.port.unwrap_or(to.port()))),
        )
    }

    /// A track's name, by its number.
    fn track_name(service: &ServiceState, number: u8) -> &str {
        let mut numbers = service.numbers.iter();
        numbers
            .find(|(_, known)| **known == number)
            .map_or("?", |(name, _)| name)
    }

    fn why(
        &self,
        trace: &Trace,
        service: Option<&ServiceState>,
        pin: Option<&PinView>,
        query: &ExplainQuery,
    ) -> Vec<String> {
        let mut why = Vec::new();
        match trace.reason {
            Reason::Foreign | Reason::BackendDirect => why.extend(self.nobody_listens(trace, query)),
            Reason::InactiveListener => why.push(
                "the listener was removed, or is about to come: no service owns it now, and the host's stack gets the packet"
                    .to_owned(),
            ),
            _ => {}
        }
        if let Some(pin) = pin {
            let idle = humantime::format_duration(Duration::from_secs(pin.idle_seconds));
            let flow = format!(
                "a flow of this client is pinned to {} of track {} (state {}, seen {idle} ago)",
                pin.backend, pin.track, pin.state
            );
            why.push(if pin.followed {
                format!("{flow}: the packet follows it, whatever the split says")
            } else {
                format!("{flow}: it is over, and a new flow takes its place")
            });
            if trace.reason == Reason::FlowCut {
                why.push(format!(
                    "{} (by a drain or a change)",
                    Reason::FlowCut.describe()
                ));
            } else if pin.followed && pin.draining {
                why.push(format!(
                    "{} takes no new flows; pinned ones go on",
                    pin.backend
                ));
            }
        }
        if let (Some(choice), Some(service)) = (&trace.choice, service) {
            why.extend(Self::why_track(choice, service, query.client.ip()));
            why.extend(Self::why_backend(trace, choice, service));
        }
        if trace.reason == Reason::NoNextHop {
            why.push(format!(
                "{} (backend {})",
                Reason::NoNextHop.describe(),
                trace.backend
            ));
        }
        why
    }

    fn nobody_listens(&self, trace: &Trace, query: &ExplainQuery) -> Vec<String> {
        let mut why = vec![format!(
            "no service listens at {}/{}: the host's stack gets the packet",
            query.to, query.protocol
        )];
        let mut near: Vec<String> = self
            .world
            .services
            .values()
            .flat_map(|service| service.spec.dialled())
            .filter(|listener| listener.vip == query.to.ip())
            .map(ToString::to_string)
            .collect();
        near.sort();
        if !near.is_empty() {
            why.push(format!("at this VIP there is {}", near.join(", ")));
        }
        if trace.reason == Reason::BackendDirect {
            why.push("its source is a backend's endpoint, but no flow of it goes there".to_owned());
        }
        why
    }

    fn why_track(choice: &Choice, service: &ServiceState, client: IpAddr) -> Vec<String> {
        let name = &service.spec.name;
        let lead = |track: u8| Self::track_name(service, track);
        let track = choice.track.checked_sub(1).map(lead);
        let mut why = Vec::new();
        match (choice.cause, track) {
            (Cause::Preview, Some(track)) => {
                why.push(format!(
                    "it is the preview of {name}, which leads to track {track}"
                ));
            }
            (Cause::Preview, None) => {
                let preview = service.spec.preview.as_ref();
                let out = preview.and_then(|preview| service.drained_tracks.get(&preview.track));
                let state = out.map_or("out", |drain| drain.out.state());
                why.push(format!(
                    "it is the preview of {name}, whose track is {state}: nobody serves it"
                ));
            }
            (Cause::Route, Some(track)) => {
                let route = route_of(service, client);
                let number = route.map_or_else(String::new, |(n, _)| format!(" {}", n + 1));
                let reason = route.and_then(|(_, reason)| reason);
                let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
                why.push(format!(
                    "route{number}{reason} leads {client} to track {track}, before the weights"
                ));
            }
            (_, track) => {
                let covers = match service.split.affinity.key {
                    AffinityKey::Flow => "this flow",
                    AffinityKey::ClientIp => "this client",
                };
                why.push(format!(
                    "{covers} has slot {}, which belongs to track {} (of {name}, generation {})",
                    choice.slot,
                    track.unwrap_or("?"),
                    service.generation
                ));
            }
        }
        let matching = service.spec.routes.iter();
        let matching = matching.filter(|route| route.matches(client));
        let waiting = matching.filter_map(|route| {
            Some((&route.track, service.drained_tracks.get(&route.track)?.out))
        });
        why.extend(waiting.map(|(track, out)| {
            format!(
                "a route to track {track} matches too, but that is {}",
                out.state()
            )
        }));
        why
    }

    fn why_backend(trace: &Trace, choice: &Choice, service: &ServiceState) -> Vec<String> {
        let mut why = Vec::new();
        let own = choice.track.checked_sub(1);
        if let Some(own) = own.filter(|own| trace.track != Some(*own) || trace.backend == 0)
            && trace.reason != Reason::TupleConflict
        {
            why.push(format!(
                "track {} has no backend of this address family that takes new flows",
                Self::track_name(service, own)
            ));
        }
        if fell_back(trace)
            && let Some(track) = trace.track
        {
            why.push(format!(
                "the fallback, track {}, takes it",
                Self::track_name(service, track)
            ));
        }
        match trace.reason {
            Reason::NoBackend | Reason::NoBackendReset | Reason::NoBackendUnreachable => {
                if choice.cause == Cause::Preview {
                    why.push("a preview never falls back".to_owned());
                } else if service.split.steering.fallback.is_none() {
                    why.push("there is no fallback".to_owned());
                } else {
                    why.push("the fallback has none either".to_owned());
                }
                why.push(format!("noBackend: {}", service.spec.no_backend.name()));
            }
            Reason::TupleConflict => why.push(Reason::TupleConflict.describe().to_owned()),
            _ => {}
        }
        if trace.passed_over > 0 && trace.reason != Reason::TupleConflict {
            why.push(format!(
                "the client's address and port reach the first choice through another listener: {} entries of the track's \
                 table were passed over",
                trace.passed_over
            ));
        }
        why
    }

    pub(super) fn which(&self, client: IpAddr, name: &str) -> Result<Which, ApiError> {
        // An IPv4 client as a dual-stack socket writes it is an IPv4 client in every packet.
        let client = client.to_canonical();
        let known: Vec<&String> = self.world.services.keys().collect();
        let services = &self.world.services;
        let service = services
            .get(name)
            .ok_or_else(|| unknown_service(name, &known))?;
        let affinity = &service.split.affinity;
        let mut listeners = service.spec.listeners.iter();
        let listener = listeners
            .find(|listener| listener.vip.is_ipv4() == client.is_ipv4())
            .ok_or_else(|| {
                ApiError::refused(format!(
                    "service {name} has no listener of the address family of {client}"
                ))
            })?;
        if affinity.key == AffinityKey::Flow {
            let to = SocketAddr::new(listener.vip, listener.port);
            return Err(ApiError::refused(format!(
                "service {name} deals every flow for itself (affinity key: flow), so a client has no track: ask for one \
                 flow with `splitterctl explain {} {to} --protocol {}`",
                SocketAddr::new(client, 40_000),
                listener.protocol
            )));
        }
        let explanation = self.explain(&ExplainQuery {
            // A port that no client uses has no pin; neither track nor slot depends on it.
            client: SocketAddr::new(client, 0),
            to: SocketAddr::new(listener.vip, listener.port),
            protocol: listener_view(listener).protocol,
        })?;
        let (Some(slot), Some(by)) = (explanation.slot, explanation.by) else {
            return Err(ApiError::internal(format!(
                "service {name}: the data plane does not have its listener {listener} yet"
            )));
        };
        let Some(track) = explanation.track else {
            return Err(ApiError::refused(format!(
                "a new flow of {client} would not be forwarded: {}",
                explanation.why.join("; ")
            )));
        };
        let routed = by == "route";
        let route = route_of(service, client).filter(|_| routed);
        Ok(Which {
            client,
            service: name.to_owned(),
            generation: service.generation,
            slot,
            by,
            reason: route.and_then(|(_, reason)| reason).map(str::to_owned),
            backend: explanation
                .backend
                .filter(|_| affinity.backend == AffinityKey::ClientIp),
            moves: (!routed && !explanation.fallback)
                .then(|| moves(service, slot, &track))
                .flatten(),
            track,
        })
    }
}

const fn by(choice: &Choice) -> &'static str {
    match choice.cause {
        Cause::Weights => "weights",
        Cause::Route => "route",
        Cause::Preview => "preview",
    }
}

/// Whether the track that takes the flow is not the one that it was led to.
fn fell_back(trace: &Trace) -> bool {
    let led_to = trace.choice.and_then(|choice| choice.track.checked_sub(1));
    trace.backend != 0 && led_to.is_some() && trace.track != led_to
}

/// The route that leads a client: its number from 0, and its reason.
fn route_of(service: &ServiceState, client: IpAddr) -> Option<(usize, Option<&str>)> {
    let routes = service.spec.routes.iter().enumerate();
    let mut open = routes.filter(|(_, route)| !service.drained_tracks.contains_key(&route.track));
    let (number, route) = open.find(|(_, route)| route.matches(client))?;
    Some((number, route.reason.as_deref()))
}

/// Where a client of this slot would move, and at which weight, if two tracks share the new flows.
fn moves(service: &ServiceState, slot: u16, from: &str) -> Option<Move> {
    let weights = service.weights();
    let out = |(name, weight): &(String, Weight)| {
        !weight.is_zero() && service.drained_tracks.contains_key(name)
    };
    if service.ramp.is_some() || weights.iter().any(out) {
        return None;
    }
    let weighted: Vec<&str> = weights
        .iter()
        .filter(|(_, weight)| !weight.is_zero())
        .map(|(name, _)| name.as_str())
        .collect();
    let both: Vec<&str> = match (weighted.len(), weights.len()) {
        (2, _) => weighted,
        (1, 2) => weights.iter().map(|(name, _)| name.as_str()).collect(),
        _ => return None,
    };
    let to = both.into_iter().find(|name| *name != from)?;
    let tracks = [
        (service.number_of(from)?, from),
        (service.number_of(to)?, to),
    ];
    let at = crate::table::split::moves_at(&service.split.slots, slot, tracks)?;
    Some(Move {
        to: to.to_owned(),
        // Less than one slot cannot be asked for.
        at: at.max(Weight::LEAST).to_string(),
    })
}

//! What is in force on this host: services, their splits, and who has which number of the data
//! plane. A value; the writer holds the current one, a plan makes the next one.

mod applied;
mod deletion;
mod freeze;
mod ids;
mod portable;
mod service;
mod steering;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use applied::Applied;
pub use deletion::Deletion;
pub use freeze::Freeze;
pub use ids::{IdState, Ids, IdsFull};
pub use portable::{HostState, PortableError, hex, secret_from_hex};
pub use service::{
    ANCHORS, Anchor, Closing, Drain, Ending, Out, Ramp, ServiceState, Split, SplitFate, UNPLACED,
};
pub use steering::{Preview, Steering};

use crate::model::{self, FlowTimes, Listener, Mode};

/// A backend of one track of one service: what a number of the data plane stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BackendKey {
    /// The service.
    pub service: String,
    /// The track.
    pub track: String,
    /// Its address.
    pub address: IpAddr,
    /// Its port; `None`: each listener's own.
    pub port: Option<u16>,
    /// How packets get to it. Another mode is another number, so that living flows keep theirs.
    #[serde(default)]
    pub mode: Mode,
    /// 0, or which of several earlier ones this is: its flows go on as they were translated when they
    /// began, while new ones are translated to something else.
    #[serde(default)]
    pub former: u32,
}

impl BackendKey {
    /// The key of a backend of a service's track, as the service has it now.
    #[must_use]
    pub fn of(service: &model::Service, track: &str, backend: &model::Backend) -> Self {
        Self {
            service: service.name.clone(),
            track: track.to_owned(),
            address: backend.address,
            port: backend.port,
            mode: service.mode,
            former: 0,
        }
    }

    /// Whether both are one endpoint of one track, reached in whatever way.
    fn is_place_of(&self, other: &Self) -> bool {
        (&self.service, &self.track, self.address, self.port)
            == (&other.service, &other.track, other.address, other.port)
    }
}

/// Everything in force.
#[derive(Debug, Clone)]
pub struct World {
    /// Services by name.
    pub services: BTreeMap<String, ServiceState>,
    /// Numbers of services.
    pub service_ids: Ids<String>,
    /// Numbers of listeners.
    pub listener_ids: Ids<Listener>,
    /// Numbers of backends.
    pub backend_ids: Ids<BackendKey>,
    /// The services that a listener, by number, has belonged to since it has its number: pins of all
    /// of them may live.
    pub listener_services: BTreeMap<u16, BTreeSet<String>>,
    /// How long flows of deleted backends may be silent.
    pub former_times: BTreeMap<u16, FlowTimes>,
    /// The last apply of each service.
    pub applied: BTreeMap<String, Applied>,
}

impl World {
    /// Nothing, with room for so many of each.
    #[must_use]
    pub fn empty(services: u16, listeners: u16, backends: u16) -> Self {
        Self {
            services: BTreeMap::new(),
            service_ids: Ids::new(services),
            listener_ids: Ids::new(listeners),
            backend_ids: Ids::new(backends),
            listener_services: BTreeMap::new(),
            former_times: BTreeMap::new(),
            applied: BTreeMap::new(),
        }
    }

    /// The specs of all services, as validation wants them.
    #[must_use]
    pub fn specs(&self) -> BTreeMap<String, model::Service> {
        self.services
            .iter()
            .map(|(name, service)| (name.clone(), service.spec.clone()))
            .collect()
    }

    /// Services of a release, by name.
    pub fn of_release<'w>(&'w self, release: &'w str) -> impl Iterator<Item = &'w str> + 'w {
        self.services
            .iter()
            .filter(move |(_, service)| service.spec.release.as_deref() == Some(release))
            .map(|(name, _)| name.as_str())
    }

    /// The service of a listener.
    #[must_use]
    pub fn owner_of(&self, listener: &Listener) -> Option<&ServiceState> {
        self.services
            .values()
            .find(|service| service.spec.dialled().any(|dialled| dialled == listener))
    }

    /// Whether a service was deleted and still has numbers.
    #[must_use]
    pub fn is_former(&self, service: &str) -> bool {
        let deleting = |state| matches!(state, IdState::Deleting(_));
        !self.services.contains_key(service)
            && self
                .backend_ids
                .iter()
                .any(|(_, key, state)| key.service == service && deleting(state))
    }

    /// Lets the flows of a deleted service be closed from `now` on: milliseconds since 1970.
    pub fn cut(&mut self, service: &str, now: u64) {
        for (_, key, deletion) in self.backend_ids.deletions_mut() {
            if key.service == service {
                deletion.cut(now);
            }
        }
        // A listener that others have owned too may carry flows of theirs.
        let backends = &self.backend_ids;
        let lives = |other: &String| {
            backends
                .iter()
                .any(|(_, key, state)| key.service == *other && state != IdState::Quarantined)
        };
        let alone = |services: &BTreeSet<String>| {
            services.contains(service)
                && services
                    .iter()
                    .all(|other| other == service || !lives(other))
        };
        for (id, _, deletion) in self.listener_ids.deletions_mut() {
            if self.listener_services.get(&id).is_some_and(alone) {
                deletion.cut(now);
            }
        }
    }

    /// How long flows of a backend may be silent.
    #[must_use]
    pub fn times_of(&self, backend: u16) -> FlowTimes {
        self.backend_ids
            .key_of(backend)
            .and_then(|key| self.services.get(&key.service))
            .map(|service| service.spec.flows.clone())
            .or_else(|| self.former_times.get(&backend).cloned())
            .unwrap_or_default()
    }

    /// Takes a backend's number out of use for new flows: the next [`number`](Self::number) gives the
    /// backend another one, and lets this one go the way of deleted backends.
    pub fn supersede(&mut self, id: u16) {
        let Some(key) = self.backend_ids.key_of(id).cloned() else {
            return;
        };
        let alike = |other: &BackendKey| {
            BackendKey {
                former: 0,
                ..other.clone()
            } == key
        };
        let ids = self.backend_ids.iter();
        let last = ids
            .filter(|(_, other, _)| alike(other))
            .map(|(_, other, _)| other.former);
        let former = last.max().unwrap_or(0) + 1;
        self.backend_ids.rename(id, BackendKey { former, ..key });
    }

    /// Gives numbers to whatever the services need, and marks what none needs any more as deleting
    /// until `now` plus the service's drain timeout, from when on its flows are closed. Times are milliseconds since 1970.
    ///
    /// # Errors
    /// [`IdsFull`] names the limit that is reached.
    pub fn number(&mut self, before: &Self, now: u64) -> Result<(), IdsFull> {
        let mut listeners = BTreeSet::new();
        let mut backends = BTreeSet::new();
        for (name, service) in &self.services {
            self.service_ids.take(name, "limits.services")?;
            listeners.extend(
                service
                    .spec
                    .dialled()
                    .map(|listener| (*listener, name.clone())),
            );
            for track in &service.spec.tracks {
                let keys = track.backends.iter();
                backends.extend(keys.map(|b| BackendKey::of(&service.spec, &track.name, b)));
            }
        }
        for (listener, service) in &listeners {
            let id = self.listener_ids.take(
                listener,
                "the listeners that limits.services allows (4 for each)",
            )?;
            self.listener_services
                .entry(id)
                .or_default()
                .insert(service.clone());
        }
        for backend in &backends {
            self.backend_ids.take(backend, "limits.backends")?;
        }
        let deletion = |service: Option<&ServiceState>| {
            let default = model::DrainPolicy::default();
            Deletion::of(service.map_or(&default, |service| &service.spec.drain), now)
        };
        for listener in self.listener_ids.active() {
            let first = (listener, String::new());
            let wanted = listeners.range(first..).next();
            if wanted.is_none_or(|(wanted, _)| *wanted != listener) {
                self.listener_ids
                    .delete(&listener, deletion(before.owner_of(&listener)));
            }
        }
        // A backend that is still there, but reached in another way from now on, was not removed: its flows
        // live as long as they like.
        let stays = |gone: &BackendKey| backends.iter().any(|key| key.is_place_of(gone));
        for (_, key, superseded) in self.backend_ids.deletions_mut() {
            if superseded.is_endless() && !stays(key) {
                *superseded = deletion(before.services.get(&key.service));
            }
        }
        for backend in self.backend_ids.active() {
            if !backends.contains(&backend) {
                let service = before.services.get(&backend.service);
                if let (Some(id), Some(service)) = (self.backend_ids.get(&backend), service) {
                    self.former_times.insert(id, service.spec.flows.clone());
                }
                let deletion = if stays(&backend) {
                    Deletion::ENDLESS
                } else {
                    deletion(service)
                };
                self.backend_ids.delete(&backend, deletion);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::BackendKey;
    use crate::model::Mode;

    #[test]
    fn a_number_of_a_journal_of_before_there_were_modes_is_of_mode_dnat() {
        let old = r#"{"service":"web","track":"blue","address":"198.18.2.11","port":80}"#;
        let key: BackendKey = serde_json::from_str(old).expect("an old record");
        assert_eq!((key.mode, key.former), (Mode::Dnat, 0));
        let again = serde_json::to_string(&key).expect("plain data");
        assert_eq!(
            serde_json::from_str::<BackendKey>(&again).expect("a new record"),
            key
        );
    }
}

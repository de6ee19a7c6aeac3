//! What has to travel for the same clients to meet the same tracks on another host: a document of kind HostState.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ANCHORS, Anchor, Drain, Ramp, ServiceState, Split, Steering, UNPLACED};
use crate::model::{Affinity, MAX_TRACKS, Route, Service, Weight};
use crate::table::split::{SLOTS, Slots};

/// The kind of the document.
const KIND: &str = "HostState";
/// The version of all documents.
const API_VERSION: &str = "splitter/v1";

/// Everything that decides which client meets which track, the secret included.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostState {
    api_version: String,
    kind: String,
    /// 64 hexadecimal digits: what hashes are keyed with. Whoever has it can choose addresses that meet a track of their choice.
    secret: String,
    services: Vec<Portable>,
}

/// A service in force.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Portable {
    name: String,
    generation: u64,
    split_since: u64,
    /// Numbers of tracks in the splits.
    numbers: BTreeMap<String, u8>,
    split: PortableSplit,
    #[serde(default)]
    drained_tracks: BTreeMap<String, Drain>,
    #[serde(default)]
    drained_backends: Vec<(IpAddr, u16, Drain)>,
    /// It goes on where it stood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ramp: Option<Ramp>,
    #[serde(default)]
    anchors: Vec<PortableAnchor>,
    /// The resource, as `apply` takes it.
    resource: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PortableSplit {
    /// Runs of slots in the scattered order.
    slots: String,
    affinity: Affinity,
    salt: String,
    #[serde(default)]
    steering: Steering,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PortableAnchor {
    since: u64,
    generation: u64,
    split: PortableSplit,
    weights: Vec<(String, Weight)>,
    #[serde(default)]
    routes: Vec<Route>,
    #[serde(default)]
    fallback: Option<String>,
    #[serde(default)]
    drained: BTreeMap<String, Drain>,
}

/// Why a text is no state of a host.
#[derive(Debug, thiserror::Error)]
pub enum PortableError {
    /// It is not YAML of this shape.
    #[error("this is no HostState: {0}; `splitterctl export --with-secret` writes one")]
    Shape(String),
    /// It is, but of another kind or version.
    #[error(
        "this is a {version} {kind}: import takes a splitter/v1 HostState, as `splitterctl export --with-secret` writes it; \
         resources are for `splitterctl apply`"
    )]
    Kind {
        /// What it says it is.
        kind: String,
        /// Its version.
        version: String,
    },
    /// Something in it cannot be.
    #[error("service {service}: {what}; export it anew")]
    Service {
        /// The service.
        service: String,
        /// What is wrong.
        what: String,
    },
    /// The secret is none.
    #[error("the secret is not 64 hexadecimal digits; export it anew")]
    Secret,
}

impl HostState {
    /// The state of these services on a host with this secret.
    ///
    /// # Errors
    /// If a service has no form as YAML.
    pub fn of<'s>(
        services: impl IntoIterator<Item = &'s ServiceState>,
        secret: &[u8; 32],
    ) -> Result<Self, String> {
        let services = services.into_iter().map(Portable::of);
        Ok(Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            secret: hex(secret),
            services: services.collect::<Result<_, _>>()?,
        })
    }

    /// As YAML.
    ///
    /// # Errors
    /// If it has no such form.
    pub fn to_yaml(&self) -> Result<String, String> {
        serde_saphyr::to_string(self).map_err(|error| error.to_string())
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`PortableError`].
    pub fn from_yaml(text: &str) -> Result<Self, PortableError> {
        /// What every document says first.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            api_version: String,
            kind: String,
        }
        let shape = |error: serde_saphyr::Error| PortableError::Shape(error.to_string());
        let first = text.split("\n---").next().unwrap_or_default();
        let head: Head = serde_saphyr::from_str(first).map_err(shape)?;
        if (head.kind.as_str(), head.api_version.as_str()) != (KIND, API_VERSION) {
            return Err(PortableError::Kind {
                kind: head.kind,
                version: head.api_version,
            });
        }
        serde_saphyr::from_str(text).map_err(shape)
    }

    /// The secret.
    ///
    /// # Errors
    /// If it is none.
    pub fn secret(&self) -> Result<[u8; 32], PortableError> {
        secret_from_hex(&self.secret).ok_or(PortableError::Secret)
    }

    /// The resources of all services, as one text.
    #[must_use]
    pub fn resources(&self) -> String {
        let resources = self
            .services
            .iter()
            .map(|service| service.resource.as_str());
        resources.collect::<Vec<_>>().join("\n---\n")
    }

    /// The services, with the specs that their resources came to.
    ///
    /// # Errors
    /// [`PortableError::Service`] names what cannot be.
    pub fn services(self, specs: Vec<Service>) -> Result<Vec<ServiceState>, PortableError> {
        let mut specs: BTreeMap<String, Service> = specs
            .into_iter()
            .map(|spec| (spec.name.clone(), spec))
            .collect();
        let services = self.services.into_iter().map(|service| {
            let name = service.name.clone();
            let failed = |what: String| PortableError::Service {
                service: name.clone(),
                what,
            };
            let spec = specs.remove(&name).ok_or_else(|| {
                failed("its resource is of another name, or it is there twice".into())
            })?;
            service.state(spec).map_err(failed)
        });
        services.collect()
    }
}

impl Portable {
    fn of(service: &ServiceState) -> Result<Self, String> {
        let resource =
            crate::resource::render([&service.spec]).map_err(|error| error.to_string())?;
        let anchors = service.anchors.iter().map(|anchor| PortableAnchor {
            since: anchor.since,
            generation: anchor.generation,
            split: PortableSplit::of(&anchor.split),
            weights: anchor.weights.clone(),
            routes: anchor.routes.clone(),
            fallback: anchor.fallback.clone(),
            drained: anchor.drained.clone(),
        });
        let drained = service.drained_backends.iter();
        Ok(Self {
            name: service.spec.name.clone(),
            generation: service.generation,
            split_since: service.split_since,
            numbers: service.numbers.clone(),
            split: PortableSplit::of(&service.split),
            drained_tracks: service.drained_tracks.clone(),
            drained_backends: drained
                .map(|((address, port), drain)| (*address, *port, drain.clone()))
                .collect(),
            ramp: service.ramp.clone(),
            anchors: anchors.collect(),
            resource,
        })
    }

    fn state(self, spec: Service) -> Result<ServiceState, String> {
        self.check_numbers(&spec)?;
        self.check_generations()?;
        self.check_ramp()?;
        let anchors = self.anchors.into_iter().map(|anchor| {
            Ok(Anchor {
                since: anchor.since,
                generation: anchor.generation,
                split: anchor.split.split(&self.numbers)?,
                weights: anchor.weights,
                routes: anchor.routes,
                fallback: anchor.fallback,
                drained: anchor.drained,
            })
        });
        let anchors: Vec<Anchor> = anchors.collect::<Result<_, String>>()?;
        let split = self.split.split(&self.numbers)?;
        let counts = split.slots.counts();
        let gone = |(name, number): &(&String, &u8)| {
            counts[usize::from(**number)] > 0 && spec.track(name).is_none()
        };
        if let Some((name, _)) = self.numbers.iter().find(gone) {
            return Err(format!(
                "its split gives flows to track `{name}`, which it does not have"
            ));
        }
        if !split.steering.same_for_clients(&Steering::of(
            &spec,
            &self.numbers,
            &self.drained_tracks,
        )) {
            return Err(
                "its split has other routes or another fallback than its resource".to_owned(),
            );
        }
        let written = split.affinity.salt.as_ref();
        let salted = split.salt == spec.salt() && written.is_none_or(|salt| *salt == split.salt);
        if !salted || !split.affinity.covers_like(&spec.affinity) {
            return Err("its split has another affinity or salt than its resource".to_owned());
        }
        let drained = self.drained_backends.into_iter();
        Ok(ServiceState {
            spec,
            generation: self.generation,
            split_since: self.split_since,
            numbers: self.numbers,
            drained_tracks: self.drained_tracks,
            drained_backends: drained
                .map(|(address, port, drain)| ((address, port), drain))
                .collect(),
            split,
            anchors,
            // Flows that are being closed are flows of the other host.
            closings: BTreeMap::new(),
            // Its backends have served for long.
            warming: BTreeMap::new(),
            ramp: self.ramp,
        })
    }

    fn check_numbers(&self, spec: &Service) -> Result<(), String> {
        let distinct: BTreeSet<u8> = self.numbers.values().copied().collect();
        let in_range = self
            .numbers
            .values()
            .all(|number| usize::from(*number) < MAX_TRACKS);
        if distinct.len() != self.numbers.len() || !in_range {
            return Err("its tracks are not numbered 0 to 7, each once".to_owned());
        }
        let unnumbered = |track: &&crate::model::Track| !self.numbers.contains_key(&track.name);
        match spec.tracks.iter().find(unnumbered) {
            Some(track) => Err(format!("track `{}` has no number", track.name)),
            None => Ok(()),
        }
    }

    /// A ramp begins with all slots, at tracks that have a number, and is not over.
    fn check_ramp(&self) -> Result<(), String> {
        let Some(ramp) = &self.ramp else {
            return Ok(());
        };
        let numbered = |number: u8| self.numbers.values().any(|known| *known == number);
        let mut owned = (0_u8..).zip(ramp.start).filter(|(_, slots)| *slots > 0);
        let all = ramp
            .start
            .iter()
            .map(|slots| u64::from(*slots))
            .sum::<u64>();
        if u64::try_from(SLOTS) != Ok(all) || !owned.all(|(number, _)| numbered(number)) {
            return Err(format!(
                "its ramp begins with {all} slots, not with {SLOTS} of tracks that it has"
            ));
        }
        if ramp.done_ms >= ramp.duration_ms {
            return Err("its ramp is over and should not be there".to_owned());
        }
        Ok(())
    }

    /// Generations count down from the one in force, without overlap.
    fn check_generations(&self) -> Result<(), String> {
        if self.anchors.len() > ANCHORS {
            return Err(format!("{} anchors: at most {ANCHORS}", self.anchors.len()));
        }
        let mut after = (self.split_since, self.generation);
        for anchor in &self.anchors {
            let (since, last) = (anchor.since, anchor.generation);
            if since > last || last >= after.0 {
                return Err(format!(
                    "anchor {since}-{last} is not before {}-{}",
                    after.0, after.1
                ));
            }
            after = (since, last);
        }
        if after.0 == 0 || self.split_since > self.generation {
            return Err("its generations do not count from 1".to_owned());
        }
        Ok(())
    }
}

impl PortableSplit {
    fn of(split: &Split) -> Self {
        Self {
            slots: split.slots.runs(),
            affinity: split.affinity.clone(),
            salt: split.salt.clone(),
            steering: split.steering.clone(),
        }
    }

    fn split(self, numbers: &BTreeMap<String, u8>) -> Result<Split, String> {
        let slots = Slots::from_runs(&self.slots).map_err(|error| error.to_string())?;
        let owned = (0_u8..).zip(slots.counts()).filter(|(_, count)| *count > 0);
        for (number, _) in owned {
            if !numbers.values().any(|known| *known == number) {
                return Err(format!(
                    "slots belong to number {number}, which no track has"
                ));
            }
        }
        Ok(Split {
            slots: Arc::new(slots),
            affinity: self.affinity,
            salt: self.salt,
            steering: self.steering,
            table: UNPLACED,
        })
    }
}

/// 64 hexadecimal digits.
#[must_use]
pub fn hex(secret: &[u8; 32]) -> String {
    secret.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The secret that [`hex`] wrote.
#[must_use]
pub fn secret_from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect();
    if digits.len() != 64 {
        return None;
    }
    bytes.try_into().ok()
}

//! Between what is in force and the journal's records.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::WriterError;
use crate::model::{Affinity, FlowTimes, Listener, Route, Service, Weight};
use crate::state::{
    Anchor, BackendKey, Closing, Drain, IdState, Ids, Ramp, ServiceState, Split, Steering, World,
};
use crate::store::{AnchorRecord, IdRecord, ServiceRecord, Slots as Blob};
use crate::table::split::Slots;

/// What is kept beside a spec.
#[derive(Serialize, Deserialize)]
struct Beside {
    numbers: BTreeMap<String, u8>,
    drained_tracks: BTreeMap<String, Drain>,
    drained_backends: Vec<(IpAddr, u16, Drain)>,
    #[serde(default)]
    closings: BTreeMap<String, Closing>,
    affinity: Affinity,
    salt: String,
    /// Journals of before there were several anchors do not say.
    #[serde(default)]
    split_since: Option<u64>,
    #[serde(default)]
    steering: Steering,
    #[serde(default)]
    warming: Vec<(IpAddr, u16, u64)>,
    #[serde(default)]
    ramp: Option<Ramp>,
}

/// What is kept beside an anchor's slots.
#[derive(Serialize, Deserialize)]
struct BesideAnchor {
    weights: Vec<(String, Weight)>,
    drained: BTreeMap<String, Drain>,
    affinity: Affinity,
    salt: String,
    /// Journals of before there were several anchors do not say.
    #[serde(default)]
    since: Option<u64>,
    #[serde(default)]
    steering: Steering,
    #[serde(default)]
    routes: Vec<Route>,
    #[serde(default)]
    fallback: Option<String>,
}

/// What is kept of a listener's number.
#[derive(Serialize, Deserialize)]
struct ListenerRecord {
    listener: Listener,
    services: BTreeSet<String>,
}

/// What is kept of a backend's number.
#[derive(Serialize, Deserialize)]
struct BackendRecord {
    key: BackendKey,
    times: Option<FlowTimes>,
}

fn blob(slots: &Slots) -> Blob {
    Box::new(*slots.as_bytes())
}

fn json<T: Serialize>(value: &T) -> String {
    // Plain data with text keys: it has a JSON form.
    serde_json::to_string(value).unwrap_or_default()
}

/// The record of a service whose splits are placed.
pub(super) fn service(service: &ServiceState, id: u16) -> ServiceRecord {
    let beside = Beside {
        numbers: service.numbers.clone(),
        drained_tracks: service.drained_tracks.clone(),
        drained_backends: service
            .drained_backends
            .iter()
            .map(|((a, p), drain)| (*a, *p, drain.clone()))
            .collect(),
        closings: service.closings.clone(),
        affinity: service.split.affinity.clone(),
        salt: service.split.salt.clone(),
        split_since: Some(service.split_since),
        steering: service.split.steering.clone(),
        warming: service
            .warming
            .iter()
            .map(|((address, port), since)| (*address, *port, *since))
            .collect(),
        ramp: service.ramp.clone(),
    };
    let anchors = service.anchors.iter().map(|anchor| AnchorRecord {
        generation: anchor.generation,
        index: anchor.split.table,
        slots: blob(&anchor.split.slots),
        state_json: json(&BesideAnchor {
            weights: anchor.weights.clone(),
            drained: anchor.drained.clone(),
            affinity: anchor.split.affinity.clone(),
            salt: anchor.split.salt.clone(),
            since: Some(anchor.since),
            steering: anchor.split.steering.clone(),
            routes: anchor.routes.clone(),
            fallback: anchor.fallback.clone(),
        }),
    });
    ServiceRecord {
        name: service.spec.name.clone(),
        generation: service.generation,
        data_plane_id: id,
        spec_json: json(&service.spec),
        state_json: json(&beside),
        current: blob(&service.split.slots),
        current_index: service.split.table,
        anchors: anchors.collect(),
    }
}

/// A service back from its record.
pub(super) fn read_service(record: &ServiceRecord) -> Result<ServiceState, WriterError> {
    let failed = |message: String| WriterError::Record {
        service: record.name.clone(),
        message,
    };
    let spec: Service =
        serde_json::from_str(&record.spec_json).map_err(|error| failed(error.to_string()))?;
    let beside: Beside =
        serde_json::from_str(&record.state_json).map_err(|error| failed(error.to_string()))?;
    let slots =
        |blob: &Blob| Slots::from_bytes(blob.as_slice()).map_err(|error| failed(error.to_string()));
    let anchors = record.anchors.iter().map(|anchor| {
        let kept: BesideAnchor =
            serde_json::from_str(&anchor.state_json).map_err(|error| failed(error.to_string()))?;
        Ok(Anchor {
            since: kept.since.unwrap_or(anchor.generation),
            generation: anchor.generation,
            split: Split {
                slots: Arc::new(slots(&anchor.slots)?),
                affinity: kept.affinity,
                salt: kept.salt,
                steering: kept.steering,
                table: anchor.index,
            },
            weights: kept.weights,
            routes: kept.routes,
            fallback: kept.fallback,
            drained: kept.drained,
        })
    });
    let anchors: Vec<Anchor> = anchors.collect::<Result<_, WriterError>>()?;
    let follows = |anchor: &Anchor| anchor.generation + 1;
    let split_since = beside.split_since.or_else(|| anchors.first().map(follows));
    Ok(ServiceState {
        spec,
        generation: record.generation,
        split_since: split_since.unwrap_or(1),
        numbers: beside.numbers,
        drained_tracks: beside.drained_tracks,
        drained_backends: beside
            .drained_backends
            .into_iter()
            .map(|(a, p, drain)| ((a, p), drain))
            .collect(),
        closings: beside.closings,
        warming: beside
            .warming
            .into_iter()
            .map(|(address, port, since)| ((address, port), since))
            .collect(),
        ramp: beside.ramp,
        split: Split {
            slots: Arc::new(slots(&record.current)?),
            affinity: beside.affinity,
            salt: beside.salt,
            steering: beside.steering,
            table: record.current_index,
        },
        anchors,
    })
}

/// How the state of a number in use is recorded.
pub(super) fn active() -> String {
    json(&IdState::Active)
}

/// Every number of a world.
pub(super) fn ids(world: &World) -> Vec<IdRecord> {
    let record = |kind: &str, id: u16, key_json: String, state: IdState| IdRecord {
        kind: kind.to_owned(),
        id: id.into(),
        key_json,
        state: json(&state),
    };
    let services = world
        .service_ids
        .iter()
        .map(|(id, key, state)| record("service", id, json(key), state));
    let listeners = world.listener_ids.iter().map(|(id, key, state)| {
        let services = world
            .listener_services
            .get(&id)
            .cloned()
            .unwrap_or_default();
        record(
            "listener",
            id,
            json(&ListenerRecord {
                listener: *key,
                services,
            }),
            state,
        )
    });
    let backends = world.backend_ids.iter().map(|(id, key, state)| {
        let times = world.former_times.get(&id).cloned();
        record(
            "backend",
            id,
            json(&BackendRecord {
                key: key.clone(),
                times,
            }),
            state,
        )
    });
    services.chain(listeners).chain(backends).collect()
}

/// What changed in the numbers from `before` to `after`.
pub(super) fn changed_ids(before: &World, after: &World) -> Vec<IdRecord> {
    if before.service_ids == after.service_ids
        && before.listener_ids == after.listener_ids
        && before.backend_ids == after.backend_ids
        && before.listener_services == after.listener_services
        && before.former_times == after.former_times
    {
        return Vec::new();
    }
    fn keyed(records: Vec<IdRecord>) -> BTreeMap<(String, u32), IdRecord> {
        let key = |record: &IdRecord| (record.kind.clone(), record.id);
        records
            .into_iter()
            .map(|record| (key(&record), record))
            .collect()
    }
    let (old, new) = (keyed(ids(before)), keyed(ids(after)));
    let gone = old.iter().filter(|(key, _)| !new.contains_key(*key));
    let freed: Vec<IdRecord> = gone
        .map(|(_, record)| IdRecord {
            state: IdRecord::FREE.to_owned(),
            ..record.clone()
        })
        .collect();
    let changed = new
        .into_iter()
        .filter(|(key, record)| old.get(key) != Some(record));
    changed.map(|(_, record)| record).chain(freed).collect()
}

/// Puts recorded numbers into a world.
pub(super) fn read_ids(records: &[IdRecord], world: &mut World) -> Result<(), WriterError> {
    for record in records {
        let failed = |message: String| WriterError::Record {
            service: format!("(number {} of a {})", record.id, record.kind),
            message,
        };
        let read = |error: serde_json::Error| failed(error.to_string());
        let id = u16::try_from(record.id).map_err(|error| failed(error.to_string()))?;
        let state: IdState = serde_json::from_str(&record.state).map_err(read)?;
        match record.kind.as_str() {
            "service" => put(
                &mut world.service_ids,
                id,
                serde_json::from_str(&record.key_json).map_err(read)?,
                state,
            ),
            "listener" => {
                let kept: ListenerRecord = serde_json::from_str(&record.key_json).map_err(read)?;
                put(&mut world.listener_ids, id, kept.listener, state);
                world.listener_services.insert(id, kept.services);
            }
            "backend" => {
                let kept: BackendRecord = serde_json::from_str(&record.key_json).map_err(read)?;
                put(&mut world.backend_ids, id, kept.key, state);
                world
                    .former_times
                    .extend(kept.times.map(|times| (id, times)));
            }
            other => return Err(failed(format!("nothing is called a {other}"))),
        }
    }
    Ok(())
}

fn put<K: Ord + Clone>(ids: &mut Ids<K>, id: u16, key: K, state: IdState) {
    ids.restore(id, key, state);
}

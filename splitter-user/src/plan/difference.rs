//! diff: a text, what is desired, and what was applied last, field by field.

use std::collections::{BTreeMap, BTreeSet};

use super::apply::{read, resolve};
use crate::api::types::{
    ApiError, Command, DiffAction, DiffRequest, DiffView, FieldDiff, ServiceDiff,
};
use crate::model::Service;
use crate::resource::fields_of;
use crate::state::World;

/// What applying a text would change, and what was changed by other means since the last apply.
///
/// # Errors
/// Whatever an apply would be refused for.
pub fn difference(world: &World, request: &DiffRequest, now: u64) -> Result<DiffView, ApiError> {
    let DiffRequest {
        yaml,
        origin,
        prune,
    } = request.clone();
    let specs = resolve(world, &read(&yaml, &origin)?)?;
    let command = if prune {
        Command::ApplyAndPrune { yaml, origin }
    } else {
        Command::Apply { yaml, origin }
    };
    let plan = super::plan(world, &command, None, now)?;
    let mut specs: BTreeMap<String, Service> = specs
        .into_iter()
        .map(|spec| (spec.name.clone(), spec))
        .collect();
    let names: BTreeSet<String> = specs.keys().chain(&plan.deleted).cloned().collect();
    let services: Vec<ServiceDiff> = names
        .into_iter()
        .map(|name| {
            let spec = specs.remove(&name);
            service(world, name, spec.as_ref())
        })
        .collect();
    Ok(DiffView {
        changed: services
            .iter()
            .any(|service| service.action != DiffAction::Keep),
        services,
    })
}

fn service(world: &World, name: String, file: Option<&Service>) -> ServiceDiff {
    let there = world.services.get(&name);
    let applied = world.applied.get(&name).filter(|_| there.is_some());
    let fields = compare(
        file,
        there.map(|service| &service.spec),
        applied.map(|applied| &applied.spec),
    );
    let drained = there.map(|service| {
        let tracks = service
            .drained_tracks
            .keys()
            .map(|track| format!("track {track}"));
        let backends = service
            .drained_backends
            .keys()
            .map(|(address, port)| match port {
                0 => format!("backend {address}"),
                port => format!("backend {}", std::net::SocketAddr::new(*address, *port)),
            });
        tracks.chain(backends).collect()
    });
    ServiceDiff {
        action: match (file, there) {
            (None, _) => DiffAction::Prune,
            (Some(_), None) => DiffAction::Create,
            (Some(file), Some(there)) if *file == there.spec => DiffAction::Keep,
            (Some(_), Some(_)) => DiffAction::Update,
        },
        generation: there.map_or(0, |service| service.generation),
        origin: applied.map(|applied| applied.origin.clone()),
        fields,
        drained: drained.unwrap_or_default(),
        service: name,
    }
}

fn compare(
    file: Option<&Service>,
    desired: Option<&Service>,
    applied: Option<&Service>,
) -> Vec<FieldDiff> {
    let fields = |service: Option<&Service>| service.map(fields_of).unwrap_or_default();
    let (f, d, a) = (fields(file), fields(desired), fields(applied));
    let paths: BTreeSet<&String> = f.keys().chain(d.keys()).chain(a.keys()).collect();
    let all = paths.into_iter().map(|path| {
        let of = |fields: &BTreeMap<String, String>| fields.get(path).cloned();
        let (file, desired, before) = (of(&f), of(&d), of(&a));
        FieldDiff {
            path: path.clone(),
            changes: file != desired,
            runtime: applied.is_some() && before != desired,
            file,
            desired,
            applied: before,
        }
    });
    all.filter(|field| field.changes || field.runtime).collect()
}

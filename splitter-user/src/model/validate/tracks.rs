//! Tracks of one service: their names, weights and backends.

use std::collections::{BTreeMap, BTreeSet};

use super::Problems;
use crate::diagnostic::list;
use crate::model::{
    Endpoint, Family, Listener, MAX_BACKENDS_PER_TRACK, MAX_TRACKS, Place, Service, Track, Weight,
};

pub(super) fn check(service: &Service, problems: &mut Problems<'_>) {
    if service.tracks.is_empty() || service.tracks.len() > MAX_TRACKS {
        problems.add(
            Place::Tracks,
            format!(
                "{} tracks: a service has from 1 to {MAX_TRACKS}",
                service.tracks.len()
            ),
            "add a track, or take some out",
        );
    }
    names(service, problems);
    weights(service, problems);
    for (index, track) in service.tracks.iter().enumerate() {
        families(service, index, track, problems);
        if track.backends.len() > MAX_BACKENDS_PER_TRACK {
            problems.add(
                Place::Backends(index),
                format!(
                    "track `{}` has {} backends: a track has at most {MAX_BACKENDS_PER_TRACK}",
                    track.name,
                    track.backends.len()
                ),
                "split it into two tracks",
            );
        }
    }
    repeated_backends(service, problems);
}

fn names(service: &Service, problems: &mut Problems<'_>) {
    let mut seen = BTreeSet::new();
    for (index, track) in service.tracks.iter().enumerate() {
        problems.label(Place::TrackName(index), "the track's name", &track.name);
        if let Some(version) = &track.version {
            problems.text(Place::Version(index), "the version", version, 63);
        }
        if !seen.insert(&track.name) {
            problems.add(
                Place::TrackName(index),
                format!("there are two tracks `{}`", track.name),
                "give each track its own name",
            );
        }
    }
}

fn weights(service: &Service, problems: &mut Problems<'_>) {
    let weighted = |track: &&Track| track.weight.is_some();
    let given = service.tracks.iter().filter(weighted).count();
    if given == 0 {
        return;
    }
    for (index, track) in service.tracks.iter().enumerate() {
        match track.weight {
            Some(weight) if weight.is_under_one_slot() => problems.add(
                Place::Weight(index),
                format!("weight {weight}% is less than one slot of the split table (100/65536 %)"),
                format!("write 0%, or at least {}%", Weight::LEAST),
            ),
            Some(_) => {}
            None => problems.add(
                Place::Weight(index),
                format!(
                    "track `{}` has no weight, others have: weights are given for all tracks or \
                     for none",
                    track.name
                ),
                "give this track a weight (0% for none), or take out all weights to keep those \
                 in force",
            ),
        }
    }
    let sum: u32 = service
        .tracks
        .iter()
        .filter_map(|track| track.weight)
        .map(Weight::millis)
        .sum();
    if given == service.tracks.len() && sum != Weight::FULL.millis() {
        problems.add(
            Place::Weight(service.tracks.len() - 1),
            format!(
                "the weights sum to {}%: {}; they must sum to 100%",
                thousandths(sum),
                list(
                    service
                        .tracks
                        .iter()
                        .map(|track| format!(
                            "{}={}%",
                            track.name,
                            track.weight.unwrap_or_default()
                        ))
                        .collect::<Vec<_>>()
                        .iter()
                        .map(String::as_str)
                )
            ),
            match sum.checked_sub(Weight::FULL.millis()) {
                Some(over) => format!("take {}% away", thousandths(over)),
                None => format!("add {}%", thousandths(Weight::FULL.millis() - sum)),
            },
        );
    }
}

/// A sum of weights, which may be over 100 %.
fn thousandths(millis: u32) -> String {
    let text = format!("{}.{:03}", millis / 1_000, millis % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn families(service: &Service, index: usize, track: &Track, problems: &mut Problems<'_>) {
    let only = service.tracks.len() == 1 && track.weight.is_none();
    if only || track.weight.is_some_and(|weight| !weight.is_zero()) {
        for family in service.families_without_backend(track) {
            problems.add(
                Place::Backends(index),
                format!(
                    "track `{}` takes new flows, but has no {family} backend for the service's \
                     {family} listener",
                    track.name
                ),
                format!("add a backend with an {family} address, or take its weight away"),
            );
        }
    }
    let dialled: BTreeSet<Family> = service.dialled().map(Listener::family).collect();
    for (b, backend) in track.backends.iter().enumerate() {
        if !dialled.is_empty() && !dialled.contains(&backend.family()) {
            problems.add(
                Place::Address(index, b),
                format!(
                    "backend {backend} is {}, but no listener of the service is",
                    backend.family()
                ),
                format!(
                    "add an {} listener, or take the backend out",
                    backend.family()
                ),
            );
        }
    }
}

/// One endpoint, one backend, one track: else nobody could say whose flow it is.
fn repeated_backends(service: &Service, problems: &mut Problems<'_>) {
    let mut first: BTreeMap<Endpoint, (usize, usize)> = BTreeMap::new();
    for (t, track) in service.tracks.iter().enumerate() {
        for (b, backend) in track.backends.iter().enumerate() {
            let endpoints: BTreeSet<Endpoint> = service
                .dialled()
                .filter_map(|listener| backend.endpoint_for(listener))
                .collect();
            let mut said = false;
            for endpoint in endpoints {
                let (before, _) = *first.entry(endpoint).or_insert((t, b));
                if first.get(&endpoint) == Some(&(t, b)) || said {
                    continue;
                }
                said = true;
                let (message, fix) = if before == t {
                    (
                        format!("backend {endpoint} is twice in track `{}`", track.name),
                        "take one out, and give the other the weight of both",
                    )
                } else {
                    (
                        format!(
                            "backend {endpoint} is in two tracks, `{}` and `{}`",
                            service.tracks[before].name, track.name
                        ),
                        "a backend belongs to one track: take it out of the other",
                    )
                };
                problems.add(Place::Backend(t, b), message, fix);
            }
        }
    }
}

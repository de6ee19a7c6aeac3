//! Tracks of a service document, and their backends.

use std::str::FromStr;

use super::fields::{Field, Fields, Known};
use super::places::Places;
use super::service::text_of;
use crate::diagnostic::Report;
use crate::model::{Backend, Curve, MAX_BACKEND_WEIGHT, Place, SlowStart, Track, Weight};

const TRACK: Known = Known {
    now: &["name", "version", "weight", "slowStart", "backends"],
    later: &["minHealthy"],
};
const SLOW_START: Known = Known {
    now: &["duration", "curve"],
    later: &[],
};
const BACKEND: Known = Known {
    now: &["address", "port", "weight"],
    later: &[],
};

pub(super) fn tracks(
    spec: &Fields<'_>,
    places: &mut Places,
    report: &mut Report<'_>,
) -> Vec<Track> {
    let Some(field) = spec.require(
        "tracks",
        "[{name: blue, backends: [{address: 198.18.2.11}]}]",
        report,
    ) else {
        return Vec::new();
    };
    places.put(Place::Tracks, field.node.at);
    let elements = field.elements(report).unwrap_or_default();
    elements
        .into_iter()
        .enumerate()
        .filter_map(|(index, element)| track(index, element, places, report))
        .collect()
}

fn track(
    index: usize,
    element: Field<'_>,
    places: &mut Places,
    report: &mut Report<'_>,
) -> Option<Track> {
    places.put(Place::Track(index), element.node.at);
    let fields = Fields::open(element, &TRACK, report)?;
    let name = fields.require("name", "blue", report).and_then(|field| {
        places.put(Place::TrackName(index), field.node.at);
        field.text(report)
    });
    let version = text_of(&fields, "version", Place::Version(index), places, report);
    let weight = fields.get("weight").and_then(|field| {
        places.put(Place::Weight(index), field.node.at);
        weight(&field, report)
    });
    let slow_start = fields
        .get("slowStart")
        .and_then(|field| slow_start(index, field, places, report));
    let backends = fields.get("backends").map(|field| {
        places.put(Place::Backends(index), field.node.at);
        let elements = field.elements(report).unwrap_or_default();
        elements
            .into_iter()
            .enumerate()
            .filter_map(|(b, element)| backend(index, b, element, places, report))
            .collect()
    });
    Some(Track {
        name: name?.to_owned(),
        version,
        weight,
        slow_start,
        backends: backends.unwrap_or_default(),
    })
}

fn slow_start(
    t: usize,
    field: Field<'_>,
    places: &mut Places,
    report: &mut Report<'_>,
) -> Option<SlowStart> {
    let fields = Fields::open(field, &SLOW_START, report)?;
    let duration = fields.require("duration", "60s", report).and_then(|field| {
        places.put(Place::SlowStart(t), field.node.at);
        field.duration(report)
    });
    let curve = fields.get("curve");
    let curve = curve.and_then(|field| field.word(&Curve::NAMES, &[], report));
    Some(SlowStart {
        duration: duration?,
        curve: curve.unwrap_or_default(),
    })
}

fn weight(field: &Field<'_>, report: &mut Report<'_>) -> Option<Weight> {
    let text = field.text(report)?;
    match Weight::from_str(text) {
        Ok(weight) => Some(weight),
        Err(error) => {
            let digits = text.trim_end_matches('%').trim();
            let fix = if Weight::from_str(&format!("{digits}%")).is_ok() {
                format!("write {digits}%")
            } else {
                "write a weight such as 5% or 0.125%".to_owned()
            };
            field.error(report, format!("weight `{text}` is {error}"), fix);
            None
        }
    }
}

fn backend(
    t: usize,
    b: usize,
    element: Field<'_>,
    places: &mut Places,
    report: &mut Report<'_>,
) -> Option<Backend> {
    places.put(Place::Backend(t, b), element.node.at);
    let fields = Fields::open(element, &BACKEND, report)?;
    let address = fields
        .require("address", "198.18.2.11", report)
        .and_then(|field| {
            places.put(Place::Address(t, b), field.node.at);
            field.address(report)
        });
    let port = fields.get("port").and_then(|field| {
        places.put(Place::BackendPort(t, b), field.node.at);
        field.number(1..=u16::MAX, report)
    });
    let weight = fields.get("weight").and_then(|field| {
        places.put(Place::BackendWeight(t, b), field.node.at);
        if matches!(field.text(report)?, "0" | "0%") {
            field.error(
                report,
                format!("a backend's weight of 0: from 1 to {MAX_BACKEND_WEIGHT} are possible"),
                "leave it out and drain the backend: splitterctl drain SERVICE BACKEND",
            );
            return None;
        }
        field.number(1..=MAX_BACKEND_WEIGHT, report)
    });
    Some(Backend {
        address: address?,
        port,
        weight: weight.unwrap_or(1),
    })
}

//! Resources: YAML text, several documents, to the model and back.
//!
//! [`parse`] looks at a text by itself. The agent, which knows what is in force, goes by way of
//! [`read`] and [`File::resolve`]. Either reports everything that is wrong, with line and caret:
//! what cannot be read in any document, and what makes no sense in those that can.

mod export;
mod fields;
mod fields_of;
mod lint;
mod places;
mod service;
mod track;
mod tree;
mod ways;

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostics, Report};
use crate::model::{At, Place, Problem, Service, validate_service, validate_set};
use crate::share;
use fields::{Field, Fields, Known};
use places::Places;

pub use export::render;
pub use fields_of::fields_of;
pub use lint::{Lint, lint};

const DOCUMENT: Known = Known {
    now: &["apiVersion", "kind", "metadata", "spec"],
    later: &[],
};
const LATER_KINDS: &[&str] = &["Rollout", "AnalysisTemplate"];

/// Reads a text and checks it by itself. `origin` names it in messages: a path, or `<stdin>`.
pub fn parse(text: &str, origin: &str) -> Result<Vec<Service>, Diagnostics> {
    read(text, origin).map(|file| file.services)
}

/// A text that could be read, by itself in order.
#[derive(Debug, Clone)]
pub struct File {
    /// Its services, in the order of the text. Weights may be missing.
    pub services: Vec<Service>,
    places: Vec<Places>,
    text: String,
    origin: String,
}

/// The names of the services in a text, as far as it can be read at all: for checks that come before what is wrong with it.
#[must_use]
pub fn names(text: &str) -> Vec<String> {
    let mut unheard = Report::new("", text);
    let documents = tree::documents(text, &mut unheard);
    let names = documents.iter().filter_map(|document| {
        document
            .entry("metadata")?
            .entry("name")?
            .scalar()
            .map(str::to_owned)
    });
    names.collect()
}

/// Reads a text and checks it by itself, and remembers where everything stands.
pub fn read(text: &str, origin: &str) -> Result<File, Diagnostics> {
    let mut report = Report::new(origin, text);
    let mut good: Vec<(Service, Places)> = Vec::new();
    let documents = tree::documents(text, &mut report);
    if documents.is_empty() && report.len() == 0 {
        report.error(
            None,
            "",
            "there is no resource in it",
            "write at least one document: apiVersion: splitter/v1, kind: Service, ...",
        );
    }
    for node in &documents {
        let before = report.len();
        let field = Field {
            node,
            path: String::new(),
        };
        let read = document(field, &mut report);
        if let (Some(read), true) = (read, report.len() == before) {
            good.push(read);
        }
    }
    check(&good, &mut report);
    let (services, places) = good.into_iter().unzip();
    report.finish(File {
        services,
        places,
        text: text.to_owned(),
        origin: origin.to_owned(),
    })
}

impl File {
    /// Gives the services with their weights, those that the text leaves out taken over from what
    /// is in force, and checks them together with all other services in force.
    pub fn resolve(
        &self,
        in_force: &BTreeMap<String, Service>,
    ) -> Result<Vec<Service>, Diagnostics> {
        let mut report = Report::new(&self.origin, &self.text);
        let mut services = Vec::new();
        for service in &self.services {
            let before = in_force.get(&service.name).and_then(Service::weights);
            let names: Vec<&str> = service.tracks.iter().map(|t| t.name.as_str()).collect();
            if service.tracks.iter().any(|track| track.weight.is_some()) {
                services.push(service.clone());
                continue;
            }
            match share::inherit(&names, before.as_deref()) {
                Ok(weights) => services.push(service.clone().with_weights(&weights)),
                Err(error) => {
                    self.problem(
                        &Problem {
                            at: vec![At {
                                service: service.name.clone(),
                                place: Place::Tracks,
                            }],
                            message: error.to_string(),
                            fix: "give every track a weight, 100% in all".to_owned(),
                        },
                        &mut report,
                    );
                    services.push(service.clone());
                }
            }
        }
        let mut set = in_force.clone();
        set.extend(services.iter().map(|s| (s.name.clone(), s.clone())));
        for problem in validate_set(&set) {
            self.problem(&problem, &mut report);
        }
        report.finish(services)
    }

    /// Diagnostics for problems that were found in these services by somebody else.
    pub fn locate(&self, problems: &[Problem]) -> Result<(), Diagnostics> {
        let mut report = Report::new(&self.origin, &self.text);
        for problem in problems {
            self.problem(problem, &mut report);
        }
        report.finish(())
    }

    fn problem(&self, problem: &Problem, report: &mut Report<'_>) {
        let places = self.services.iter().zip(&self.places);
        let places: Vec<_> = places.map(|(s, p)| (s.name.as_str(), p)).collect();
        locate(problem, &places, report);
    }
}

fn document(field: Field<'_>, report: &mut Report<'_>) -> Option<(Service, Places)> {
    let document = Fields::open(field, &DOCUMENT, report)?;
    if let Some(version) = document.require("apiVersion", "splitter/v1", report) {
        version.word(&[("splitter/v1", ())], &[], report);
    }
    document
        .require("kind", "Service", report)?
        .word(&[("Service", ())], LATER_KINDS, report)?;
    service::service(&document, report)
}

/// Checks the services that could be read, each by itself and all together.
fn check(good: &[(Service, Places)], report: &mut Report<'_>) {
    let mut set: BTreeMap<String, Service> = BTreeMap::new();
    for (service, places) in good {
        if !set.contains_key(&service.name) {
            set.insert(service.name.clone(), service.clone());
            continue;
        }
        report.error(
            places.find(Place::Name),
            Place::Name.to_string(),
            format!("there are two services `{}` in this text", service.name),
            "give one another name, or take it out",
        );
        for problem in validate_service(service) {
            locate(&problem, &[(&service.name, places)], report);
        }
    }
    let mut places: Vec<(&str, &Places)> = Vec::new();
    for (service, found) in good {
        if !places.iter().any(|(name, _)| *name == service.name) {
            places.push((&service.name, found));
        }
    }
    for problem in validate_set(&set) {
        locate(&problem, &places, report);
    }
}

/// Reports a problem at the last of its places that stands in this text.
fn locate(problem: &Problem, places: &[(&str, &Places)], report: &mut Report<'_>) {
    let here = problem.at.iter().rev().find_map(|at| {
        let (_, places) = places.iter().find(|(name, _)| *name == at.service)?;
        Some((at, places.find(at.place)))
    });
    let (at, position) = match here {
        Some((at, position)) => (Some(at), position),
        None => (problem.at.last(), None),
    };
    let path = at.map_or_else(String::new, |at| {
        format!("service {}: {}", at.service, at.place)
    });
    report.error(position, path, problem.message.clone(), problem.fix.clone());
}

#[cfg(test)]
mod tests;

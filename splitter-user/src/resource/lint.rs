//! What can be said of a text without an agent: everything that is wrong, and what is hardly meant.

use std::collections::BTreeMap;

use super::{File, Places, read};
use crate::diagnostic::{Diagnostic, Report};
use crate::model::{FlowTime, Place, Protocol, Service};

/// What a text deserves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lint {
    /// An apply would be refused for these.
    pub errors: Vec<Diagnostic>,
    /// An apply would take these, but they are hardly meant. Looked for only where there is no error.
    pub warnings: Vec<Diagnostic>,
}

/// Looks at a text by itself.
#[must_use]
pub fn lint(text: &str, origin: &str) -> Lint {
    match read(text, origin) {
        Err(errors) => Lint {
            errors: errors.iter().cloned().collect(),
            warnings: Vec::new(),
        },
        Ok(file) => Lint {
            errors: Vec::new(),
            warnings: warnings(&file),
        },
    }
}

fn warnings(file: &File) -> Vec<Diagnostic> {
    let mut report = Report::new(&file.origin, &file.text);
    for (service, places) in file.services.iter().zip(&file.places) {
        let mut warn = |place: Place, message: String, fix: &str| {
            let path = format!("service {}: {place}", service.name);
            report.error(places.find(place), path, message, fix);
        };
        weights(service, &mut warn);
        idle_tracks(service, &mut warn);
        times(service, &mut warn);
        for text in crate::plan::warnings(service) {
            warn(
                Place::Routes,
                text,
                "take the network out, or put its route before those",
            );
        }
    }
    releases(file, &mut report);
    match report.finish(()) {
        Ok(()) => Vec::new(),
        Err(found) => found.iter().cloned().collect(),
    }
}

fn weights(service: &Service, warn: &mut impl FnMut(Place, String, &str)) {
    let none = service.tracks.iter().all(|track| track.weight.is_none());
    if none && service.tracks.len() > 1 {
        warn(
            Place::Tracks,
            "no track has a weight: those in force stay, and a first apply is refused".to_owned(),
            "give every track a weight, 100% in all, if the service may not be in force yet",
        );
    }
}

fn idle_tracks(service: &Service, warn: &mut impl FnMut(Place, String, &str)) {
    for (index, track) in service.tracks.iter().enumerate() {
        if track.backends.is_empty() {
            warn(
                Place::Track(index),
                format!(
                    "track `{}` has no backend: it can take no new flows",
                    track.name
                ),
                "give it backends, or take it out",
            );
            continue;
        }
        for family in service.families_without_backend(track) {
            warn(
                Place::Backends(index),
                format!(
                    "track `{}` has no {family} backend, but the service has an {family} listener: no weight above 0% and \
                     no cutover to it will be taken",
                    track.name
                ),
                "add one before its weight is to be raised",
            );
        }
    }
}

fn times(service: &Service, warn: &mut impl FnMut(Place, String, &str)) {
    let flows = &service.flows;
    let has = |protocol: Protocol| service.listeners.iter().any(|one| one.protocol == protocol);
    if has(Protocol::Tcp) && flows.unconfirmed > flows.tcp_idle {
        warn(
            Place::Flow(FlowTime::Unconfirmed),
            "flows that nobody answered are kept longer than established ones (tcpIdle)".to_owned(),
            "write a shorter time than tcpIdle",
        );
    }
    if has(Protocol::Tcp) && flows.closing > flows.tcp_idle {
        warn(
            Place::Flow(FlowTime::Closing),
            "flows that have closed are kept longer than established ones (tcpIdle)".to_owned(),
            "write a shorter time than tcpIdle",
        );
    }
}

/// One client is to meet one version in all services of a release: that takes one salt and one affinity.
fn releases(file: &File, report: &mut Report<'_>) {
    let mut first: BTreeMap<&str, &Service> = BTreeMap::new();
    for (service, places) in file.services.iter().zip(&file.places) {
        let Some(release) = service.release.as_deref() else {
            continue;
        };
        let other = *first.entry(release).or_insert(service);
        differs(release, service, other, places, report);
    }
}

fn differs(
    release: &str,
    service: &Service,
    other: &Service,
    places: &Places,
    report: &mut Report<'_>,
) {
    let mut warn = |place: Place, message: String, fix: &str| {
        let path = format!("service {}: {place}", service.name);
        report.error(places.find(place), path, message, fix);
    };
    if service.salt() != other.salt() {
        warn(
            Place::Salt,
            format!(
                "its salt is `{}`, that of service {} of the same release {release} is `{}`: a client may meet another version \
                 in each",
                service.salt(),
                other.name,
                other.salt()
            ),
            "write the same salt in all services of a release, or none",
        );
    }
    if service.affinity.key != other.affinity.key {
        warn(
            Place::Release,
            format!(
                "its affinity has another key than that of service {} of the same release {release}: a client may meet \
                 another version in each",
                other.name
            ),
            "write the same affinity in all services of a release",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(spec: &str) -> String {
        format!(
            "apiVersion: splitter/v1\nkind: Service\nmetadata: {{name: web}}\nspec:\n  listeners: [{{vip: 198.18.1.100, port: 80, \
             protocol: tcp}}]\n{spec}"
        )
    }

    fn warned(text: &str) -> Vec<(Option<usize>, String)> {
        let found = lint(text, "web.yaml");
        assert!(found.errors.is_empty(), "{:?}", found.errors);
        let warnings = found.warnings.iter();
        warnings
            .map(|w| (w.at.map(|at| at.line), w.to_string()))
            .collect()
    }

    const BLUE: &str = "{name: blue, weight: 100%, backends: [{address: 198.18.2.11, port: 80}]}";

    #[test]
    fn a_sound_text_deserves_nothing() {
        assert_eq!(
            lint(&text(&format!("  tracks: [{BLUE}]\n")), "web.yaml"),
            Lint::default()
        );
    }

    #[test]
    fn all_errors_are_told_with_line_and_caret() {
        let found = lint(&text("  traks: 1\n  relase: shop\n"), "web.yaml");
        let lines: Vec<_> = found
            .errors
            .iter()
            .map(|e| e.at.map(|at| at.line))
            .collect();
        assert!(
            lines.contains(&Some(6)) && lines.contains(&Some(7)),
            "{lines:?}"
        );
        let carets = found
            .errors
            .iter()
            .filter(|e| e.to_string().contains("^^^^^"));
        assert_eq!(carets.count(), 2);
        assert!(found.warnings.is_empty());
    }

    #[test]
    fn each_warning_stands_where_it_is_mended() {
        let cases = [
            (
                "  tracks:\n    - {name: blue, backends: [{address: 198.18.2.11}]}\n    - {name: green, backends: [{address: \
                 198.18.2.21}]}\n"
                    .to_owned(),
                7,
                "no track has a weight",
            ),
            (
                format!("  tracks:\n    - {BLUE}\n    - {{name: green, weight: 0%}}\n"),
                8,
                "track `green` has no backend",
            ),
            (
                format!("  tracks: [{BLUE}]\n  flows: {{tcpIdle: 10s, unconfirmed: 20s}}\n"),
                7,
                "nobody answered",
            ),
            (
                format!("  tracks: [{BLUE}]\n  flows: {{tcpIdle: 35s, closing: 40s}}\n"),
                7,
                "have closed",
            ),
        ];
        for (spec, line, part) in cases {
            let found = warned(&text(&spec));
            let hit = found
                .iter()
                .any(|(at, message)| *at == Some(line) && message.contains(part));
            assert!(hit, "{part}: {found:?}");
        }
    }

    #[test]
    fn a_track_that_cannot_serve_all_families_is_warned_of() {
        let both = "{address: 198.18.2.11}, {address: \"2001:db8:2::11\"}";
        let spec = format!(
            "  tracks:\n    - {{name: blue, weight: 100%, backends: [{both}]}}\n    - {{name: green, weight: 0%, backends: \
             [{{address: 198.18.2.21}}]}}\n"
        );
        let v6 = "protocol: tcp}, {vip: \"2001:db8:1::100\", port: 80, protocol: tcp}]";
        let found = warned(&text(&spec).replace("protocol: tcp}]", v6));
        assert!(
            found.len() == 1 && found[0].0 == Some(8) && found[0].1.contains("no IPv6 backend"),
            "{found:?}"
        );
    }

    #[test]
    fn services_of_a_release_that_deal_clients_differently_are_warned_of() {
        let one = text(&format!("  release: shop\n  tracks: [{BLUE}]\n"));
        let other = |affinity: &str| {
            let other = one
                .replace("name: web", "name: cart")
                .replace("198.18.1.100", "198.18.1.101")
                .replace("198.18.2.11", "198.18.2.12")
                .replace("  tracks", &format!("  affinity: {affinity}\n  tracks"));
            format!("{one}---\n{other}")
        };
        assert!(warned(&other("{key: flow}")).is_empty());
        let found = warned(&other("{salt: mine}"));
        assert!(
            found.len() == 1 && found[0].1.contains("`mine`"),
            "{found:?}"
        );
        let found = warned(&other("{key: clientIP}"));
        assert!(
            found.len() == 1 && found[0].1.contains("another key"),
            "{found:?}"
        );
    }
}

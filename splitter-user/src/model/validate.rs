//! Whether desired state makes sense. Everything that is wrong is reported at once.
//!
//! [`validate_service`] looks at one service by itself, [`validate_set`] at all services of a host.

mod addresses;
mod set;
mod tracks;
mod ways;

use std::time::Duration;

use super::{AffinityKey, At, FlowTime, MAX_PAIRS, Place, Problem, Service, Track, show_time};

pub(crate) use addresses::unusable;
pub use set::{validate_limits, validate_set};

/// Whether a text is a DNS label, which names must be: 1 to 63 lower-case letters, digits and
/// inner hyphens.
pub fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// What is wrong with one service, whatever other services there are.
///
/// Weights may be missing altogether: then what depends on them is not looked at. Nor is anything else of a service that is
/// larger than any host has room for.
pub fn validate_service(service: &Service) -> Vec<Problem> {
    let mut problems = Problems::of(service);
    if pairs(service) > MAX_PAIRS {
        problems.add(Place::Listeners, crowd(pairs(service)), LESS);
        return problems.found;
    }
    names(service, &mut problems);
    addresses::check(service, &mut problems);
    tracks::check(service, &mut problems);
    affinity(service, &mut problems);
    ways::check(service, &mut problems);
    times(service, &mut problems);
    problems.found
}

/// What to do about too many pairs.
const LESS: &str = "take listeners or backends out, or split them between hosts";

/// Pairs of a listener and a backend of a service.
fn pairs(service: &Service) -> usize {
    let backends = |track: &Track| track.backends.len();
    service.dialled().count() * service.tracks.iter().map(backends).sum::<usize>()
}

/// What is wrong with so many pairs.
fn crowd(pairs: usize) -> String {
    format!("{pairs} pairs of a listener and a backend: a host has at most {MAX_PAIRS}")
}

/// Problems of one service, being collected.
struct Problems<'s> {
    service: &'s Service,
    found: Vec<Problem>,
}

impl<'s> Problems<'s> {
    fn of(service: &'s Service) -> Self {
        Self {
            service,
            found: Vec::new(),
        }
    }

    fn add(&mut self, place: Place, message: impl Into<String>, fix: impl Into<String>) {
        self.found.push(Problem {
            at: vec![At {
                service: self.service.name.clone(),
                place,
            }],
            message: message.into(),
            fix: fix.into(),
        });
    }

    fn label(&mut self, place: Place, what: &str, text: &str) {
        if !is_label(text) {
            self.add(
                place,
                format!(
                    "{what} `{text}` is not a DNS label: 1 to 63 lower-case letters, digits and \
                     hyphens, beginning and ending with a letter or digit"
                ),
                "write it like `web` or `web-2`",
            );
        }
    }

    /// Text for people: short, and nothing that steers a terminal or breaks a line.
    fn text(&mut self, place: Place, what: &str, text: &str, most: usize) {
        if text.is_empty() || text.chars().count() > most || text.chars().any(char::is_control) {
            self.add(
                place,
                format!("{what} `{text}` is not 1 to {most} characters without control characters"),
                "shorten it, or leave it out",
            );
        }
    }
}

fn names(service: &Service, problems: &mut Problems<'_>) {
    problems.label(Place::Name, "the name", &service.name);
    if let Some(release) = &service.release {
        problems.label(Place::Release, "the release", release);
    }
    for (key, value) in &service.labels {
        problems.text(Place::Labels, "the label's key", key, 63);
        if !value.is_empty() {
            problems.text(Place::Labels, "the label's value", value, 253);
        }
    }
}

fn affinity(service: &Service, problems: &mut Problems<'_>) {
    let affinity = &service.affinity;
    for (place, prefix, most) in [
        (Place::PrefixV4, affinity.prefix_v4, 32),
        (Place::PrefixV6, affinity.prefix_v6, 128),
    ] {
        if prefix > most {
            problems.add(
                place,
                format!("a prefix of {prefix} bits: from 0 to {most} are possible"),
                format!("write {most} for the whole address"),
            );
        }
    }
    if (affinity.key, affinity.backend) == (AffinityKey::Flow, AffinityKey::ClientIp) {
        problems.add(
            Place::AffinityBackend,
            "`backend: clientIP` with `key: flow`: a client whose flows go to several tracks cannot keep one backend",
            "write `key: clientIP` too, or leave `backend` out",
        );
    }
    if let Some(salt) = &affinity.salt {
        problems.text(Place::Salt, "the salt", salt, 253);
    }
}

fn times(service: &Service, problems: &mut Problems<'_>) {
    let flows = &service.flows;
    let week = Duration::from_secs(7 * 24 * 3_600);
    for (time, value) in [
        (FlowTime::TcpIdle, flows.tcp_idle),
        (FlowTime::UdpIdle, flows.udp_idle),
        (FlowTime::Unconfirmed, flows.unconfirmed),
        (FlowTime::Closing, flows.closing),
    ] {
        time_within(Place::Flow(time), value, week, "7d", problems);
    }
    let hour = Duration::from_secs(3_600);
    for (index, track) in service.tracks.iter().enumerate() {
        if let Some(slow_start) = &track.slow_start {
            let place = Place::SlowStart(index);
            time_within(place, slow_start.duration, hour, "1h", problems);
        }
    }
    let month = Duration::from_secs(30 * 24 * 3_600);
    time_within(
        Place::DrainTimeout,
        service.drain.timeout,
        month,
        "30d",
        problems,
    );
    if !service.drain.close_spread.is_zero() {
        let day = Duration::from_secs(24 * 3_600);
        time_within(
            Place::CloseSpread,
            service.drain.close_spread,
            day,
            "1d",
            problems,
        );
    }
}

fn time_within(
    place: Place,
    value: Duration,
    most: Duration,
    most_text: &str,
    problems: &mut Problems<'_>,
) {
    let least = Duration::from_secs(1);
    if value < least || value > most {
        problems.add(
            place,
            format!("{} is not from 1s to {most_text}", show_time(value)),
            format!("write a time from 1s to {most_text}, such as 30s, 5m or 1h"),
        );
    }
}

//! Fallback, routes, preview and the backend's affinity: what makes no sense.

use super::*;

fn route(track: &str, sources: &[&str]) -> Route {
    Route {
        sources: sources
            .iter()
            .map(|source| source.parse().unwrap())
            .collect(),
        track: track.to_owned(),
        reason: None,
    }
}

fn preview(vip: &str, port: u16, track: &str) -> Option<Preview> {
    Some(Preview {
        listener: listener(vip, port),
        track: track.to_owned(),
    })
}

#[test]
fn every_way_leads_to_a_track_that_there_is() {
    let (place, text) = problem(|service| service.fallback = Some("red".into()));
    assert_eq!(place, Place::Fallback);
    assert!(
        text.contains("no track `red`") && text.contains("blue"),
        "{text}"
    );
    let (place, text) = problem(|service| service.routes = vec![route("red", &["198.18.9.0/24"])]);
    assert_eq!(place, Place::RouteTrack(0));
    assert!(text.contains("`red`"), "{text}");
    let (place, text) = problem(|service| service.preview = preview("198.18.1.101", 80, "red"));
    assert_eq!(place, Place::PreviewTrack);
    assert!(text.contains("`red`"), "{text}");
}

#[test]
fn a_network_of_a_route_is_one_that_a_listener_can_meet_once_and_written_as_such() {
    let (place, text) = problem(|service| {
        service.routes = vec![route("green", &["198.18.8.0/24", "198.18.9.7/24"])];
    });
    assert_eq!(place, Place::RouteSource(0, 1));
    assert!(
        text.contains("198.18.9.0/24 for the network, or 198.18.9.7/32"),
        "{text}"
    );
    let (_, text) = problem(|service| {
        service.routes = vec![route("green", &["198.18.9.0/24", "198.18.9.0/24"])];
    });
    assert!(text.contains("twice"), "{text}");
    let (_, text) = problem(|service| service.routes = vec![route("green", &["2001:db8::/32"])]);
    assert!(text.contains("is IPv6, but no listener"), "{text}");
    let (place, _) = problem(|service| service.routes = vec![route("green", &[])]);
    assert_eq!(place, Place::Route(0));
    let (place, text) = problem(|service| {
        let sources: Vec<String> = (0..128).map(|n| format!("198.18.{n}.0/24")).collect();
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        service.routes = vec![route("green", &sources)];
    });
    assert_eq!(place, Place::Routes);
    assert!(
        text.contains("128 IPv4 networks") && text.contains("127"),
        "{text}"
    );
}

#[test]
fn a_preview_is_a_listener_of_nobody_else_and_no_backend() {
    let (place, text) = problem(|service| service.preview = preview("198.18.1.100", 80, "green"));
    assert_eq!(place, Place::Preview);
    assert!(text.contains("twice in service `web`"), "{text}");
    let mut other = service("cart");
    other.listeners = vec![listener("198.18.1.101", 80)];
    other.tracks.truncate(1);
    other.tracks[0] = track("blue", "100%", vec![backend("198.18.2.31", 80)]);
    let mut web = service("web");
    web.preview = preview("198.18.1.101", 80, "green");
    let (_, text) = only(validate_set(&set(vec![other, web])));
    assert!(text.contains("overlaps") && text.contains("cart"), "{text}");
    let (_, text) = problem(|service| service.preview = preview("198.18.2.21", 80, "green"));
    assert!(text.contains("is itself a listener"), "{text}");
    let (_, text) = problem(|service| service.preview = preview("2001:db8:1::101", 80, "green"));
    assert!(text.contains("no IPv6 backend for the preview"), "{text}");
    let (place, _) = problem(|service| service.preview = preview("224.0.0.1", 80, "green"));
    assert_eq!(place, Place::PreviewVip);
}

#[test]
fn a_backend_endpoint_answers_for_its_listeners_and_the_preview() {
    let (_, text) = problem(|service| {
        service.listeners = (80..84)
            .map(|port| listener("198.18.1.100", port))
            .collect();
        service.tracks.truncate(1);
        service.tracks[0] = track("blue", "100%", vec![backend("198.18.2.11", 80)]);
        service.preview = preview("198.18.1.101", 80, "blue");
    });
    assert!(
        text.contains("5 listeners") && text.contains("198.18.1.101"),
        "{text}"
    );
}

#[test]
fn a_slow_start_takes_from_a_second_to_an_hour() {
    for (seconds, fine) in [(0, false), (1, true), (3_600, true), (3_601, false)] {
        let mut service = service("web");
        service.tracks[1].slow_start = Some(SlowStart {
            duration: Duration::from_secs(seconds),
            curve: Curve::Linear,
        });
        let problems = validate_service(&service);
        assert_eq!(problems.is_empty(), fine, "{seconds}: {problems:?}");
        assert!(
            fine || problems[0].at[0].place == Place::SlowStart(1),
            "{problems:?}"
        );
    }
}

#[test]
fn a_backend_by_client_wants_its_track_by_client() {
    let (place, text) = problem(|service| service.affinity.backend = AffinityKey::ClientIp);
    assert_eq!(place, Place::AffinityBackend);
    assert!(text.contains("`key: clientIP`"), "{text}");
    let mut both = service("web");
    both.affinity.key = AffinityKey::ClientIp;
    both.affinity.backend = AffinityKey::ClientIp;
    assert_eq!(validate_service(&both), vec![]);
}

//! What an answer says of tracks that are out, and of who takes their new flows.

use super::*;

fn track(name: &str) -> DrainTarget {
    DrainTarget::Track(name.to_owned())
}

fn with_fallback(fallback: &str, weights: [&str; 2]) -> World {
    let tracks = [
        ("blue", weights[0], "198.18.2.11"),
        ("green", weights[1], "198.18.2.21"),
    ];
    let text = yaml("web", "198.18.1.100", &tracks).replace(
        "  release: shop\n",
        &format!("  release: shop\n  fallback: {fallback}\n"),
    );
    after(&World::empty(16, 64, 64), &apply(&text))
}

fn said(world: &World, command: &Command) -> String {
    plan(world, command, None, NOW).unwrap().changes[0]
        .warnings
        .join("\n")
}

#[test]
fn the_fallback_is_named_where_it_takes_the_flows_of_what_is_taken_out() {
    let world = with_fallback("green", ["100%", "0%"]);
    let backend = DrainTarget::Backend {
        address: "198.18.2.11".parse().unwrap(),
        port: 80,
    };
    for what in [track("blue"), backend.clone()] {
        let said = said(&world, &drain(what));
        assert!(said.contains("the fallback, track green, takes"), "{said}");
        assert!(!said.contains("noBackend"), "{said}");
    }
    // Not where it is out itself, has nobody, or is the very track.
    let out = after(&world, &drain(track("green")));
    assert!(said(&out, &drain(track("blue"))).contains("`noBackend: drop`"));
    assert!(said(&out, &drain(backend.clone())).contains("`noBackend: drop`"));
    let green = DrainTarget::Backend {
        address: "198.18.2.21".parse().unwrap(),
        port: 80,
    };
    let nobody = after(&world, &drain(green));
    assert!(said(&nobody, &drain(track("blue"))).contains("`noBackend: drop`"));
    let own = with_fallback("blue", ["100%", "0%"]);
    assert!(said(&own, &drain(track("blue"))).contains("`noBackend: drop`"));
    assert!(said(&own, &drain(backend)).contains("`noBackend: drop`"));
}

#[test]
fn a_track_is_called_what_it_is_in() {
    let maint = Command::Maint {
        service: "web".to_owned(),
        what: track("green"),
    };
    let quarantine = Command::Quarantine {
        service: "web".to_owned(),
        what: track("green"),
        spread: None,
    };
    for (command, word) in [
        (drain(track("green")), "draining"),
        (maint, "in maint"),
        (quarantine, "quarantined"),
    ] {
        let world = after(&web(), &command);
        let error = refusal(&world, &cutover("green"));
        assert!(
            error.message.contains(&format!("track `green` is {word}")),
            "{}",
            error.message
        );
        let weigh = Command::SetWeight {
            target: service("web"),
            weights: vec![("green".to_owned(), "20%".to_owned())],
            ramp: None,
        };
        let said = said(&world, &weigh);
        assert!(said.contains(&format!("track green is {word}")), "{said}");
    }
}

//! A backend that is out stays out, however its port is written.

use super::*;

fn text(blue: &str) -> String {
    let tracks = [
        ("blue", "95%", "198.18.2.11"),
        ("green", "5%", "198.18.2.21"),
    ];
    yaml("web", "198.18.1.100", &tracks).replace("[{address: 198.18.2.11, port: 80}]", blue)
}

fn out(first: &str, port: u16) -> World {
    let world = after(&World::empty(16, 64, 64), &apply(&text(first)));
    let maint = Command::Maint {
        service: "web".to_owned(),
        what: DrainTarget::Backend {
            address: "198.18.2.11".parse().unwrap(),
            port,
        },
    };
    after(&world, &maint)
}

#[test]
fn a_backend_that_is_out_stays_out_when_its_port_is_written_in_another_way() {
    let bare = "[{address: 198.18.2.11}, {address: 198.18.2.12}]";
    let full = "[{address: 198.18.2.11, port: 80}, {address: 198.18.2.12}]";
    for (first, second, key) in [(bare, full, 80), (full, bare, 0)] {
        let world = after(&out(first, 80), &apply(&text(second)));
        let web = &world.services["web"];
        let keys: Vec<_> = web.drained_backends.keys().copied().collect();
        assert_eq!(keys, [("198.18.2.11".parse().unwrap(), key)]);
    }
}

#[test]
fn a_backend_that_serves_more_than_what_is_out_is_not_out() {
    let first = "[{address: 198.18.2.11, port: 81}, {address: 198.18.2.12}]";
    let second = "[{address: 198.18.2.11}, {address: 198.18.2.12}]";
    let world = after(&out(first, 81), &apply(&text(second)));
    assert!(world.services["web"].drained_backends.is_empty());
}

#[test]
fn each_of_the_backends_that_one_becomes_is_out_as_it_was() {
    let ports = |text: String| {
        text.replace(
            "  tracks:\n",
            "    - {vip: 198.18.1.100, port: 443, protocol: tcp}\n  tracks:\n",
        )
    };
    let one =
        ports(text("[{address: 198.18.2.11}]").replace("198.18.2.21, port: 80", "198.18.2.21"));
    let two = ports(
        text("[{address: 198.18.2.11, port: 80}, {address: 198.18.2.11, port: 443}]")
            .replace("198.18.2.21, port: 80", "198.18.2.21"),
    );
    let world = after(&World::empty(16, 64, 64), &apply(&one));
    let maint = Command::Maint {
        service: "web".to_owned(),
        what: DrainTarget::Backend {
            address: "198.18.2.11".parse().unwrap(),
            port: 443,
        },
    };
    let split = after(&after(&world, &maint), &apply(&two));
    assert_eq!(split.services["web"].drained_backends.len(), 2);
    let whole = after(&split, &apply(&one));
    assert_eq!(whole.services["web"].drained_backends.len(), 1);
}

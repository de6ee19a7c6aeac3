//! Fallback, routes, preview and affinity: what changes with the split, and what undo gives back.

use super::*;
use crate::state::Steering;

/// The service of [`web`] with more in its spec.
fn with(more: &str) -> String {
    let tracks = [
        ("blue", "95%", "198.18.2.11"),
        ("green", "5%", "198.18.2.21"),
    ];
    yaml("web", "198.18.1.100", &tracks)
        .replace("  release: shop\n", &format!("  release: shop\n{more}"))
}

fn steering(world: &World) -> &Steering {
    &world.services["web"].split.steering
}

fn client(text: &str) -> std::net::IpAddr {
    text.parse().unwrap()
}

const STAFF: &str = "  routes: [{match: {source: [198.18.9.0/24]}, track: green, reason: staff}]\n";

#[test]
fn undo_gives_the_routes_and_the_fallback_back_in_the_tables_and_in_the_spec() {
    let world = web();
    let routed = after(&world, &apply(&with(&format!("{STAFF}  fallback: blue\n"))));
    assert_eq!(steering(&routed).routes.find(client("198.18.9.7")), Some(1));
    assert_eq!(steering(&routed).routes.find(client("198.18.10.0")), None);
    assert_eq!(steering(&routed).fallback, Some(0));
    let back = after(&routed, &undo());
    assert_eq!(back.services["web"].split, world.services["web"].split);
    assert_eq!(back.services["web"].spec, world.services["web"].spec);
    let again = after(&back, &undo());
    assert_eq!(again.services["web"].split, routed.services["web"].split);
    assert_eq!(again.services["web"].spec, routed.services["web"].spec);
}

#[test]
fn a_change_of_weights_keeps_the_routes_and_undo_of_it_too() {
    let routed = after(&web(), &apply(&with(STAFF)));
    let green = after(&routed, &cutover("green"));
    assert_eq!(steering(&green), steering(&routed));
    let back = after(&green, &undo());
    assert_eq!(back.services["web"].split, routed.services["web"].split);
}

#[test]
fn a_reason_alone_moves_no_client_and_no_anchor() {
    let routed = after(&web(), &apply(&with(STAFF)));
    let said = after(&routed, &apply(&with(&STAFF.replace("staff", "friends"))));
    assert_eq!(said.services["web"].split, routed.services["web"].split);
    assert_eq!(
        said.services["web"].anchor(),
        routed.services["web"].anchor()
    );
    assert_eq!(said.services["web"].generation, 3);
}

#[test]
fn shadowed_routes_are_warned_of_by_name() {
    let text = with(
        "  routes:\n    - {match: {source: [198.18.0.0/16]}, track: green, reason: staff}\n    \
         - {match: {source: [198.18.9.0/24]}, track: blue}\n",
    );
    let plan = plan(&web(), &apply(&text), None, NOW).unwrap();
    assert_eq!(
        plan.changes[0].warnings,
        [
            "route 2 (to blue) never matches 198.18.9.0/24: route 1 (to green, staff) matches all of it before"
        ]
    );
}

#[test]
fn a_preview_comes_and_goes_with_the_resource_and_undo_leaves_it() {
    let world = web();
    let preview = "  preview: {vip: 198.18.1.101, port: 80, protocol: tcp, track: green}\n";
    let shown = after(&world, &apply(&with(preview)));
    let web = &shown.services["web"];
    assert!(web.anchor().is_none(), "no client's way has changed");
    assert_eq!(web.split.slots, world.services["web"].split.slots);
    assert_eq!(
        web.split.table,
        crate::state::UNPLACED,
        "another table, so another flip"
    );
    let listener = web.spec.preview.as_ref().unwrap().listener;
    let id = shown.listener_ids.get(&listener).unwrap();
    let header = web.split.header(&[1; 32], &shown.listener_ids);
    assert_eq!((header.preview_listener, header.preview), (id, 2));
    let moved = after(&shown, &cutover("green"));
    let back = after(&moved, &undo());
    assert_eq!(steering(&back), steering(&shown));
    // Undo of a change from before there was a preview keeps it too.
    let green = after(&world, &cutover("green"));
    let spec = with(preview)
        .replace("weight: 95%", "weight: 0%")
        .replace("weight: 5%", "weight: 100%");
    let shown = after(&green, &apply(&spec));
    let back = after(&shown, &undo());
    assert_eq!(
        back.services["web"].split.slots,
        world.services["web"].split.slots
    );
    assert_eq!(steering(&back), steering(&shown));
    assert_eq!(back.services["web"].split.table, crate::state::UNPLACED);
}

#[test]
fn a_track_that_drains_is_no_fallback_no_route_and_no_preview() {
    let all = format!(
        "{STAFF}  fallback: green\n  preview: {{vip: 198.18.1.101, port: 80, protocol: tcp, track: green}}\n"
    );
    let world = after(&web(), &apply(&with(&all)));
    let plan = plan(
        &world,
        &drain(DrainTarget::Track("green".into())),
        None,
        NOW,
    )
    .unwrap();
    assert_eq!(
        plan.changes[0].warnings.len(),
        3,
        "{:?}",
        plan.changes[0].warnings
    );
    let drained = plan.next;
    assert!(steering(&drained).routes.is_empty());
    assert_eq!(steering(&drained).fallback, None);
    assert_eq!(steering(&drained).preview.as_ref().unwrap().track, None);
    let ready = Command::Ready {
        service: "web".into(),
        what: DrainTarget::Track("green".into()),
    };
    assert_eq!(steering(&after(&drained, &ready)), steering(&world));
}

#[test]
fn undo_to_a_route_whose_track_was_removed_says_so_and_a_removed_fallback_stays_away() {
    let canary = with("  fallback: canary\n").replace(
        "  tracks:\n",
        "  tracks:\n    - {name: canary, weight: 0%, backends: [{address: 198.18.2.31, port: 80}]}\n",
    );
    let routed = canary.replace(
        "fallback: canary",
        "routes: [{match: {source: [198.18.9.0/24]}, track: canary}]",
    );
    let world = after(&web(), &apply(&routed));
    let error = refusal(&after(&world, &apply(&with(""))), &undo());
    assert!(
        error.message.contains("canary") && error.message.contains("removed"),
        "{}",
        error.message
    );
    let world = after(&web(), &apply(&canary));
    let plan = plan(&after(&world, &apply(&with(""))), &undo(), None, NOW).unwrap();
    assert_eq!(plan.next.services["web"].spec.fallback, None);
    assert!(
        plan.changes[0].warnings[0].contains("canary"),
        "{:?}",
        plan.changes[0].warnings
    );
}

#[test]
fn undo_leaves_out_routes_of_a_family_that_nobody_dials_any_more() {
    let both =
        with("  routes: [{match: {source: [198.18.9.0/24, \"2001:db8::/32\"]}, track: green}]\n")
            .replace(
                "  tracks:\n",
                "    - {vip: \"2001:db8:1::100\", port: 80, protocol: tcp}\n  tracks:\n",
            )
            .replace(
                ", port: 80}]",
                ", port: 80}, {address: \"2001:db8:2::T\", port: 80}]",
            )
            .replacen("::T", "::11", 1)
            .replacen("::T", "::21", 1);
    let world = after(&web(), &apply(&both));
    let plan = plan(&after(&world, &apply(&with(""))), &undo(), None, NOW).unwrap();
    let spec = &plan.next.services["web"].spec;
    assert_eq!(spec.routes[0].sources.len(), 1, "{:?}", spec.routes);
    assert!(
        plan.changes[0].warnings[0].contains("2001:db8::/32"),
        "{:?}",
        plan.changes[0].warnings
    );
    assert_eq!(crate::model::validate_service(spec), vec![]);
}

#[test]
fn the_digest_names_everything_that_decides_who_goes_where() {
    let mut digests = std::collections::BTreeSet::new();
    let texts = [
        String::new(),
        "  affinity: {salt: other}\n".to_owned(),
        "  affinity: {key: clientIP}\n".to_owned(),
        "  affinity: {key: clientIP, prefix: {v4: 24}}\n".to_owned(),
        "  affinity: {key: clientIP, backend: clientIP}\n".to_owned(),
        STAFF.to_owned(),
        STAFF.replace("green", "blue"),
        STAFF.replace("/24", "/25"),
        "  fallback: blue\n".to_owned(),
        "  fallback: green\n".to_owned(),
        "  preview: {vip: 198.18.1.101, port: 80, protocol: tcp, track: green}\n".to_owned(),
        "  preview: {vip: 198.18.1.101, port: 80, protocol: tcp, track: blue}\n".to_owned(),
    ];
    for text in &texts {
        // By whatever way it came to this: the same inputs, the same digest.
        let one = after(&web(), &apply(&with(text)));
        let world = World::empty(16, 64, 64);
        let two = after(&world, &apply(&with(text)));
        let digest = one.services["web"].digest();
        assert_eq!(digest, two.services["web"].digest(), "{text}");
        digests.insert(digest);
    }
    assert_eq!(digests.len(), texts.len());
    let reason = after(&web(), &apply(&with(&STAFF.replace("staff", "x"))));
    assert!(digests.contains(&reason.services["web"].digest()));
}

#[test]
fn the_tables_are_entered_by_what_the_affinity_covers_and_by_the_salt() {
    use splitter_ebpf::abi::SplitHeader;
    let header = |affinity: &str| {
        let world = after(&web(), &apply(&with(&format!("  affinity: {affinity}\n"))));
        world.services["web"]
            .split
            .header(&[1; 32], &world.listener_ids)
    };
    let whole = header("{key: clientIP}");
    assert_eq!(whole.mask_v4, u32::MAX);
    let narrow = header("{key: clientIP, prefix: {v4: 24, v6: 56}}");
    assert_eq!(narrow.mask_v4, u32::from_ne_bytes([255, 255, 255, 0]));
    let v6: std::net::Ipv6Addr = "ffff:ffff:ffff:ff00::".parse().unwrap();
    assert_eq!(narrow.mask_v6, v6.into());
    assert_eq!(narrow.split_key, whole.split_key);
    let salted = header("{key: clientIP, salt: other}");
    assert_ne!(salted.split_key, whole.split_key);
    assert_eq!(
        salted.track_key, whole.track_key,
        "the backend within a track does not go by the salt"
    );
    let kept = header("{key: clientIP, backend: clientIP}");
    assert_eq!(
        (whole.flags, kept.flags),
        (0, SplitHeader::BACKEND_BY_CLIENT)
    );
}

//! Modes: numbers, endpoints, pools, and second entries.

use std::net::IpAddr;

use super::*;
use crate::config::Nat;
use crate::nexthop::NextHop;
use crate::state::BackendKey;
use proptest::prelude::*;
use splitter_ebpf::abi::{self, ColdKey, EndpointKind, NatPool, Path, Translation};
use splitter_ebpf::endpoint::translation_key;
use splitter_ebpf::wire::{TCP, WireAddress};

fn in_mode(mode: &str) -> String {
    // Packets keep their port in two of them.
    YAML.replace("  tracks:", &format!("  mode: {mode}\n  tracks:"))
}

fn apply(writer: &mut Under, yaml: &str) -> Vec<Change> {
    run(
        writer,
        Command::Apply {
            yaml: yaml.into(),
            origin: "test".into(),
        },
    )
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn hop(source: &str, gateway: Option<&str>) -> NextHop {
    NextHop {
        ifindex: 7,
        source_mac: [9; 6],
        destination_mac: [1; 6],
        mtu: 1500,
        vlan: None,
        gateway: gateway.map(ip),
        source: ip(source),
    }
}

/// The same way to both backends.
fn hops(hop: NextHop) -> NextHops {
    let mut hops = NextHops::default();
    for address in ["198.18.2.11", "198.18.2.21"] {
        hops.hops.insert(ip(address), hop);
    }
    hops
}

fn ids(writer: &Under, mode: &str) -> Vec<u16> {
    let keys = writer.world.backend_ids.iter();
    keys.filter(|(_, key, _)| key.mode.name() == mode)
        .map(|(id, _, _)| id)
        .collect()
}

fn current_hop(writer: &Under, id: u16) -> (abi::Hop, Path) {
    let backend = writer.plane.tables().backend(id);
    let place = usize::from(backend.current_hop);
    (backend.hops[place], backend.paths[place])
}

/// What an address and port of a backend stand for in the tables.
fn kind(writer: &Under, address: &str, port: u16, protocol: u8) -> Option<EndpointKind> {
    let meta = abi::Endpoint::meta_of(WirePort::new(port), protocol, Family::V4);
    let tables = writer.plane.tables();
    let endpoint = tables.endpoints.get(ip(address).into(), meta)?;
    [
        EndpointKind::Listener,
        EndpointKind::Backend,
        EndpointKind::Vip,
        EndpointKind::Address,
        EndpointKind::Translated,
    ]
    .into_iter()
    .find(|kind| *kind as u32 == endpoint.kind)
}

fn reply(writer: &Under, address: &str) -> Vec<(u16, u16)> {
    let meta = abi::Endpoint::meta_of(WirePort::new(80), TCP, Family::V4);
    let tables = writer.plane.tables();
    let endpoint = tables.endpoints.get(ip(address).into(), meta).unwrap();
    let pairs = tables.reply(endpoint.id).pairs;
    let used = pairs.into_iter().filter(|pair| pair.0 != 0);
    used.map(|pair| (pair.listener(), pair.backend())).collect()
}

#[test]
fn another_mode_gives_new_numbers_and_leaves_living_flows_their_own() {
    let mut writer = web();
    let old = ids(&writer, "dnat");
    let place = pin(&writer, 4000, old[0], State::Established);
    let changes = apply(&mut writer, &in_mode("ipip"));
    assert_eq!(changes[0].generation, 2);
    assert_eq!(
        changes[0].flip_nanoseconds, None,
        "the split is not touched"
    );
    let new = ids(&writer, "ipip");
    assert_eq!((old.len(), new.len()), (2, 2));
    assert!(new.iter().all(|id| !old.contains(id)));
    for id in &new {
        assert_eq!(
            writer.plane.tables().backend(*id).mode,
            abi::Mode::Ipip as u8
        );
    }
    let entry = |writer: &Under| {
        let index = track_table_index(1, 0, Family::V4);
        writer.plane.tables().track_entry(index, 77)
    };
    assert!(new.contains(&entry(&writer)), "new flows go the new way");
    let kept = writer.plane.tables().backend(old[0]);
    assert_eq!(kept.mode, abi::Mode::Dnat as u8);
    scans(&mut writer);
    assert_eq!(
        kind(&writer, "198.18.2.11", 80, TCP),
        Some(EndpointKind::Backend),
        "the living flow's replies find their way"
    );
    assert_eq!(
        writer.world.backend_ids.state_of(old[0]),
        Some(crate::state::IdState::Deleting(
            crate::state::Deletion::ENDLESS
        )),
        "it was not removed: its flows live as long as they like"
    );
    assert_eq!(
        kind(&writer, "198.18.2.21", 80, TCP),
        None,
        "nobody is left who would answer"
    );
    let views = writer.service_views(Some("web")).unwrap();
    let modes = |track: usize| -> Vec<(String, u64)> {
        let backends = views[0].tracks[track].backends.iter();
        backends.map(|b| (b.mode.clone(), b.flows)).collect()
    };
    assert_eq!(modes(0), [("ipip".to_owned(), 0), ("dnat".to_owned(), 1)]);
    assert_eq!(views[0].mode, "ipip");
    let tables = writer.plane.tables();
    tables.put_flow(place.buckets[0] as usize, 0, 0, Value(0));
    for _ in 0..3 {
        scans(&mut writer);
        half_a_minute(&writer);
    }
    assert_eq!(ids(&writer, "dnat"), [] as [u16; 0]);
    assert_eq!(kind(&writer, "198.18.2.11", 80, TCP), None);
    assert_eq!(kind(&writer, "198.18.2.11", 0, 0), None);
}

#[test]
fn a_mode_that_comes_back_takes_its_numbers_back() {
    let mut writer = web();
    let old = ids(&writer, "dnat");
    pin(&writer, 4000, old[0], State::Established);
    apply(&mut writer, &in_mode("fullnat"));
    apply(&mut writer, YAML);
    assert_eq!(ids(&writer, "dnat"), old);
    let state = writer.world.backend_ids.state_of(old[0]);
    assert_eq!(state, Some(crate::state::IdState::Active));
}

#[test]
fn endpoints_say_who_answers_and_how() {
    for (mode, endpoint, address) in [
        (
            "dnat",
            Some(EndpointKind::Backend),
            Some(EndpointKind::Address),
        ),
        (
            "fullnat",
            Some(EndpointKind::Translated),
            Some(EndpointKind::Address),
        ),
        ("dsr-l2", None, None),
        ("ipip", None, None),
    ] {
        let mut writer = web();
        apply(&mut writer, &in_mode(mode));
        for _ in 0..3 {
            scans(&mut writer);
            half_a_minute(&writer);
        }
        assert_eq!(kind(&writer, "198.18.2.11", 80, TCP), endpoint, "{mode}");
        assert_eq!(kind(&writer, "198.18.2.11", 0, 0), address, "{mode}");
        assert_eq!(kind(&writer, "198.18.1.100", 0, 0), Some(EndpointKind::Vip));
        if mode == "fullnat" {
            assert_eq!(reply(&writer, "198.18.2.11"), [], "no pairs to probe");
        }
    }
}

#[test]
fn an_endpoint_of_two_modes_is_translated_and_keeps_its_pairs() {
    let mut writer = web();
    let dnat = ids(&writer, "dnat")[0];
    assert_eq!(reply(&writer, "198.18.2.11"), [(1, dnat)]);
    let other = in_mode("fullnat")
        .replace("name: web", "name: cart")
        .replace("198.18.1.100", "198.18.1.101");
    apply(&mut writer, &other);
    assert_eq!(
        kind(&writer, "198.18.2.11", 80, TCP),
        Some(EndpointKind::Translated)
    );
    assert_eq!(reply(&writer, "198.18.2.11"), [(1, dnat)]);
    let flags = writer.plane.tables().backend(dnat).flags;
    assert_eq!(flags, 0, "a translated client's tuple is its own");
    run(
        &mut writer,
        Command::Delete {
            service: "cart".into(),
            now: false,
        },
    );
    for _ in 0..3 {
        scans(&mut writer);
        half_a_minute(&writer);
    }
    assert_eq!(
        kind(&writer, "198.18.2.11", 80, TCP),
        Some(EndpointKind::Backend)
    );
    assert_eq!(reply(&writer, "198.18.2.11"), [(1, dnat)]);
}

#[test]
fn a_vip_that_is_a_backends_address_too_stays_a_vip() {
    let mut writer = web();
    let yaml = YAML.replace("198.18.2.21, port: 80", "198.18.1.100, port: 8080");
    apply(&mut writer, &yaml);
    assert_eq!(kind(&writer, "198.18.1.100", 0, 0), Some(EndpointKind::Vip));
}

#[test]
fn any_number_of_listeners_shares_a_backend_that_clients_are_translated_for() {
    let mut writer = web();
    for number in 0..9 {
        let other = in_mode("fullnat")
            .replace("name: web", &format!("name: web-{number}"))
            .replace("198.18.1.100", &format!("198.18.1.{}", 110 + number));
        apply(&mut writer, &other);
    }
    assert_eq!(reply(&writer, "198.18.2.11").len(), 1);
}

#[test]
fn no_backend_is_in_its_word_and_changes_in_place() {
    let mut writer = web();
    let word = |writer: &Under| writer.plane.tables().service_word(1).no_backend;
    assert_eq!(word(&writer), abi::NoBackend::Drop as u32);
    for (name, number) in [
        ("reset", abi::NoBackend::Reset),
        ("unreachable", abi::NoBackend::Unreachable),
    ] {
        let yaml = YAML.replace("  tracks:", &format!("  noBackend: {name}\n  tracks:"));
        let before = writer.world.services["web"].generation;
        let changes = apply(&mut writer, &yaml);
        assert_eq!(word(&writer), number as u32);
        assert_eq!(changes[0].generation, before + 1);
        assert_eq!(changes[0].flip_nanoseconds, None);
        let Writer { plane, store, .. } = writer;
        plane
            .tables()
            .set_service_word(1, abi::ServiceWord::default());
        writer = writer_over(plane, store, true);
        assert_eq!(word(&writer), number as u32, "after a restart");
    }
    run(
        &mut writer,
        Command::Delete {
            service: "web".into(),
            now: true,
        },
    );
    for _ in 0..4 {
        scans(&mut writer);
        half_a_minute(&writer);
    }
    let api = YAML.replace("name: web", "name: api");
    apply(&mut writer, &api);
    assert_eq!(word(&writer), 0, "a number that is used again starts anew");
}

fn pool(writer: &Under, id: u16) -> NatPool {
    let tables = writer.plane.tables();
    tables.nat_pool(tables.backend(id).pool)
}

#[test]
fn without_addresses_clients_get_the_one_towards_the_backend() {
    let mut writer = web();
    apply(&mut writer, &in_mode("fullnat"));
    let id = ids(&writer, "fullnat")[0];
    assert_eq!(writer.plane.tables().backend(id).pool, 0);
    assert_eq!(
        current_hop(&writer, id).0.ifindex,
        0,
        "no way without a pool"
    );
    writer.set_hops(hops(hop("198.18.2.1", None)));
    let found = pool(&writer, id);
    assert_eq!((found.count, found.family), (1, 4));
    assert_eq!((found.first_port, found.ports), (10_240, 22_528));
    assert_eq!(found.addresses[0], WireAddress::from(ip("198.18.2.1")));
    assert_eq!(current_hop(&writer, id).0.ifindex, 7);
    let pools: BTreeSet<u16> = ids(&writer, "fullnat")
        .iter()
        .map(|id| writer.plane.tables().backend(*id).pool)
        .collect();
    assert_eq!(pools.len(), 1, "what holds the same is one pool");
    assert!(!pools.contains(&0));
}

#[test]
fn configured_addresses_are_a_pool_at_once_and_again_after_a_restart() {
    let nat = Nat {
        addresses: vec![ip("198.18.2.8"), ip("2001:db8:2::8"), ip("198.18.2.9")],
        ports: 1..=65_535,
    };
    let mut writer = web();
    writer.translate_to(nat.clone());
    apply(&mut writer, &in_mode("fullnat"));
    let id = ids(&writer, "fullnat")[0];
    let before = pool(&writer, id);
    assert_eq!((before.count, before.ports), (2, 65_535));
    let index = writer.plane.tables().backend(id).pool;
    let Writer { plane, store, .. } = writer;
    let mut writer = writer_over(plane, store, true);
    writer.translate_to(nat);
    writer.set_hops(hops(hop("198.18.2.1", None)));
    assert_eq!(ids(&writer, "fullnat").len(), 2, "the same numbers");
    assert_eq!(writer.plane.tables().backend(id).pool, index);
    assert_eq!(pool(&writer, id), before);
    assert_eq!(
        writer.plane.tables().nat_pool(index + 1).count,
        0,
        "no second one"
    );
    let Writer { store, .. } = writer;
    let mut rebooted = writer_over(Memory::new(layout(), &SECRET).unwrap(), store, false);
    rebooted.translate_to(Nat::default());
    rebooted.set_hops(hops(hop("198.18.2.1", None)));
    let id = ids(&rebooted, "fullnat")[0];
    assert_eq!(pool(&rebooted, id).count, 1, "as it is configured then");
}

#[test]
fn other_addresses_are_for_new_flows_and_the_old_ones_for_the_others() {
    let mut writer = web();
    apply(&mut writer, &in_mode("fullnat"));
    writer.set_hops(hops(hop("198.18.2.1", None)));
    let old = ids(&writer, "fullnat");
    let place = pin(&writer, 4000, old[0], State::Established);
    let before = pool(&writer, old[0]);
    let Writer { plane, store, .. } = writer;
    let mut writer = writer_over(plane, store, true);
    writer.translate_to(Nat {
        addresses: vec![ip("198.18.2.8")],
        ports: 10_240..=32_767,
    });
    let index = track_table_index(1, 0, Family::V4);
    let taken = writer.plane.tables().track_entry(index, 77);
    assert_eq!(
        current_hop(&writer, taken).0.ifindex,
        7,
        "new flows have a way before the kernel has told of any"
    );
    writer.set_hops(hops(hop("198.18.2.1", None)));
    assert_eq!(
        pool(&writer, old[0]),
        before,
        "living flows hold places in it"
    );
    let taken = writer.plane.tables().track_entry(index, 77);
    assert_ne!(taken, old[0]);
    assert_eq!(
        pool(&writer, taken).addresses[0],
        WireAddress::from(ip("198.18.2.8"))
    );
    assert_eq!(current_hop(&writer, taken).0.ifindex, 7);
    scans(&mut writer);
    assert_eq!(writer.scan.last.total, 1, "it lives");
    // And the next agent knows what both numbers stand for.
    let Writer { plane, store, .. } = writer;
    let mut writer = writer_over(plane, store, true);
    scans(&mut writer);
    assert_eq!(writer.scan.last.total, 1);
    let tables = writer.plane.tables();
    tables.put_flow(place.buckets[0] as usize, 0, 0, Value(0));
    for _ in 0..3 {
        scans(&mut writer);
        half_a_minute(&writer);
    }
    assert_eq!(ids(&writer, "fullnat").len(), 2);
    let key = writer.world.backend_ids.key_of(taken);
    assert!(key.is_some_and(|key: &BackendKey| key.former == 0));
}

#[test]
fn a_pool_is_written_anew_only_when_nobody_names_it() {
    let mut writer = web();
    apply(&mut writer, &in_mode("fullnat"));
    // Each source is another pool, and the backends of each live on with a flow.
    for source in 1..=3_u8 {
        writer.set_hops(hops(hop(&format!("198.18.3.{source}"), None)));
        let key = |address| BackendKey {
            service: "web".into(),
            track: if address == "198.18.2.11" {
                "blue"
            } else {
                "green"
            }
            .into(),
            address: ip(address),
            port: Some(80),
            mode: crate::model::Mode::FullNat,
            former: 0,
        };
        let id = writer.world.backend_ids.get(&key("198.18.2.11")).unwrap();
        pin(&writer, 4000 + u16::from(source), id, State::Established);
        scans(&mut writer);
    }
    let sources = |writer: &Under| -> Vec<u32> {
        let tables = writer.plane.tables();
        let pools = (1..5).map(|index| tables.nat_pool(index));
        pools
            .map(|pool| pool.addresses[0].0[0].to_be() & 0xff)
            .collect()
    };
    assert_eq!(sources(&writer), [1, 2, 3, 0]);
    // All flows end, but for those of the last source.
    writer.plane.tick.set(4 * 4000);
    for _ in 0..4 {
        scans(&mut writer);
        half_a_minute(&writer);
    }
    writer.set_hops(hops(hop("198.18.3.9", None)));
    assert_eq!(sources(&writer), [9, 2, 3, 0]);
}

#[test]
fn when_all_pools_are_named_a_backend_has_no_way_and_says_so() {
    let mut writer = web();
    apply(&mut writer, &in_mode("fullnat"));
    let id = ids(&writer, "fullnat")[0];
    let mut full = Pools::read(writer.plane.tables(), [&writer.world]);
    for number in 1..=255_u32 {
        let pool = NatPool {
            count: number,
            ..NatPool::default()
        };
        let place = full.place(writer.plane.tables(), &pool);
        assert_eq!(place.map(u32::from), Some(number));
        assert_eq!(
            full.place(writer.plane.tables(), &pool),
            place,
            "found again"
        );
    }
    let more = NatPool {
        count: 999,
        ..NatPool::default()
    };
    assert_eq!(full.place(writer.plane.tables(), &more), None);
    writer.hops = hops(hop("198.18.2.1", None));
    let key = writer.world.backend_ids.key_of(id).unwrap().clone();
    let (kind, message) = writer.obstacle(&key).unwrap();
    assert_eq!(kind, crate::api::types::ConditionKind::NeighbourMissing);
    assert!(message.contains("[nat]"), "{message}");
}

#[test]
fn a_dsr_backend_behind_a_gateway_gets_no_packets_and_is_named() {
    use crate::api::types::ConditionKind;
    for mode in ["dsr-l2", "ipip", "dnat"] {
        let mut writer = web();
        apply(&mut writer, &in_mode(mode));
        writer.set_hops(hops(hop("198.18.2.1", None)));
        let id = ids(&writer, mode)[0];
        assert_eq!(current_hop(&writer, id).0.ifindex, 7, "{mode}");
        assert_eq!(writer.status().conditions.len(), 0, "{mode}");
        writer.set_hops(hops(hop("198.18.2.1", Some("198.18.2.254"))));
        let status = writer.status();
        let again = format!("{}  release: shop\n", in_mode(mode));
        let changes = apply(&mut writer, &again);
        let warned = changes[0]
            .warnings
            .iter()
            .any(|w| w.contains("198.18.2.254"));
        assert_eq!(warned, mode == "dsr-l2", "{:?}", changes[0].warnings);
        if mode == "dsr-l2" {
            assert_eq!(current_hop(&writer, id).0, abi::Hop::default());
            assert_eq!(
                status.conditions[0].kind,
                ConditionKind::BackendBehindGateway
            );
            assert!(status.conditions[0].message.contains("198.18.2.11"));
            assert!(status.conditions[0].message.contains("198.18.2.254"));
            let of_service = &status.services[0].conditions;
            assert_eq!(of_service[0].kind, ConditionKind::BackendBehindGateway);
            assert!(of_service[0].kind.impairs_traffic());
        } else {
            assert_eq!(current_hop(&writer, id).0.ifindex, 7, "{mode}");
            assert_eq!(status.conditions.len(), 0, "{mode}");
        }
        writer.set_hops(hops(hop("198.18.2.1", None)));
        assert_eq!(current_hop(&writer, id).0.ifindex, 7, "{mode}");
        assert_eq!(writer.status().conditions.len(), 0, "{mode}: it is over");
    }
}

#[test]
fn a_way_carries_its_mtu_and_its_tag() {
    let mut writer = web();
    let tagged = NextHop {
        mtu: 9_000,
        vlan: Some(0),
        ..hop("198.18.2.1", None)
    };
    writer.set_hops(hops(tagged));
    let (_, path) = current_hop(&writer, 1);
    assert_eq!((path.mtu, path.vlan), (9_000, Path::tagged(0)));
    assert_ne!(path.vlan, 0, "priority tagging is a tag");
    writer.set_hops(hops(NextHop {
        mtu: 70_000,
        ..tagged
    }));
    assert_eq!(current_hop(&writer, 1).1.mtu, u16::MAX);
}

#[test]
fn devices_that_are_tags_are_told_and_forgotten_but_not_before_they_are_known() {
    use crate::nexthop::Tagged;
    let mut writer = web();
    let tagged = |parent| Some(Tagged { parent, id: 10 });
    let told = NextHops {
        vlans: Some([(4, tagged(2)), (5, None)].into()),
        ..NextHops::default()
    };
    writer.set_hops(told);
    let device = |parent, vlan: u16| abi::VlanDevice {
        parent,
        vlan: vlan.into(),
    };
    let expected = BTreeMap::from([(4, device(2, Path::tagged(10))), (5, device(0, 0))]);
    assert_eq!(writer.plane.vlans, expected);
    writer.set_hops(NextHops::default());
    assert_eq!(writer.plane.vlans, expected, "nothing is known yet");
    writer.set_hops(NextHops {
        vlans: Some(BTreeMap::new()),
        ..NextHops::default()
    });
    assert_eq!(writer.plane.vlans, BTreeMap::new());
}

#[test]
fn flows_that_are_refused_for_want_of_ports_are_a_condition_for_a_minute() {
    use crate::api::types::ConditionKind;
    let mut writer = web();
    let raised = |writer: &Under| writer.conditions.contains_key(&ConditionKind::NatExhausted);
    let reason = splitter_ebpf::verdict::Reason::NatExhausted as usize;
    writer.plane.verdicts[reason] = 100;
    let Writer { plane, store, .. } = writer;
    let mut writer = writer_over(plane, store, true);
    apply(&mut writer, &in_mode("fullnat"));
    writer.observe_second(Instant::now()).unwrap();
    assert!(!raised(&writer), "they were counted before");
    writer.plane.verdicts[reason] = 101;
    for second in 0..60 {
        writer.observe_second(Instant::now()).unwrap();
        assert!(raised(&writer), "second {second}");
    }
    let condition = &writer.status().conditions[0];
    assert!(condition.message.starts_with("1 packets") && condition.message.contains("[nat]"));
    writer.observe_second(Instant::now()).unwrap();
    assert!(!raised(&writer), "it is over");
}

#[test]
fn where_the_client_alone_is_seen_its_second_packet_keeps_a_flow() {
    for (mode, left) in [("dnat", 0), ("fullnat", 0), ("dsr-l2", 1), ("ipip", 1)] {
        let mut writer = web();
        apply(&mut writer, &in_mode(mode));
        let id = ids(&writer, mode)[0];
        pin(&writer, 4000, id, State::Replied);
        scans(&mut writer);
        assert_eq!(writer.scan.last.total, 1, "{mode}");
        // 30 s unconfirmed are over, an hour of silence is not.
        writer.plane.tick.set(4 * 40);
        scans(&mut writer);
        assert_eq!(writer.scan.last.total, left, "{mode}");
        writer.plane.tick.set(4 * 4000);
        scans(&mut writer);
        assert_eq!(writer.scan.last.total, 0, "{mode}");
    }
}

/// A flow of mode `fullnat` as the program makes it: both entries and what lies beside.
struct Pair {
    first: (usize, usize),
    second: (usize, usize),
}

fn translated(writer: &Under, id: u16, client_port: u16, port: u16) -> Pair {
    let tables = writer.plane.tables();
    let place = pin(writer, client_port, id, State::Established);
    let first = (place.buckets[0] as usize, 0);
    let slot = first.0 * 8 + first.1;
    let translation = Translation::new(0, WirePort::new(port));
    tables.put_cold(
        slot,
        ColdKey {
            address: WireAddress::v4(7),
            rest: ColdKey::rest_of(WirePort::new(client_port), 1, translation),
        },
    );
    let backend = tables.backend(id);
    let source = pool(writer, id).addresses[0];
    let key = translation_key::<false>(
        tables.keys.fingerprint,
        (backend.address, backend.port),
        (source, WirePort::new(port)),
        TCP,
    );
    let mask = u32::try_from(tables.flow_buckets() - 1).unwrap();
    let place = flow_place(tables.keys.flow, key, mask);
    let second = (place.buckets[0] as usize, 7);
    let value = Value::pointing(u64::try_from(slot).unwrap(), place.tag);
    tables.put_flow(second.0, second.1, key, value);
    Pair { first, second }
}

fn entries(writer: &Under) -> (usize, usize) {
    let (mut first, mut second) = (0, 0);
    let tables = writer.plane.tables();
    tables.scan(0..tables.flow_buckets(), |flow| {
        if flow.value.is_pointing() {
            second += 1;
        } else {
            first += 1;
        }
    });
    (first, second)
}

fn with_translated_flow() -> (Under, u16, Pair) {
    let mut writer = web();
    apply(&mut writer, &in_mode("fullnat"));
    writer.set_hops(hops(hop("198.18.2.1", None)));
    for _ in 0..3 {
        scans(&mut writer);
        half_a_minute(&writer);
    }
    let id = ids(&writer, "fullnat")[0];
    let pair = translated(&writer, id, 4000, 20_000);
    (writer, id, pair)
}

fn one_scan(writer: &mut Under) {
    let cycle = writer.scan_cycle();
    while writer.scan_cycle() == cycle {
        writer.scan_now();
        writer.housekeep(Instant::now()).unwrap();
    }
}

#[test]
fn a_second_entry_is_no_flow_but_takes_room() {
    let (mut writer, id, _) = with_translated_flow();
    // Long after an ordinary entry of its bits would have ended.
    for tick in [0, 1, 4 * 1000] {
        writer.plane.tick.set(tick);
        scans(&mut writer);
        assert_eq!(entries(&writer), (1, 1));
        assert_eq!((writer.scan.last.total, writer.scan.last.second), (1, 1));
        assert_eq!(writer.scan.last.backends[usize::from(id)], 1);
        assert_eq!(writer.flow_table().entries, 2);
    }
    let flows = writer.flow_list(&FlowFilter::default()).unwrap();
    assert_eq!(flows.total, 1);
    let flow = &flows.items[0];
    assert_eq!(flow.mode, "fullnat");
    assert_eq!(flow.translated, Some("198.18.2.1:20000".parse().unwrap()));
    assert_eq!(flow.client.unwrap().port(), 4000);
}

#[test]
fn an_orphan_goes_after_it_was_found_in_two_scans() {
    let (mut writer, _, pair) = with_translated_flow();
    one_scan(&mut writer);
    let tables = writer.plane.tables();
    tables.put_flow(pair.first.0, pair.first.1, 0, Value(0));
    one_scan(&mut writer);
    assert_eq!(entries(&writer), (0, 1), "it may be in the making");
    one_scan(&mut writer);
    assert_eq!(entries(&writer), (0, 0));
}

#[test]
fn an_expired_flow_takes_its_second_entry_along() {
    let (mut writer, _, _) = with_translated_flow();
    writer.plane.tick.set(4 * 4000);
    for _ in 0..3 {
        one_scan(&mut writer);
    }
    assert_eq!(entries(&writer), (0, 0));
}

#[test]
fn a_second_entry_whose_slot_has_another_flow_by_now_is_an_orphan() {
    let (mut writer, id, pair) = with_translated_flow();
    let tables = writer.plane.tables();
    let slot = pair.first.0 * 8 + pair.first.1;
    // The same client with another port: the slot's second entry is elsewhere.
    let key = flow_key_v4(7, WirePort::new(4001), 1);
    let value = Value::new(id, State::Established as u8, 5, 0);
    tables.put_flow(pair.first.0, pair.first.1, key, value);
    let translation = Translation::new(0, WirePort::new(20_001));
    let cold = ColdKey {
        address: WireAddress::v4(7),
        rest: ColdKey::rest_of(WirePort::new(4001), 1, translation),
    };
    tables.put_cold(slot, cold);
    one_scan(&mut writer);
    one_scan(&mut writer);
    assert_eq!(entries(&writer), (1, 0));
}

#[test]
fn a_second_entry_that_found_its_flow_between_two_scans_stays() {
    let (mut writer, id, pair) = with_translated_flow();
    let key = flow_key_v4(7, WirePort::new(4000), 1);
    let value = Value::new(id, State::Established as u8, 5, 0);
    for _ in 0..3 {
        tables_put(&writer, pair.first, 0, Value(0));
        one_scan(&mut writer);
        tables_put(&writer, pair.first, key, value);
        one_scan(&mut writer);
    }
    assert_eq!(entries(&writer), (1, 1));
    assert_ne!(pair.first, pair.second);
}

fn tables_put(writer: &Under, place: (usize, usize), key: u64, value: Value) {
    let tables = writer.plane.tables();
    tables.put_flow(place.0, place.1, key, value);
}

#[test]
fn a_number_is_free_when_no_first_entry_names_it() {
    let (mut writer, id, pair) = with_translated_flow();
    apply(&mut writer, YAML);
    for _ in 0..3 {
        scans(&mut writer);
        half_a_minute(&writer);
    }
    assert!(
        writer.world.backend_ids.state_of(id).is_some(),
        "its flow lives"
    );
    // A second entry alone keeps no number, whatever its bits look like.
    let tables = writer.plane.tables();
    tables.put_flow(pair.first.0, pair.first.1, 0, Value(0));
    let looks_like_it = Value::pointing(u64::from(id), 3);
    tables.put_flow(pair.second.0, 5, 99, looks_like_it);
    for _ in 0..3 {
        scans(&mut writer);
        half_a_minute(&writer);
    }
    assert_eq!(writer.world.backend_ids.state_of(id), None);
    assert_eq!(entries(&writer), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever modes services go through, the tables hold what the world says and no number is lost.
    #[test]
    fn any_walk_through_modes_ends_with_todays_numbers_alone(walk in prop::collection::vec(0..4_usize, 1..6)) {
        let names = ["dnat", "fullnat", "dsr-l2", "ipip"];
        let mut writer = web();
        writer.set_hops(hops(hop("198.18.2.1", None)));
        for mode in &walk {
            let before = writer.world.services["web"].clone();
            let changes = apply(&mut writer, &in_mode(names[*mode]));
            let same = before.spec.mode.name() == names[*mode];
            prop_assert_eq!(changes[0].generation, before.generation + u64::from(!same));
            for id in ids(&writer, names[*mode]) {
                prop_assert_eq!(current_hop(&writer, id).0.ifindex, 7);
            }
        }
        for _ in 0..4 {
            scans(&mut writer);
            half_a_minute(&writer);
        }
        let last = names[walk[walk.len() - 1]];
        prop_assert_eq!(ids(&writer, last).len(), 2);
        prop_assert_eq!(writer.world.backend_ids.iter().count(), 2);
        let one_way = matches!(last, "dsr-l2" | "ipip");
        // A listener, its VIP, and two backends with their addresses.
        let endpoints = writer.plane.tables().endpoints.iter().count();
        prop_assert_eq!(endpoints, if one_way { 2 } else { 6 });
    }
}

//! Shares of new flows through the loaded program, with a fixed secret: each slot's track is the
//! table's, and counts lie within sampling error.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Result;
use lab::rig::{Plan, Rig, SMALL, Segment, Service, TX, split, tcp, udp};
use lab::soak;
use splitter_ebpf::abi::track_table_index;
use splitter_ebpf::endpoint::FlowTuple;
use splitter_ebpf::flow::SYN;
use splitter_ebpf::wire::{Family, TCP, UDP, WireAddress, WirePort};
use splitter_user::dataplane::DataPlane as _;
use splitter_user::loader::Layout;

const LISTENERS: [&str; 2] = ["198.18.1.100:80", "[2001:db8:1::100]:80"];

/// Tracks of three backends a family each, in networks of their own.
fn plan(tracks: u8) -> Plan {
    let mut plan = Plan::new("web");
    for at in LISTENERS {
        plan = plan.listen(at, TCP).listen(at, UDP);
    }
    for track in 0..tracks {
        let net = 10 + track;
        let servers: Vec<String> = (1..=3)
            .flat_map(|n| {
                [
                    format!("198.18.{net}.{n}:80"),
                    format!("[2001:db8:{net}::{n}]:80"),
                ]
            })
            .collect();
        plan = plan.track(&servers.iter().map(String::as_str).collect::<Vec<_>>());
    }
    plan
}

/// Client number `n`, seeded: its address and port look random, and are the same in every run.
fn client(n: u64, family: usize) -> (IpAddr, u16) {
    let mut bits = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x0123_4567_89ab_cdef;
    bits = (bits ^ (bits >> 31)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    bits ^= bits >> 32;
    let [a, b, c, d, e, f, g, _] = bits.to_le_bytes();
    let port = u16::from_le_bytes([a, b]) | 1024;
    let address = match family {
        // Of 198.18.0.0/15; the lower half is the balancer's own side.
        0 => IpAddr::from([198, 19, c, d]),
        _ => IpAddr::from([0x20, 1, 0xd, 0xb8, 0xc, c, d, e, f, g, 0, 0, 0, 0, 0, 7]),
    };
    (address, port)
}

fn first_packet(address: IpAddr, port: u16, family: usize, protocol: u8) -> Segment {
    let from = std::net::SocketAddr::new(address, port).to_string();
    match protocol {
        TCP => tcp(&from, LISTENERS[family]).flags(SYN),
        _ => udp(&from, LISTENERS[family]),
    }
}

/// The track that a new flow went to, after a look at the tables: they name the very backend.
fn track_of(rig: &Rig, service: &Service, packet: &Segment) -> Result<u8> {
    let family = [Family::V4, Family::V6][usize::from(packet.from.is_ipv6())];
    let outcome = rig.run(&packet.frame())?;
    assert_eq!(outcome.action, TX);
    let tuple = FlowTuple {
        client: packet.from.ip().into(),
        vip: packet.to.ip().into(),
        client_port: WirePort::new(packet.from.port()),
        vip_port: WirePort::new(packet.to.port()),
        protocol: packet.protocol,
    };
    let (slot, entry) = match family {
        Family::V4 => tuple.place_v4(&service.header),
        Family::V6 => tuple.place_v6(&service.header),
    };
    let row = rig.tables().row(rig.tables().selector().row());
    let (_, slots) = rig
        .tables()
        .read_split(service.id, row.table[usize::from(service.id)])?;
    let track = slots[usize::from(slot)];
    let index = track_table_index(service.id, track, family);
    let backend = rig
        .tables()
        .backend(rig.tables().track_entry(index, entry as usize));
    let to: Vec<u8> = match family {
        Family::V4 => outcome.packet[30..34].to_vec(),
        Family::V6 => outcome.packet[38..54].to_vec(),
    };
    let expected: Vec<u8> = backend
        .address
        .0
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .take(to.len())
        .collect();
    assert_eq!(to, expected, "slot {slot}, track {track}");
    assert!(WireAddress::from(packet.to.ip()) != backend.address);
    Ok(track)
}

/// Counts of new flows by track, of `flows` seeded ones.
fn sample(
    rig: &Rig,
    service: &Service,
    flows: u64,
    family: usize,
    protocol: u8,
) -> Result<BTreeMap<u8, u64>> {
    let mut counts = BTreeMap::new();
    for n in 0..flows {
        let (address, port) = client(n, family);
        let track = track_of(rig, service, &first_packet(address, port, family, protocol))?;
        *counts.entry(track).or_default() += 1;
        if n % 2048 == 2047 {
            rig.forget_flows();
        }
    }
    rig.forget_flows();
    Ok(counts)
}

/// Four standard deviations of the binomial distribution: one run in 16,000 lies outside, and since
/// the secret and the tuples are fixed, either all runs do or none.
fn assert_shares(what: &str, counts: &BTreeMap<u8, u64>, parts: &[(u8, u64)]) {
    let flows: u64 = counts.values().sum();
    let whole: u64 = parts.iter().map(|(_, part)| part).sum();
    for (track, part) in parts {
        let share = *part as f64 / whole as f64;
        let (expected, sigma) = (
            flows as f64 * share,
            (flows as f64 * share * (1.0 - share)).sqrt(),
        );
        let count = counts.get(track).copied().unwrap_or(0) as f64;
        assert!(
            (count - expected).abs() <= 4.0 * sigma + 1.0,
            "{what}: track {track} got {count} of {flows}, {expected:.0} +- {sigma:.0} were due"
        );
    }
}

const SPLITS: [&[(u8, u64)]; 4] = [
    &[(0, 50), (1, 50)],
    &[(0, 95), (1, 5)],
    &[(0, 999), (1, 1)],
    &[(0, 70), (1, 25), (2, 5)],
];

/// Enough flows for every one of four kinds, and room for 2048 at a time.
fn rig() -> Result<Rig> {
    Rig::sized(Layout {
        flow_buckets: 2048,
        ..SMALL
    })
}

fn check_all(plan: Plan, flows: usize) -> Result<()> {
    let mut rig = rig()?;
    let service = rig.serve(&plan)?;
    for (table, parts) in (1_u8..).zip(SPLITS) {
        let table = table % 4;
        rig.barrier()?;
        rig.write_split(&service, table, &split(parts))?;
        rig.flip(&[(service.id, table)])?;
        for family in 0..2 {
            for protocol in [TCP, UDP] {
                let counts = sample(&rig, &service, flows as u64, family, protocol)?;
                let what = format!("{parts:?}, family {family}, protocol {protocol}");
                assert_shares(&what, &counts, parts);
            }
        }
    }
    Ok(())
}

#[test]
fn new_flows_are_shared_as_the_table_says_by_flow() -> Result<()> {
    check_all(plan(3), soak(12_000, 100_000))
}

#[test]
fn new_flows_are_shared_as_the_table_says_by_client() -> Result<()> {
    // Every tuple has an address of its own, nearly; so counts of flows are counts of clients.
    check_all(plan(3).by_client(32, 128), soak(12_000, 50_000))
}

#[test]
fn a_client_stays_on_its_track_whatever_its_ports() -> Result<()> {
    let mut rig = rig()?;
    let service = rig.serve(&plan(2).by_client(32, 128).split(split(&[(0, 50), (1, 50)])))?;
    let mut tracks = BTreeMap::<u8, u32>::new();
    for n in 0..200 {
        for family in 0..2 {
            let (address, _) = client(n, family);
            let flows = (0..8).map(|port| (2000 + port, if port % 2 == 0 { TCP } else { UDP }));
            let of_client: Vec<u8> = flows
                .map(|(port, protocol)| {
                    track_of(
                        &rig,
                        &service,
                        &first_packet(address, port, family, protocol),
                    )
                })
                .collect::<Result<_>>()?;
            assert!(
                of_client.iter().all(|track| *track == of_client[0]),
                "{address}: {of_client:?}"
            );
            *tracks.entry(of_client[0]).or_default() += 1;
        }
        rig.forget_flows();
    }
    assert!(
        tracks.values().all(|clients| *clients > 150),
        "both tracks have clients: {tracks:?}"
    );
    Ok(())
}

#[test]
fn clients_of_one_prefix_stay_together() -> Result<()> {
    let mut rig = rig()?;
    let service = rig.serve(&plan(2).by_client(24, 56).split(split(&[(0, 50), (1, 50)])))?;
    let mut tracks = BTreeMap::<u8, u32>::new();
    for net in 0..200_u8 {
        for family in 0..2 {
            let neighbours = (0..6_u8).map(|host| match family {
                0 => IpAddr::from([198, 19, net, host * 37]),
                _ => IpAddr::from([
                    0x20, 1, 0xd, 0xb8, 0xc, 0, net, host, host, 1, 2, 3, 4, 5, 6, host,
                ]),
            });
            let of_net: Vec<u8> = neighbours
                .map(|address| track_of(&rig, &service, &first_packet(address, 3000, family, TCP)))
                .collect::<Result<_>>()?;
            assert!(
                of_net.iter().all(|track| *track == of_net[0]),
                "net {net}: {of_net:?}"
            );
            *tracks.entry(of_net[0]).or_default() += 1;
        }
        rig.forget_flows();
    }
    assert!(
        tracks.values().all(|nets| *nets > 150),
        "both tracks have networks: {tracks:?}"
    );
    Ok(())
}

#[test]
fn a_growing_track_keeps_its_clients_and_undo_gives_the_same_ones_back() -> Result<()> {
    let mut rig = rig()?;
    let service = rig.serve(&plan(2).by_client(32, 128).split(split(&[(0, 100)])))?;
    let canary = |rig: &Rig| -> Result<Vec<bool>> {
        let tracks = (0..1500).map(|n| {
            let (address, port) = client(n, 0);
            Ok(track_of(rig, &service, &first_packet(address, port, 0, TCP))? == 1)
        });
        let of_clients = tracks.collect::<Result<Vec<_>>>();
        rig.forget_flows();
        of_clients
    };
    let mut before = canary(&rig)?;
    let mut five_percent = Vec::new();
    for (table, percent) in [(1, 5), (2, 25), (3, 50)] {
        rig.write_split(&service, table, &split(&[(0, 100 - percent), (1, percent)]))?;
        rig.flip(&[(service.id, table)])?;
        let after = canary(&rig)?;
        assert!(
            before
                .iter()
                .zip(&after)
                .all(|(before, after)| *after || !*before),
            "{percent} %"
        );
        if percent == 5 {
            five_percent.clone_from(&after);
        }
        before = after;
    }
    rig.flip(&[(service.id, 1)])?;
    assert_eq!(canary(&rig)?, five_percent);
    assert!(rig.plane().verdicts().is_ok());
    Ok(())
}

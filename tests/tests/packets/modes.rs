//! Plain packets in the modes other than `dnat`, byte for byte.

use anyhow::Result;
use lab::rig::{Plan, Rig, Segment, mac_of, tcp, udp};
use splitter_ebpf::abi::Mode;
use splitter_ebpf::flow::{ACK, SYN, State};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{TCP, UDP};

use super::{BACKEND, CLIENT, DNS, ELSEWHERE, WEB, check, sent, untouched};

/// What clients become.
const TRANSLATED: [&str; 2] = ["198.18.2.250", "2001:db8:2::250"];
const PORTS: std::ops::Range<u16> = 20_000..20_008;

fn plan(backends: &[&str]) -> Plan {
    let mut plan = Plan::new("web").track(backends);
    for at in WEB {
        plan = plan.listen(at, TCP);
    }
    for at in DNS {
        plan = plan.listen(at, UDP);
    }
    plan
}

/// A backend that has the VIP answers at the listener's own port.
const SAME_PORT: [&str; 2] = ["198.18.2.1:0", "[2001:db8:2::1]:0"];

#[test]
fn dsr_l2_changes_nothing_but_the_macs_and_the_ttl() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.serve(&plan(&SAME_PORT).mode(Mode::DsrL2))?;
    for family in 0..2 {
        for request in [
            tcp(CLIENT[family], WEB[family]).flags(SYN),
            udp(CLIENT[family], DNS[family]),
        ] {
            let out = Segment {
                macs: request.forwarded(SAME_PORT[family]).macs,
                ttl: request.ttl - 1,
                ..request.clone()
            };
            let rows = [
                sent("first", request.frame(), Reason::NewFlow, out.frame()),
                sent("second", request.frame(), Reason::Pinned, out.frame()),
            ];
            check(&rig, &rows)?;
        }
    }
    Ok(())
}

/// The packet inside an IPIP or IP6IP6 packet, after the outer header was found to be what it should.
fn unwrapped(frame: &[u8], inner: &Segment, backend: &str) -> Vec<u8> {
    let backend = backend.parse::<std::net::SocketAddr>().unwrap().ip();
    assert_eq!(frame[..6], mac_of(backend), "to the backend's MAC");
    let outer = etherparse::SlicedPacket::from_ethernet(frame).unwrap();
    match outer.net.unwrap() {
        etherparse::NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            assert_eq!(header.destination, octets_v4(backend));
            assert_eq!(header.source[..2], [198, 19], "{:?}", header.source);
            assert_eq!(header.calc_header_checksum(), header.header_checksum);
            assert!(header.dont_fragment && header.time_to_live == 64);
            assert_eq!(usize::from(header.total_len), frame.len() - 14);
        }
        etherparse::NetSlice::Ipv6(ip) => {
            let header = ip.header().to_header();
            assert_eq!(header.destination_addr(), backend);
            let prefix = [0x2001, 0x0db8, 0xffff, 0, 0, 0];
            assert_eq!(header.source_addr().segments()[..6], prefix);
            assert_eq!(header.next_header.0, 41);
            assert_eq!(usize::from(header.payload_length), frame.len() - 54);
        }
        etherparse::NetSlice::Arp(_) => panic!("an ARP packet"),
    }
    let head = if inner.from.is_ipv4() { 34 } else { 54 };
    [&inner.frame()[..14], &frame[head..]].concat()
}

fn octets_v4(address: std::net::IpAddr) -> [u8; 4] {
    match address {
        std::net::IpAddr::V4(v4) => v4.octets(),
        std::net::IpAddr::V6(v6) => panic!("{v6} is no IPv4 address"),
    }
}

#[test]
fn ipip_carries_the_packet_whole_and_takes_one_hop_off_it() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.serve(&plan(&SAME_PORT).mode(Mode::Ipip))?;
    for family in 0..2 {
        for request in [
            tcp(CLIENT[family], WEB[family]).flags(SYN),
            udp(CLIENT[family], DNS[family]).with(&[7; 700]),
        ] {
            let inner = Segment {
                ttl: request.ttl - 1,
                ..request.clone()
            };
            let mut sources = Vec::new();
            for reason in [Reason::NewFlow, Reason::Pinned, Reason::Pinned] {
                let (outcome, counted) = rig.run_counted(&request.frame())?;
                assert_eq!(counted, [reason]);
                let packet = unwrapped(&outcome.packet, &inner, SAME_PORT[family]);
                assert_eq!(packet, inner.frame());
                sources.push(outcome.packet[14..54].to_vec());
            }
            assert!(
                sources.iter().all(|outer| *outer == sources[0]),
                "one flow has one outer source"
            );
        }
    }
    Ok(())
}

#[test]
fn flows_of_ipip_spread_over_the_outer_sources() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.serve(&plan(&SAME_PORT).mode(Mode::Ipip))?;
    let mut sources = std::collections::BTreeSet::new();
    for port in 0..64 {
        let request = tcp(&format!("198.18.0.9:{}", 40_000 + port), WEB[0]);
        sources.insert(rig.run(&request.frame())?.packet[26..30].to_vec());
    }
    // 64 of 65,536 at random: two the same now and then, never many.
    assert!(sources.len() > 56, "{} sources", sources.len());
    Ok(())
}

/// What a backend sees of a request, taken from the frame that left: the client's place is in it.
fn seen_by_the_backend(rig: &Rig, request: &Segment, backend: &str) -> Result<(Segment, Reason)> {
    let (outcome, counted) = rig.run_counted(&request.frame())?;
    let l4 = if request.from.is_ipv4() { 34 } else { 54 };
    let port = u16::from_be_bytes([outcome.packet[l4], outcome.packet[l4 + 1]]);
    assert!(PORTS.contains(&port), "port {port}");
    let address = TRANSLATED[usize::from(request.from.is_ipv6())];
    let translated = Segment {
        from: std::net::SocketAddr::new(address.parse()?, port),
        ..request.forwarded(backend)
    };
    assert_eq!(outcome.packet, translated.frame(), "packet out");
    Ok((translated, counted[0]))
}

#[test]
fn fullnat_translates_both_ends_there_and_back() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.serve(&plan(&BACKEND).translated_to(&TRANSLATED, PORTS))?;
    for family in 0..2 {
        let tcp = tcp(CLIENT[family], WEB[family]).flags(SYN);
        let dns = udp(CLIENT[family], DNS[family]);
        for (request, listener) in [(tcp, WEB[family]), (dns, DNS[family])] {
            let (translated, reason) = seen_by_the_backend(&rig, &request, BACKEND[family])?;
            assert_eq!(reason, Reason::NewFlow);
            let (again, reason) = seen_by_the_backend(&rig, &request, BACKEND[family])?;
            assert_eq!((again, reason), (translated.clone(), Reason::Pinned));
            let reply = Segment {
                macs: [translated.macs[1], translated.macs[0]],
                ttl: 64,
                flags: request.flags | ACK,
                ..translated.answered()
            };
            let out = Segment {
                to: request.from,
                ..reply.returned(listener)
            };
            let row = sent("reply", reply.frame(), Reason::Reply, out.frame());
            check(&rig, &[row])?;
        }
    }
    Ok(())
}

#[test]
fn fullnat_gives_no_port_twice_and_resets_when_none_is_free() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.serve(&plan(&BACKEND).translated_to(&TRANSLATED, PORTS))?;
    for family in 0..2 {
        let address = ["198.18.0.9", "[2001:db8::9]"][family];
        let mut ports = std::collections::BTreeSet::new();
        for n in 0..8 {
            let request = tcp(&format!("{address}:{}", 40_000 + n), WEB[family]).flags(SYN);
            let (seen, reason) = seen_by_the_backend(&rig, &request, BACKEND[family])?;
            assert_eq!(reason, Reason::NewFlow);
            assert!(ports.insert(seen.from.port()), "port {} twice", seen.from);
        }
        let ninth = tcp(&format!("{address}:50000"), WEB[family]).flags(SYN);
        let (_, counted) = rig.run_counted(&ninth.frame())?;
        assert_eq!(counted, [Reason::NatExhausted]);
        // A listener of its own has ports of its own at the same backend's other endpoint.
        let dns = udp(&format!("{address}:50000"), DNS[family]);
        let (_, reason) = seen_by_the_backend(&rig, &dns, BACKEND[family])?;
        assert_eq!(reason, Reason::NewFlow);
    }
    let flows = rig.flows();
    let pointing = flows.iter().filter(|flow| flow.value.is_pointing()).count();
    assert_eq!(
        (flows.len(), pointing),
        (36, 18),
        "pairs, and nothing left over"
    );
    Ok(())
}

#[test]
fn half_of_a_pair_carries_nothing_to_a_wrong_client() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.serve(&plan(&BACKEND).translated_to(&TRANSLATED, PORTS))?;
    let request = tcp(CLIENT[0], WEB[0]).flags(SYN);
    let (translated, _) = seen_by_the_backend(&rig, &request, BACKEND[0])?;
    let reply = Segment {
        macs: [translated.macs[1], translated.macs[0]],
        ttl: 64,
        ..translated.answered()
    };
    // The flow is gone, its second entry is not.
    let flow = |pointing| {
        let flows = rig.flows();
        flows
            .into_iter()
            .find(|flow| flow.value.is_pointing() == pointing)
    };
    assert!(rig.tables().free_flow(&flow(false).unwrap()));
    let orphan = untouched("orphan", reply.frame(), Reason::BackendDirect);
    check(&rig, &[orphan])?;
    // The client comes back: it gets another port, for the old one is not free yet, and the old one's
    // packets still belong to nobody.
    let (again, reason) = seen_by_the_backend(&rig, &request, BACKEND[0])?;
    assert_eq!(reason, Reason::NewFlow);
    assert_ne!(again.from, translated.from);
    let orphan = untouched("orphan", reply.frame(), Reason::BackendDirect);
    check(&rig, &[orphan])?;
    // The second entry is gone, the flow is not: requests go on, replies find nobody.
    for entry in rig.flows() {
        if entry.value.is_pointing() {
            assert!(rig.tables().free_flow(&entry));
        }
    }
    let (_, reason) = seen_by_the_backend(&rig, &request, BACKEND[0])?;
    assert_eq!(reason, Reason::Pinned);
    let direct = untouched("no second entry", reply.frame(), Reason::BackendDirect);
    check(&rig, &[direct])
}

#[test]
fn a_port_that_is_used_again_after_a_close_gets_a_new_pair_and_leaves_none_behind() -> Result<()> {
    let mut rig = Rig::new()?;
    let service = rig.serve(&plan(&BACKEND).translated_to(&TRANSLATED, PORTS))?;
    let syn = tcp(CLIENT[0], WEB[0]).flags(SYN);
    seen_by_the_backend(&rig, &syn, BACKEND[0])?;
    let rst = tcp(CLIENT[0], WEB[0]).flags(splitter_ebpf::flow::RST);
    seen_by_the_backend(&rig, &rst, BACKEND[0])?;
    let flow = rig.flow(&syn, service.listeners[0]).unwrap();
    assert_eq!(flow.value.state_bits(), State::ResetNew as u8);
    let (_, reason) = seen_by_the_backend(&rig, &syn, BACKEND[0])?;
    assert_eq!(reason, Reason::NewFlow);
    assert_eq!(rig.flows().len(), 2, "one pair");
    Ok(())
}

#[test]
fn what_a_backend_of_fullnat_sends_to_others_is_its_own() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.serve(&plan(&BACKEND).translated_to(&TRANSLATED, PORTS))?;
    for family in 0..2 {
        let packet = tcp(BACKEND[family], ELSEWHERE[family]).frame();
        check(&rig, &[untouched("direct", packet, Reason::BackendDirect)])?;
    }
    Ok(())
}

use anyhow::Result;
use lab::rig::{CLIENT_MAC, Plan, REDIRECT, Rig, Segment, Server, TX, route_to_clients, tcp, udp};
use splitter_ebpf::flow::SYN;
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{TCP, UDP};

use super::{BACKEND, CLIENT, DNS, WEB, check, round_trip, sent, untouched, web};

#[test]
fn requests_and_replies_are_rewritten_whole_in_both_families_and_protocols() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for family in 0..2 {
        for data in [&b""[..], b"x", b"some data of odd length"] {
            let requests = [
                ("TCP", tcp(CLIENT[family], WEB[family]).with(data)),
                ("UDP", udp(CLIENT[family], DNS[family]).with(data)),
            ];
            for (what, request) in requests {
                let what = format!("{what} over {family}, {} bytes", data.len());
                check(&rig, &round_trip(&what, &request, BACKEND[family]))?;
            }
            rig.forget_flows();
        }
    }
    Ok(())
}

#[test]
fn a_backend_without_a_port_gets_the_listeners() -> Result<()> {
    let mut rig = Rig::new()?;
    let plan = Plan::new("web").track(&["198.18.2.1:0", "[2001:db8:2::1]:0"]);
    rig.serve(&WEB.into_iter().fold(plan, |plan, at| plan.listen(at, TCP)))?;
    for (family, backend) in ["198.18.2.1:80", "[2001:db8:2::1]:80"]
        .into_iter()
        .enumerate()
    {
        let request = tcp(CLIENT[family], WEB[family]).flags(SYN);
        check(&rig, &round_trip("the listener's port", &request, backend))?;
    }
    Ok(())
}

#[test]
fn a_backend_behind_another_interface_is_reached_by_redirect() -> Result<()> {
    let mut rig = Rig::new()?;
    let servers = [Server::at(BACKEND[0].parse()?).over(7)];
    rig.serve(&Plan::new("web").listen(WEB[0], TCP).servers(&servers))?;
    let request = tcp(CLIENT[0], WEB[0]);
    let [mut row, _] = round_trip("redirected", &request, BACKEND[0]);
    row.action = REDIRECT;
    check(&rig, &[row])
}

#[test]
fn a_reply_goes_where_the_kernels_routes_say() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    let veth = route_to_clients()?;
    assert_ne!(veth, 1);
    for (family, client) in ["198.19.3.4:5000", "[2001:db8:c::4]:5000"]
        .into_iter()
        .enumerate()
    {
        let [request, mut reply] = round_trip("routed", &tcp(client, WEB[family]), BACKEND[family]);
        // The route's own MAC addresses, not those that the request came with.
        reply.out[..12].copy_from_slice(&[2, 0xc0, 0, 0, 0, 2, 2, 0xb0, 0, 0, 0, 2]);
        reply.action = REDIRECT;
        check(&rig, &[request, reply])?;
    }
    Ok(())
}

#[test]
fn the_way_back_follows_the_client_when_routes_say_so() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    let [request, reply] = round_trip(
        "before the route",
        &tcp("198.19.3.4:5000", WEB[0]),
        BACKEND[0],
    );
    let packet = reply.packet.clone();
    check(&rig, &[request, reply])?;
    route_to_clients()?;
    // The cached hop is not used any more.
    rig.tables().bump_route_epoch();
    let outcome = rig.run(&packet)?;
    assert_eq!(
        (outcome.action, &outcome.packet[..6]),
        (REDIRECT, &[2, 0xc0, 0, 0, 0, 2][..])
    );
    Ok(())
}

#[test]
fn a_udp_datagram_without_a_checksum_gets_none() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    let rows = round_trip("no checksum", &udp(CLIENT[0], DNS[0]), BACKEND[0]).map(|mut row| {
        row.packet[40..42].fill(0);
        row.out[40..42].fill(0);
        row
    });
    check(&rig, &rows)
}

#[test]
fn a_udp_checksum_that_comes_out_as_zero_is_sent_as_all_ones() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for family in 0..2 {
        // Two bytes of data that make the checksum of the forwarded datagram 0.
        let at = [40, 60][family];
        let request = (0..=u16::MAX)
            .map(|data| udp(CLIENT[family], DNS[family]).with(&data.to_be_bytes()))
            .find(|request| request.forwarded(BACKEND[family]).frame()[at..at + 2] == [0xff, 0xff])
            .expect("one of all sums");
        check(
            &rig,
            &round_trip("computed zero", &request, BACKEND[family]),
        )?;
    }
    Ok(())
}

#[test]
fn padding_behind_a_packet_is_neither_lost_nor_changed() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for family in 0..2 {
        for request in [
            tcp(CLIENT[family], WEB[family]),
            udp(CLIENT[family], DNS[family]),
        ] {
            let rows = round_trip("padded", &request, BACKEND[family]).map(|mut row| {
                row.packet.extend(b"padding");
                row.out.extend(b"padding");
                row
            });
            check(&rig, &rows)?;
        }
    }
    Ok(())
}

#[test]
fn a_packet_that_may_take_one_more_hop_takes_it() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for family in 0..2 {
        let request = tcp(CLIENT[family], WEB[family]).ttl(2);
        let [row, _] = round_trip("request", &request, BACKEND[family]);
        let forwarded = request.forwarded(BACKEND[family]);
        let reply = Segment {
            macs: [forwarded.macs[1], forwarded.macs[0]],
            ttl: 2,
            ..forwarded.answered()
        };
        let out = reply.returned(WEB[family]).frame();
        let reply = sent("reply", reply.frame(), Reason::Reply, out);
        check(&rig, &[row, reply])?;
    }
    Ok(())
}

#[test]
fn a_packet_that_arrives_broken_leaves_broken() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    let request = tcp(CLIENT[0], WEB[0]).with(b"data");
    let (mut broken, mut out) = (request.frame(), request.forwarded(BACKEND[0]).frame());
    for frame in [&mut broken, &mut out] {
        *frame.last_mut().unwrap() ^= 1;
    }
    check(
        &rig,
        &[sent(
            "a bit flipped on its way",
            broken,
            Reason::NewFlow,
            out,
        )],
    )
}

#[test]
fn what_is_neither_a_listeners_nor_a_backends_passes() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    let mut rows = Vec::new();
    for family in 0..2 {
        let (client, web, backend) = (CLIENT[family], WEB[family], BACKEND[family]);
        let other_port = web.replace(":80", ":81");
        let quiet = backend.replace(":8080", ":22");
        rows.extend([
            untouched(
                "elsewhere",
                tcp(client, super::ELSEWHERE[family]).frame(),
                Reason::Foreign,
            ),
            untouched(
                "another port",
                tcp(client, &other_port).frame(),
                Reason::Foreign,
            ),
            untouched(
                "another protocol",
                udp(client, web).frame(),
                Reason::Foreign,
            ),
            untouched(
                "to a backend",
                tcp(client, backend).frame(),
                Reason::Foreign,
            ),
            untouched(
                "a backend's other port",
                tcp(&quiet, client).frame(),
                Reason::Foreign,
            ),
            untouched(
                "a backend's own flow",
                tcp(backend, client).frame(),
                Reason::BackendDirect,
            ),
        ]);
    }
    let mut arp = tcp(CLIENT[0], WEB[0]).frame();
    arp[12..14].copy_from_slice(&[8, 6]);
    rows.push(untouched("ARP", arp, Reason::NotIp));
    let mut unknown = tcp(CLIENT[0], WEB[0]).frame();
    unknown[12..14].copy_from_slice(&[0x88, 0xcc]);
    rows.push(untouched("LLDP", unknown, Reason::NotIp));
    check(&rig, &rows)
}

#[test]
fn a_reply_from_another_backend_than_the_pinned_one_is_dropped() -> Result<()> {
    let mut rig = Rig::new()?;
    let servers = ["198.18.2.1:8080", "198.18.2.2:8080"];
    rig.serve(
        &Plan::new("web")
            .listen(WEB[0], TCP)
            .listen(DNS[0], UDP)
            .track(&servers),
    )?;
    let request = tcp(CLIENT[0], WEB[0]);
    let out = Segment {
        macs: [[0; 6]; 2],
        ..request.clone()
    };
    let outcome = rig.run(&request.frame())?;
    assert_eq!(outcome.action, TX);
    let pinned = servers.map(|at| outcome.packet == request.forwarded(at).frame());
    assert_ne!(pinned[0], pinned[1]);
    for (at, pinned) in servers.into_iter().zip(pinned) {
        let reply = tcp(at, CLIENT[0]);
        let row = if pinned {
            sent(
                "the pinned backend",
                reply.frame(),
                Reason::Reply,
                reply.returned(WEB[0]).frame(),
            )
        } else {
            untouched("another backend", reply.frame(), Reason::WrongBackend)
        };
        check(&rig, &[row])?;
    }
    assert_ne!(out.macs[1], CLIENT_MAC);
    Ok(())
}

//! Fallback, routes, preview, and the backend by the client's address.

use std::collections::BTreeSet;

use anyhow::Result;
use ipnet::IpNet;
use lab::rig::{Plan, Rig, Segment, Service, TX, split, tcp};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::TCP;
use splitter_user::dataplane::DataPlane as _;
use splitter_user::table::route::Spans;

const VIP: [&str; 2] = ["198.18.1.100:80", "[2001:db8:1::100]:80"];
const PREVIEW: &str = "198.18.1.101:80";
const BLUE: [&str; 2] = ["198.18.2.11:80", "[2001:db8:2::11]:80"];
const GREEN: [&str; 2] = ["198.18.2.21:80", "[2001:db8:2::21]:80"];

/// Listeners of both families and the preview; all flows to blue, green beside it.
fn plan() -> Plan {
    Plan::new("web")
        .listen(VIP[0], TCP)
        .listen(VIP[1], TCP)
        .listen(PREVIEW, TCP)
        .track(&BLUE)
        .track(&GREEN)
}

fn routes(rules: &[(&str, u8)]) -> Spans {
    let nets: Vec<([IpNet; 1], u8)> = rules
        .iter()
        .map(|(net, track)| ([net.parse().expect("a network")], *track))
        .collect();
    Spans::compile(nets.iter().map(|(nets, track)| (nets.as_slice(), *track)))
}

/// The track that a packet is sent to, or why it is not.
fn track_of(rig: &Rig, service: &Service, packet: &Segment) -> Result<Result<usize, Reason>> {
    let (outcome, reasons) = rig.run_counted(&packet.frame())?;
    if outcome.action != TX {
        return Ok(Err(reasons[0]));
    }
    let backend = service
        .listeners
        .iter()
        .find_map(|listener| rig.flow(packet, *listener))
        .expect("what is sent is pinned")
        .value
        .backend();
    Ok(Ok(service
        .track_of(backend)
        .expect("a backend of the service")))
}

#[test]
fn a_track_without_backends_of_a_family_leaves_its_new_flows_to_the_fallback() -> Result<()> {
    let mut rig = Rig::new()?;
    let bare = Plan::new("web").listen(VIP[0], TCP).listen(VIP[1], TCP);
    let service = rig.serve(&bare.track(&[BLUE[0]]).track(&GREEN).fallback(1))?;
    assert_eq!(
        track_of(&rig, &service, &tcp("198.18.0.9:1000", VIP[0]))?,
        Ok(0)
    );
    let six = tcp("[2001:db8::9]:1000", VIP[1]);
    assert_eq!(track_of(&rig, &service, &six)?, Ok(1), "per family");
    Ok(())
}

#[test]
fn without_a_fallback_that_can_serve_the_service_says_what_becomes_of_new_flows() -> Result<()> {
    let mut rig = Rig::new()?;
    let bare = Plan::new("web").listen(VIP[1], TCP);
    let service = rig.serve(&bare.track(&[BLUE[0]]).track(&[GREEN[0]]).fallback(1))?;
    let six = tcp("[2001:db8::9]:1000", VIP[1]);
    assert_eq!(track_of(&rig, &service, &six)?, Err(Reason::NoBackend));
    Ok(())
}

#[test]
fn routed_clients_go_to_their_track_and_all_others_by_the_weights() -> Result<()> {
    let mut rig = Rig::new()?;
    let rules = routes(&[
        ("198.18.9.128/25", 0),
        ("198.18.9.0/24", 1),
        ("2001:db8:9::/48", 1),
    ]);
    let service = rig.serve(&plan().routes(&rules))?;
    for (client, track) in [
        ("198.18.8.255:1000", 0),
        ("198.18.9.0:1000", 1),
        ("198.18.9.127:1000", 1),
        ("198.18.9.128:1000", 0),
        ("198.18.10.0:1000", 0),
    ] {
        assert_eq!(
            track_of(&rig, &service, &tcp(client, VIP[0]))?,
            Ok(track),
            "{client}"
        );
    }
    for (client, track) in [
        ("[2001:db8:8:ffff:ffff:ffff:ffff:ffff]:1000", 0),
        ("[2001:db8:9::]:1000", 1),
        ("[2001:db8:9:ffff:ffff:ffff:ffff:ffff]:1000", 1),
        ("[2001:db8:a::]:1000", 0),
    ] {
        assert_eq!(
            track_of(&rig, &service, &tcp(client, VIP[1]))?,
            Ok(track),
            "{client}"
        );
    }
    Ok(())
}

#[test]
fn a_pinned_flow_stays_when_a_route_of_its_client_comes_and_a_new_one_follows_it() -> Result<()> {
    let mut rig = Rig::new()?;
    let service = rig.serve(&plan())?;
    let old = tcp("198.18.9.7:1000", VIP[0]);
    assert_eq!(track_of(&rig, &service, &old)?, Ok(0));
    let routed = plan().routes(&routes(&[("198.18.9.0/24", 1)]));
    rig.write_plan(&service, 1, &routed)?;
    rig.flip(&[(service.id, 1)])?;
    assert_eq!(track_of(&rig, &service, &old)?, Ok(0));
    assert_eq!(
        track_of(&rig, &service, &tcp("198.18.9.7:1001", VIP[0]))?,
        Ok(1)
    );
    rig.flip(&[(service.id, 0)])?;
    assert_eq!(
        track_of(&rig, &service, &tcp("198.18.9.7:1002", VIP[0]))?,
        Ok(0)
    );
    Ok(())
}

#[test]
fn a_route_to_a_track_that_cannot_serve_falls_back_and_then_is_refused() -> Result<()> {
    let rules = routes(&[("198.18.9.0/24", 1)]);
    let bare = || {
        Plan::new("web")
            .listen(VIP[0], TCP)
            .track(&BLUE)
            .track(&[GREEN[1]])
            .routes(&rules)
    };
    let client = tcp("198.18.9.7:1000", VIP[0]);
    let mut rig = Rig::new()?;
    let service = rig.serve(&bare())?;
    assert_eq!(track_of(&rig, &service, &client)?, Err(Reason::NoBackend));
    let mut rig = Rig::new()?;
    let service = rig.serve(&bare().fallback(0))?;
    assert_eq!(track_of(&rig, &service, &client)?, Ok(0));
    Ok(())
}

#[test]
fn a_preview_leads_to_its_track_whatever_weights_and_routes_say_and_its_replies_come_back()
-> Result<()> {
    let mut rig = Rig::new()?;
    let rules = routes(&[("0.0.0.0/0", 0)]);
    let service = rig.serve(&plan().routes(&rules).preview(2, Some(1)))?;
    let packet = tcp("198.18.9.7:1000", PREVIEW);
    assert_eq!(track_of(&rig, &service, &packet)?, Ok(1));
    let reply = packet.forwarded(GREEN[0]).answered();
    let (outcome, _) = rig.run_counted(&reply.frame())?;
    assert_eq!(outcome.action, TX);
    assert_eq!(outcome.packet, reply.returned(PREVIEW).frame());
    assert_eq!(
        track_of(&rig, &service, &tcp("198.18.9.7:1001", VIP[0]))?,
        Ok(0)
    );
    Ok(())
}

#[test]
fn a_preview_never_falls_back() -> Result<()> {
    let mut rig = Rig::new()?;
    let bare = Plan::new("web")
        .listen(PREVIEW, TCP)
        .track(&BLUE)
        .track(&[GREEN[1]]);
    let service = rig.serve(&bare.clone().preview(0, Some(1)).fallback(0))?;
    let packet = tcp("198.18.9.7:1000", PREVIEW);
    assert_eq!(track_of(&rig, &service, &packet)?, Err(Reason::NoBackend));
    let mut rig = Rig::new()?;
    let service = rig.serve(&bare.preview(0, None).fallback(0))?;
    assert_eq!(track_of(&rig, &service, &packet)?, Err(Reason::NoBackend));
    Ok(())
}

#[test]
fn flows_that_the_weights_did_not_send_are_counted_aside() -> Result<()> {
    let mut rig = Rig::new()?;
    let rules = routes(&[("198.18.9.0/24", 1)]);
    let service = rig.serve(&plan().routes(&rules).preview(2, Some(1)))?;
    for (client, to) in [
        ("198.18.9.7:1000", VIP[0]),
        ("198.18.8.7:1001", PREVIEW),
        ("198.18.8.7:1002", VIP[0]),
    ] {
        rig.run(&tcp(client, to).frame())?;
    }
    let counted = |backend: u16| {
        rig.kernel()
            .counters(backend)
            .map(|c| (c.new_flows, c.aside))
    };
    assert_eq!(counted(service.backends[0][0])?, (1, 0));
    assert_eq!(counted(service.backends[1][0])?, (2, 2));
    Ok(())
}

#[test]
fn with_the_backend_by_client_a_client_has_one_backend_and_without_it_several() -> Result<()> {
    let backends: Vec<String> = (1..=8).map(|n| format!("198.18.2.{n}:80")).collect();
    let backends: Vec<&str> = backends.iter().map(String::as_str).collect();
    let bare = || Plan::new("web").listen(VIP[0], TCP).track(&backends);
    let met = |plan: Plan| -> Result<Vec<usize>> {
        let mut rig = Rig::new()?;
        let service = rig.serve(&plan.split(split(&[(0, 1)])))?;
        let of = |n: u16| -> Result<usize> {
            let mut met = BTreeSet::new();
            for port in 1000..1016 {
                // Two addresses of one /24, which is what counts.
                let packet = tcp(&format!("198.18.{}.{}:{port}", 100 + n, port & 1), VIP[0]);
                rig.run(&packet.frame())?;
                let flow = rig.flow(&packet, service.listeners[0]).expect("pinned");
                met.insert(flow.value.backend());
            }
            Ok(met.len())
        };
        (0..16).map(of).collect()
    };
    assert_eq!(met(bare().by_client(24, 64).backend_by_client())?, [1; 16]);
    assert!(
        met(bare().by_client(24, 64))?
            .iter()
            .all(|backends| *backends > 3)
    );
    Ok(())
}

use anyhow::Result;
use lab::rig::{Rig, Told, tcp};
use splitter_ebpf::abi::Mode;
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::TCP;

use super::shapes::{extended, optioned, summed};
use super::worlds::{Flow, MODES, World};
use super::{CLIENT, ELSEWHERE, WEB, check, sent, untouched, web};

/// Router alert (RFC 2113), then no-operations and the end of the list.
const ALERT: [u8; 8] = [148, 4, 0, 0, 1, 1, 1, 0];
/// An option list of the greatest length: a record of routes.
const ROUTES: [u8; 40] = {
    let mut list = [0; 40];
    list[0] = 7;
    list[1] = 39;
    list[2] = 4;
    list
};

/// Makes another frame of one.
type Change<'a> = dyn Fn(Vec<u8>) -> Vec<u8> + 'a;

/// Widens a frame by headers that are carried; there are several ways.
type Widen = fn(Vec<u8>) -> Vec<u8>;

fn ways(flow: &Flow) -> Vec<(&'static str, Widen)> {
    if flow.family == 0 {
        return vec![
            ("router alert", |frame| optioned(frame, &ALERT)),
            ("40 bytes of options", |frame| optioned(frame, &ROUTES)),
        ];
    }
    vec![
        ("hop-by-hop", |frame| {
            extended(frame, 0, &[0, 0, 1, 4, 0, 0, 0, 0])
        }),
        ("destination options", |frame| {
            let mut header = [0; 24];
            header[1..4].copy_from_slice(&[2, 1, 20]);
            extended(frame, 60, &header)
        }),
        ("a routing header with no segment left", |frame| {
            extended(frame, 43, &[0, 0, 4, 0, 0, 0, 0, 0])
        }),
        ("a fragment header on a whole packet", |frame| {
            extended(frame, 44, &[0, 0, 0, 0, 1, 2, 3, 4])
        }),
        ("three of them", |frame| {
            let inner = extended(frame, 60, &[0, 0, 1, 4, 0, 0, 0, 0]);
            let middle = extended(inner, 44, &[0, 0, 0, 0, 1, 2, 3, 4]);
            extended(middle, 0, &[0, 0, 1, 4, 0, 0, 0, 0])
        }),
    ]
}

#[test]
fn options_and_extension_headers_are_carried_both_ways_in_every_mode() -> Result<()> {
    for mode in MODES {
        let world = World::new(mode)?;
        for flow in world.flows()? {
            for (what, widen) in ways(&flow) {
                let what = format!("{what}, {mode:?}, {} over {}", flow.protocol, flow.client);
                let request = flow.request().with(b"odd");
                let out = flow.wrapped(widen(flow.forwarded(&request).frame()));
                check(
                    &world.rig,
                    &[sent(&what, widen(request.frame()), Reason::Pinned, out)],
                )?;
                if world.returns() {
                    let reply = flow.reply().with(b"odd");
                    let out = widen(flow.returned(&reply).frame());
                    check(
                        &world.rig,
                        &[sent(&what, widen(reply.frame()), Reason::Reply, out)],
                    )?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_flow_may_begin_with_options() -> Result<()> {
    let mut rig = Rig::new()?;
    let service = web(&mut rig)?;
    let request = tcp(CLIENT[0], WEB[0]);
    let (_, counted) = rig.run_counted(&optioned(request.frame(), &ALERT))?;
    assert_eq!(counted, [Reason::NewFlow]);
    assert!(rig.flow(&request, service.listeners[0]).is_some());
    let (_, counted) = rig.run_counted(&request.frame())?;
    assert_eq!(counted, [Reason::Pinned], "the same flow without options");
    Ok(())
}

#[test]
fn source_routes_and_broken_option_lists_are_dropped_by_name() -> Result<()> {
    let world = World::new(Mode::Dnat)?;
    let flow = world.flow(0, TCP)?;
    for list in [
        &[131, 7, 4, 198, 18, 0, 1, 0][..],
        &[1, 137, 7, 4, 198, 18, 0, 1],
        &[7, 1, 0, 0],
        &[1, 1, 68, 12],
        &[1, 1, 1, 7],
    ] {
        let change = |frame| optioned(frame, list);
        check(
            &world.rig,
            &[
                untouched(
                    "to a VIP",
                    change(flow.request().frame()),
                    Reason::Ipv4Options,
                ),
                untouched(
                    "from a backend",
                    change(flow.reply().frame()),
                    Reason::Ipv4Options,
                ),
                untouched(
                    "elsewhere",
                    change(tcp(CLIENT[0], ELSEWHERE[0]).frame()),
                    Reason::Foreign,
                ),
            ],
        )?;
    }
    Ok(())
}

#[test]
fn headers_longer_than_their_packet_are_malformed() -> Result<()> {
    let world = World::new(Mode::Dnat)?;
    let flow = world.flow(0, TCP)?;
    for segment in [flow.request(), flow.reply()] {
        let frame = segment.with(&[0; 40]).frame();
        // The list ends where it did, but what is taken for a TCP header is data.
        let mut long = optioned(frame.clone(), &ALERT);
        long[14] = 0x4f;
        let mut short = frame;
        short[14] = 0x44;
        for broken in [long, short] {
            check(
                &world.rig,
                &[untouched(
                    "header length",
                    summed(broken),
                    Reason::Malformed,
                )],
            )?;
        }
    }
    let flow = world.flow(1, TCP)?;
    for frame in [flow.request().frame(), flow.reply().frame()] {
        let broken = extended(frame, 60, &[0, 9, 1, 4, 0, 0, 0, 0]);
        check(
            &world.rig,
            &[untouched("extension length", broken, Reason::Malformed)],
        )?;
    }
    Ok(())
}

#[test]
fn extension_headers_that_are_not_carried_are_dropped_by_name() -> Result<()> {
    let world = World::new(Mode::Dnat)?;
    let flow = world.flow(1, TCP)?;
    let header = [0, 0, 1, 4, 0, 0, 0, 0];
    for number in [51, 135, 139, 140] {
        let change = |frame| extended(frame, number, &header);
        check(
            &world.rig,
            &[
                untouched(
                    "to a VIP",
                    change(flow.request().frame()),
                    Reason::Ipv6Extension,
                ),
                // What it carries cannot be a flow's: such packets do not reach backends.
                untouched(
                    "from a backend",
                    change(flow.reply().frame()),
                    Reason::Foreign,
                ),
                untouched(
                    "elsewhere",
                    change(tcp(CLIENT[1], ELSEWHERE[1]).frame()),
                    Reason::Foreign,
                ),
            ],
        )?;
    }
    let seven = |frame| (0..7).fold(frame, |frame, _| extended(frame, 60, &header));
    let routed = |frame| extended(frame, 43, &[0, 0, 4, 1, 0, 0, 0, 0]);
    let late = |frame| extended(extended(frame, 0, &header), 60, &header);
    let changes: [(&str, &Change<'_>); 3] = [
        ("seven", &seven),
        ("a segment left", &routed),
        ("hop-by-hop behind another", &late),
    ];
    for (what, change) in changes {
        check(
            &world.rig,
            &[
                untouched(what, change(flow.request().frame()), Reason::Ipv6Extension),
                untouched(what, change(flow.reply().frame()), Reason::Ipv6Extension),
                untouched(
                    what,
                    change(tcp(CLIENT[1], ELSEWHERE[1]).frame()),
                    Reason::Foreign,
                ),
            ],
        )?;
    }
    Ok(())
}

#[test]
fn senders_are_told_of_packets_too_long_for_the_way_on() -> Result<()> {
    for mode in [Mode::Dnat, Mode::Ipip] {
        let world = World::new(mode)?;
        for flow in world.flows()? {
            for (what, widen) in ways(&flow) {
                let frame = widen(flow.request().with(&[0x5a; 100]).frame());
                let length = u16::try_from(frame.len() - 14)?;
                let overhead = match mode {
                    Mode::Ipip => [20, 40][flow.family],
                    _ => 0,
                };
                world.limit(flow.family, length + overhead - 1)?;
                let vip = flow.listener.ip().to_string();
                let told = Told::TooBig(length - 1).about(&frame, &vip);
                check(
                    &world.rig,
                    &[sent(what, frame.clone(), Reason::TooBig, told)],
                )?;
                world.limit(flow.family, length + overhead)?;
                let (_, counted) = world.rig.run_counted(&frame)?;
                assert_eq!(counted, [Reason::Pinned], "{what}, {mode:?}");
            }
        }
    }
    Ok(())
}

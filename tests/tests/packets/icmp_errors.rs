use std::net::IpAddr;

use anyhow::Result;
use lab::rig::{BALANCER_MAC, CLIENT_MAC, Segment};
use splitter_ebpf::abi::Mode;
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::TCP;

use super::shapes::{Error, extended, fragments, optioned};
use super::worlds::{Flow, MODES, World};
use super::{check, sent, untouched};

const ROUTER: [&str; 2] = ["198.18.9.9", "2001:db8:9::9"];
const NEAR: [&str; 2] = ["198.18.2.99", "2001:db8:2::99"];
const DATA: [u8; 64] = [0x5a; 64];

fn address(of: [&str; 2], flow: &Flow) -> IpAddr {
    of[flow.family].parse().expect("an address")
}

/// Errors that are followed, by family: type, code and the four bytes behind the checksum.
fn kinds(flow: &Flow) -> &'static [([u8; 2], [u8; 4])] {
    if flow.family == 0 {
        &[
            ([3, 4], [0, 0, 5, 20]),
            ([3, 3], [0; 4]),
            ([11, 0], [0; 4]),
            ([12, 0], [20, 0, 0, 0]),
        ]
    } else {
        &[
            ([2, 0], [0, 0, 5, 20]),
            ([1, 4], [0; 4]),
            ([3, 0], [0; 4]),
            ([4, 1], [0, 0, 0, 40]),
        ]
    }
}

/// Bytes quoted: ports alone, and all there is.
fn lengths(flow: &Flow) -> [usize; 2] {
    [[28, 48][flow.family], 1000]
}

/// About what the listener sent: from somebody on the client's side.
fn about_reply(flow: &Flow, from: IpAddr) -> (Error, Segment) {
    let error = Error {
        macs: [BALANCER_MAC, CLIENT_MAC],
        from,
        to: flow.listener.ip(),
        ttl: 60,
        kind: kinds(flow)[0].0,
        rest: kinds(flow)[0].1,
    };
    let quoted = Segment {
        from: flow.listener,
        to: flow.client,
        ttl: 50,
        ..flow.reply().with(&DATA)
    };
    (error, quoted)
}

/// About what was on its way to the backend: from somebody on that side.
fn about_request(flow: &Flow, from: IpAddr) -> (Error, Segment) {
    let error = Error {
        macs: [BALANCER_MAC, flow.backend_mac()],
        from,
        to: flow.known.ip(),
        ttl: 60,
        kind: kinds(flow)[0].0,
        rest: kinds(flow)[0].1,
    };
    let quoted = Segment {
        from: flow.known,
        to: flow.backend,
        ttl: 50,
        ..flow.request().with(&DATA)
    };
    (error, quoted)
}

#[test]
fn errors_about_replies_reach_the_backend_in_every_mode() -> Result<()> {
    for mode in MODES {
        let world = World::new(mode)?;
        for flow in world.flows()? {
            for from in [flow.client.ip(), address(ROUTER, &flow)] {
                for (kind, rest) in kinds(&flow) {
                    let (error, quoted) = about_reply(&flow, from);
                    let error = Error {
                        kind: *kind,
                        rest: *rest,
                        ..error
                    };
                    let told = Segment {
                        from: flow.backend,
                        to: flow.known,
                        ..quoted.clone()
                    };
                    let leaves = Error {
                        macs: [flow.backend_mac(), BALANCER_MAC],
                        from: if mode == Mode::FullNat {
                            flow.known.ip()
                        } else {
                            from
                        },
                        to: flow.backend.ip(),
                        ttl: 59,
                        ..error
                    };
                    for bytes in lengths(&flow) {
                        let what = format!("{mode:?} {kind:?} {} over {from}", flow.protocol);
                        check(
                            &world.rig,
                            &[sent(
                                &what,
                                error.about(&quoted.frame(), bytes),
                                Reason::IcmpErrorFollowed,
                                flow.wrapped(leaves.about(&told.frame(), bytes)),
                            )],
                        )?;
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn errors_about_requests_reach_the_client_where_they_pass() -> Result<()> {
    for mode in [Mode::Dnat, Mode::FullNat] {
        let world = World::new(mode)?;
        for flow in world.flows()? {
            for from in [flow.backend.ip(), address(NEAR, &flow)] {
                for (kind, rest) in kinds(&flow) {
                    let (error, quoted) = about_request(&flow, from);
                    let error = Error {
                        kind: *kind,
                        rest: *rest,
                        ..error
                    };
                    let told = Segment {
                        from: flow.client,
                        to: flow.listener,
                        ..quoted.clone()
                    };
                    let hides = mode == Mode::FullNat || from == flow.backend.ip();
                    let leaves = Error {
                        macs: [CLIENT_MAC, BALANCER_MAC],
                        from: if hides { flow.listener.ip() } else { from },
                        to: flow.client.ip(),
                        ttl: 59,
                        ..error
                    };
                    for bytes in lengths(&flow) {
                        let what = format!("{mode:?} {kind:?} {} over {from}", flow.protocol);
                        check(
                            &world.rig,
                            &[sent(
                                &what,
                                error.about(&quoted.frame(), bytes),
                                Reason::IcmpErrorFollowed,
                                leaves.about(&told.frame(), bytes),
                            )],
                        )?;
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn errors_may_quote_options_extension_headers_and_first_fragments() -> Result<()> {
    let world = World::new(Mode::Dnat)?;
    for flow in world.flows()? {
        let widen = |frame: Vec<u8>| {
            if flow.family == 0 {
                optioned(frame, &[148, 4, 0, 0])
            } else {
                extended(frame, 60, &[0, 0, 1, 4, 0, 0, 0, 0])
            }
        };
        let first = |frame: Vec<u8>| fragments(&frame, &[40], 3).remove(0);
        let (error, quoted) = about_reply(&flow, address(ROUTER, &flow));
        let told = Segment {
            from: flow.backend,
            ..quoted.clone()
        };
        let leaves = Error {
            macs: [flow.backend_mac(), BALANCER_MAC],
            to: flow.backend.ip(),
            ttl: 59,
            ..error
        };
        let shapes: [&dyn Fn(Vec<u8>) -> Vec<u8>; 2] = [&widen, &first];
        for shape in shapes {
            check(
                &world.rig,
                &[sent(
                    "quoted",
                    error.about(&shape(quoted.frame()), 1000),
                    Reason::IcmpErrorFollowed,
                    leaves.about(&shape(told.frame()), 1000),
                )],
            )?;
        }
        // The error itself may have them, too.
        let (before, after) = (
            error.about(&quoted.frame(), 1000),
            leaves.about(&told.frame(), 1000),
        );
        check(
            &world.rig,
            &[sent(
                "widened",
                widen(before),
                Reason::IcmpErrorFollowed,
                widen(after),
            )],
        )?;
    }
    Ok(())
}

#[test]
fn errors_about_no_flow_to_a_vip_are_dropped_and_others_are_nobodys() -> Result<()> {
    for mode in [Mode::Dnat, Mode::FullNat] {
        let world = World::new(mode)?;
        for flow in world.flows()? {
            let (error, quoted) = about_reply(&flow, address(ROUTER, &flow));
            let mut stranger = quoted.clone();
            stranger.to.set_port(9);
            let mut other_port = quoted.clone();
            other_port.from.set_port(9);
            let later = &fragments(&quoted.frame(), &[40], 3)[1];
            let not_its_sender = Error {
                to: flow.client.ip(),
                ..error
            };
            check(
                &world.rig,
                &[
                    untouched(
                        "no flow",
                        error.about(&stranger.frame(), 1000),
                        Reason::IcmpError,
                    ),
                    untouched(
                        "no listener",
                        error.about(&other_port.frame(), 1000),
                        Reason::IcmpError,
                    ),
                    untouched(
                        "a later fragment",
                        error.about(later, 1000),
                        Reason::IcmpError,
                    ),
                    untouched(
                        "nothing quoted",
                        error.about(&quoted.frame(), 0),
                        Reason::IcmpError,
                    ),
                    untouched(
                        "not to whom sent the packet",
                        not_its_sender.about(&quoted.frame(), 1000),
                        Reason::Foreign,
                    ),
                ],
            )?;
            let (error, quoted) = about_request(&flow, flow.backend.ip());
            let mut stranger = quoted.clone();
            stranger.from.set_port(9);
            check(
                &world.rig,
                &[untouched(
                    "direct",
                    error.about(&stranger.frame(), 1000),
                    Reason::Foreign,
                )],
            )?;
        }
    }
    Ok(())
}

#[test]
fn redirects_and_errors_without_meaning_are_not_followed() -> Result<()> {
    let world = World::new(Mode::Dnat)?;
    for flow in world.flows()? {
        let others: &[[u8; 2]] = if flow.family == 0 {
            &[[4, 0], [5, 1]]
        } else {
            &[[0, 0], [5, 0], [100, 0]]
        };
        for kind in others {
            let (error, quoted) = about_reply(&flow, address(ROUTER, &flow));
            let error = Error {
                kind: *kind,
                ..error
            };
            check(
                &world.rig,
                &[untouched(
                    "to a VIP",
                    error.about(&quoted.frame(), 1000),
                    Reason::IcmpError,
                )],
            )?;
            let (error, quoted) = about_request(&flow, flow.backend.ip());
            let error = Error {
                kind: *kind,
                ..error
            };
            check(
                &world.rig,
                &[untouched(
                    "from a backend",
                    error.about(&quoted.frame(), 1000),
                    Reason::Foreign,
                )],
            )?;
        }
    }
    Ok(())
}

#[test]
fn errors_leave_a_flows_life_as_it_is() -> Result<()> {
    for mode in MODES {
        let world = World::new(mode)?;
        let flow = world.flow(0, TCP)?;
        let before = world.rig.flows();
        let (error, quoted) = about_reply(&flow, flow.client.ip());
        world.rig.wait_ticks(2)?;
        world.rig.run(&error.about(&quoted.frame(), 1000))?;
        if world.returns() {
            let (error, quoted) = about_request(&flow, flow.backend.ip());
            world.rig.run(&error.about(&quoted.frame(), 1000))?;
        }
        assert_eq!(world.rig.flows(), before, "{mode:?}");
    }
    Ok(())
}

#[test]
fn an_error_at_the_end_of_its_hops_goes_no_further() -> Result<()> {
    let world = World::new(Mode::Dnat)?;
    for flow in world.flows()? {
        for (error, quoted) in [
            about_reply(&flow, address(ROUTER, &flow)),
            about_request(&flow, flow.backend.ip()),
        ] {
            let error = Error { ttl: 1, ..error };
            check(
                &world.rig,
                &[untouched(
                    "expired",
                    error.about(&quoted.frame(), 1000),
                    Reason::TtlExpired,
                )],
            )?;
        }
    }
    Ok(())
}

#[test]
fn an_error_with_a_broken_checksum_stays_broken() -> Result<()> {
    let world = World::new(Mode::Dnat)?;
    for flow in world.flows()? {
        let (error, quoted) = about_reply(&flow, address(ROUTER, &flow));
        let told = Segment {
            from: flow.backend,
            ..quoted.clone()
        };
        let leaves = Error {
            macs: [flow.backend_mac(), BALANCER_MAC],
            to: flow.backend.ip(),
            ttl: 59,
            ..error
        };
        let mut broken = error.about(&quoted.frame(), 1000);
        let at = [34, 54][flow.family] + 2;
        broken[at] ^= 0x10;
        let whole = leaves.about(&told.frame(), 1000);
        let out = world.rig.run(&broken)?.packet;
        assert_ne!(out[at..at + 2], whole[at..at + 2]);
        assert_eq!(out[..at], whole[..at]);
        assert_eq!(out[at + 2..], whole[at + 2..]);
    }
    Ok(())
}

#[test]
fn errors_with_a_source_route_do_not_reach_the_client() -> Result<()> {
    for mode in [Mode::Dnat, Mode::FullNat] {
        let world = World::new(mode)?;
        let flow = world.flow(0, TCP)?;
        for from in [flow.backend.ip(), address(NEAR, &flow)] {
            let (error, quoted) = about_request(&flow, from);
            let frame = error.about(&quoted.frame(), 1000);
            let routed = optioned(frame, &[131, 7, 4, 198, 18, 0, 1, 0]);
            check(
                &world.rig,
                &[untouched("routed", routed, Reason::Ipv4Options)],
            )?;
        }
    }
    Ok(())
}

#[test]
fn errors_about_what_the_vip_itself_sent_to_a_backend_are_dropped() -> Result<()> {
    for mode in [Mode::Dnat, Mode::FullNat] {
        let world = World::new(mode)?;
        for flow in world.flows()? {
            let (error, mut quoted) = about_request(&flow, flow.backend.ip());
            let error = Error {
                to: flow.listener.ip(),
                ..error
            };
            quoted.from = flow.listener;
            quoted.from.set_port(9);
            check(
                &world.rig,
                &[untouched(
                    "of no flow",
                    error.about(&quoted.frame(), 1000),
                    Reason::IcmpError,
                )],
            )?;
        }
    }
    Ok(())
}

use std::net::SocketAddr;

use anyhow::Result;
use lab::rig::{DROP, PASS, Rig, Segment, TX, Told, tcp, udp};
use splitter_ebpf::abi::Mode;
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{TCP, UDP};

use super::shapes::fragments;
use super::worlds::{MODES, World};
use super::{CLIENT, DNS, ELSEWHERE, WEB, check, sent, untouched, web};

const DATA: [u8; 100] = [0x5a; 100];
/// Where packets with [`DATA`] are cut.
const CUTS: [usize; 2] = [40, 80];

fn cut(segment: &Segment, id: u16) -> Vec<Vec<u8>> {
    fragments(&segment.frame(), &CUTS, id)
}

/// Rows that send each fragment of `before` as one of `after`.
fn followed(
    what: &str,
    before: Vec<Vec<u8>>,
    after: Vec<Vec<u8>>,
    first: Reason,
) -> Vec<super::Row> {
    let reasons = [first, Reason::FragmentFollowed, Reason::FragmentFollowed];
    before
        .into_iter()
        .zip(after)
        .zip(reasons)
        .map(|((before, after), reason)| sent(what, before, reason, after))
        .collect()
}

#[test]
fn fragments_of_requests_follow_their_first_in_every_mode() -> Result<()> {
    for mode in MODES {
        let world = World::new(mode)?;
        for (id, flow) in (1..).zip(world.flows()?) {
            let request = flow.request().with(&DATA);
            let out = cut(&flow.forwarded(&request), id)
                .into_iter()
                .map(|frame| flow.wrapped(frame))
                .collect();
            let what = format!("{mode:?}, {} over {}", flow.protocol, flow.client);
            check(
                &world.rig,
                &followed(&what, cut(&request, id), out, Reason::Pinned),
            )?;
        }
    }
    Ok(())
}

#[test]
fn fragments_of_replies_follow_their_first_where_replies_pass() -> Result<()> {
    for mode in [Mode::Dnat, Mode::FullNat] {
        let world = World::new(mode)?;
        for (id, flow) in (1..).zip(world.flows()?) {
            let reply = flow.reply().with(&DATA);
            let out = cut(&flow.returned(&reply), id);
            let what = format!("{mode:?}, {} over {}", flow.protocol, flow.client);
            check(
                &world.rig,
                &followed(&what, cut(&reply, id), out, Reason::Reply),
            )?;
        }
    }
    Ok(())
}

#[test]
fn a_flow_may_begin_with_a_fragment() -> Result<()> {
    for mode in MODES {
        let world = World::new(mode)?;
        for (family, protocol) in [(0, TCP), (0, UDP), (1, TCP), (1, UDP)] {
            let plain = if protocol == TCP {
                tcp(CLIENT[family], WEB[family])
            } else {
                udp(CLIENT[family], DNS[family])
            };
            let pieces = cut(&plain.with(&DATA), 7);
            let (outcome, counted) = world.rig.run_counted(&pieces[0])?;
            assert_eq!((outcome.action, counted), (TX, vec![Reason::NewFlow]));
            let flow = world.flow(family, protocol)?;
            let request = flow.request().with(&DATA);
            let out: Vec<_> = cut(&flow.forwarded(&request), 7)
                .into_iter()
                .map(|frame| flow.wrapped(frame))
                .collect();
            assert_eq!(outcome.packet, out[0], "{mode:?}");
            check(
                &world.rig,
                &[sent(
                    "later",
                    pieces[1].clone(),
                    Reason::FragmentFollowed,
                    out[1].clone(),
                )],
            )?;
        }
    }
    Ok(())
}

#[test]
fn later_fragments_without_their_first_are_dropped_by_name() -> Result<()> {
    let world = World::new(Mode::Dnat)?;
    // IPv6 tells the fragments of packets apart by addresses and identification alone.
    for (id, flow) in (300..).step_by(2).zip(world.flows()?) {
        let pieces = cut(&flow.request().with(&DATA), id);
        check(
            &world.rig,
            &[
                untouched("before its first", pieces[1].clone(), Reason::Fragment),
                untouched(
                    "the last before its first",
                    pieces[2].clone(),
                    Reason::Fragment,
                ),
            ],
        )?;
        world.rig.run(&pieces[0])?;
        let (outcome, counted) = world.rig.run_counted(&pieces[1])?;
        assert_eq!(
            (outcome.action, counted),
            (TX, vec![Reason::FragmentFollowed])
        );
        // Of another packet, or of another sender.
        let others = cut(&flow.request().with(&DATA), id + 1);
        let replies = cut(&flow.reply().with(&DATA), id);
        check(
            &world.rig,
            &[
                untouched("another packet", others[1].clone(), Reason::Fragment),
                untouched("another sender", replies[1].clone(), Reason::Fragment),
            ],
        )?;
    }
    Ok(())
}

#[test]
fn what_the_first_fragment_met_the_others_meet() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for family in 0..2 {
        // Nobody's: passed without a look.
        for piece in cut(&tcp(CLIENT[family], ELSEWHERE[family]).with(&DATA), 1) {
            check(&rig, &[untouched("elsewhere", piece, Reason::Foreign)])?;
        }
        // To a VIP, but to no listener: the host's own, all of it.
        let port = WEB[family].replace(":80", ":8443");
        for piece in cut(&tcp(CLIENT[family], &port).with(&DATA), 2) {
            check(&rig, &[untouched("no listener", piece, Reason::Foreign)])?;
        }
        // From a backend about no flow: answers to health checks.
        let backend = super::BACKEND[family];
        let direct = tcp(backend, CLIENT[family]).with(&DATA);
        let pieces = cut(&direct, 3);
        check(
            &rig,
            &[
                untouched("direct", pieces[0].clone(), Reason::BackendDirect),
                untouched("direct", pieces[1].clone(), Reason::Foreign),
            ],
        )?;
        // Dropped, and its sender told: so are the others, without a word (RFC 1122 section 3.2.2).
        let expired = cut(&tcp(CLIENT[family], WEB[family]).with(&DATA).ttl(1), 4);
        let vip = WEB[family].parse::<SocketAddr>()?.ip().to_string();
        let told = Told::Expired.about(&expired[0], &vip);
        check(
            &rig,
            &[sent(
                "expired",
                expired[0].clone(),
                Reason::TtlExpired,
                told,
            )],
        )?;
        check(
            &rig,
            &[untouched("expired", expired[1].clone(), Reason::Fragment)],
        )?;
    }
    Ok(())
}

#[test]
fn fragments_that_could_not_make_up_a_packet_are_malformed() -> Result<()> {
    let world = World::new(Mode::Dnat)?;
    for family in 0..2 {
        let flow = world.flow(family, TCP)?;
        let [request, reply] = [flow.request(), flow.reply()].map(|s| s.with(&DATA).frame());
        for frame in [request, reply] {
            // Eight bytes of a TCP header, and what would overwrite the rest of it (RFC 1858).
            let tiny = fragments(&frame, &[8], 9);
            for piece in tiny {
                check(&world.rig, &[untouched("tiny", piece, Reason::Malformed)])?;
            }
            let uneven = &fragments(&frame, &[28], 10)[0];
            check(
                &world.rig,
                &[untouched("uneven", uneven.clone(), Reason::Malformed)],
            )?;
        }
    }
    Ok(())
}

#[test]
fn icmp_in_fragments_is_the_hosts() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for (family, number) in [(0, 1), (1, 58)] {
        let mut pieces = cut(&udp(CLIENT[family], DNS[family]).with(&DATA), 5);
        for piece in &mut pieces {
            let at = [23, 54][family];
            piece[at] = number;
            let piece = if family == 0 {
                super::shapes::summed(piece.clone())
            } else {
                piece.clone()
            };
            let (outcome, counted) = rig.run_counted(&piece)?;
            assert_eq!((outcome.action, counted), (PASS, vec![Reason::HostIcmp]));
        }
    }
    Ok(())
}

#[test]
fn backends_are_told_of_expired_fragments_by_the_vip() -> Result<()> {
    let world = World::new(Mode::Dnat)?;
    for flow in world.flows()? {
        let reply = flow.reply().with(&DATA).ttl(1);
        let first = cut(&reply, 6).remove(0);
        let told = Told::Expired.about(&first, &flow.listener.ip().to_string());
        check(
            &world.rig,
            &[sent("expired", first, Reason::TtlExpired, told)],
        )?;
    }
    Ok(())
}

#[test]
fn each_fragment_has_to_fit_the_way_on() -> Result<()> {
    let world = World::new(Mode::Dnat)?;
    for flow in world.flows()? {
        let request = flow.request().with(&DATA);
        let mut pieces = fragments(&request.frame(), &[80], 11);
        let mtu = pieces[1].len() - 14;
        world.limit(flow.family, u16::try_from(mtu)?)?;
        // The first is longer than the second, which does not get to follow it.
        let (outcome, counted) = world.rig.run_counted(&pieces.remove(0))?;
        if flow.family == 0 {
            assert_eq!(
                (outcome.action, counted),
                (DROP, vec![Reason::TooBigToFragment])
            );
        } else {
            assert_eq!((outcome.action, counted), (TX, vec![Reason::TooBig]));
        }
        check(
            &world.rig,
            &[untouched("later", pieces.remove(0), Reason::Fragment)],
        )?;
    }
    Ok(())
}

//! What senders are told, byte for byte. What they are sent was built by another hand (etherparse).

mod limits;
mod no_backend;
mod refusals;
mod tags;
mod too_big;
mod translated;

use anyhow::Result;
use lab::rig::{Rig, Segment, Told, tcp, udp};
use splitter_ebpf::verdict::Reason;

use super::{BACKEND, CLIENT, DNS, Row, WEB, check, round_trip, sent, web};

/// The VIPs of [`WEB`] and [`DNS`].
const VIP: [&str; 2] = ["198.18.1.100", "2001:db8:1::100"];

/// A row whose sender is told `told` by the VIP.
fn told(what: &str, family: usize, packet: &[u8], reason: Reason, told: Told) -> Row {
    sent(
        what,
        packet.to_vec(),
        reason,
        told.about(packet, VIP[family]),
    )
}

/// Requests to TCP's and UDP's listener, with this much data.
fn requests(family: usize, data: usize) -> [(&'static str, Segment); 2] {
    let data = vec![0xa5; data];
    [
        ("TCP", tcp(CLIENT[family], WEB[family]).with(&data)),
        ("UDP", udp(CLIENT[family], DNS[family]).with(&data)),
    ]
}

#[test]
fn a_client_whose_packet_expires_here_is_told_by_the_vip() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for family in 0..2 {
        for data in [0, 1, 2, 7, 511, 1200, 1440] {
            for (what, request) in requests(family, data) {
                for ttl in [0, 1] {
                    let what = format!("{what} over {family}, {data} bytes, TTL {ttl}");
                    let frame = request.clone().ttl(ttl).frame();
                    let row = told(&what, family, &frame, Reason::TtlExpired, Told::Expired);
                    check(&rig, &[row])?;
                }
            }
        }
    }
    assert!(
        rig.flows().is_empty(),
        "a packet that goes no further pins nothing"
    );
    Ok(())
}

#[test]
fn a_backend_whose_reply_expires_here_is_told_by_the_vip() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for family in 0..2 {
        for (what, request) in requests(family, 700) {
            let [request, reply] = round_trip(what, &request, BACKEND[family]);
            let mut last = reply.packet.clone();
            last[[22, 21][family]] = 1;
            let last = told(what, family, &last, Reason::TtlExpired, Told::Expired);
            check(&rig, &[request, last, reply])?;
            rig.forget_flows();
        }
    }
    Ok(())
}

#[test]
fn padding_is_not_quoted() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for (family, vip) in VIP.into_iter().enumerate() {
        for (what, request) in requests(family, 1) {
            let mut frame = request.ttl(1).frame();
            let error = Told::Expired.about(&frame, vip);
            frame.extend(b"padding");
            check(&rig, &[sent(what, frame, Reason::TtlExpired, error)])?;
        }
    }
    Ok(())
}

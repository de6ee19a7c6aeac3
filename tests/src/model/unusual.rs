//! Packets that are no plain segments: options, extension headers, fragments, ICMP.

use std::net::IpAddr;

use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{ICMP, ICMPV6};

use super::hops::Hop;
use super::packet::ETHERNET;
use super::shape::{self, Part, Shape, has_ports, hides_ports};
use super::{Model, Onward, Refusal, Towards, Verdict, is_one_host, rewrite};

/// What is ours meets `reason`; what is not is nobody's.
pub(super) fn refused(ours: bool, reason: Reason) -> Verdict {
    let reason = if ours { reason } else { Reason::Foreign };
    Err(Refusal::from(reason))
}

/// The number of ICMP in a family.
const fn icmp(v6: bool) -> u8 {
    if v6 { ICMPV6 } else { ICMP }
}

impl Model {
    /// No plain segment.
    pub(super) fn unusual(
        &mut self,
        frame: &mut Vec<u8>,
        [source, destination]: [IpAddr; 2],
        back: Hop,
    ) -> Verdict {
        let v6 = source.is_ipv6();
        let vip = self.services.is_vip(destination);
        let ours = vip || self.services.concerns(source);
        // An ICMP error may be about a flow wherever it comes from and goes to.
        let first = frame[ETHERNET + if v6 { 6 } else { 9 }];
        if !ours && first != icmp(v6) {
            return Err(Reason::Foreign.into());
        }
        let Some(shape) = shape::of_frame(frame) else {
            return refused(ours, Reason::Malformed);
        };
        if let Some(reason) = shape.refusal
            && (vip || hides_ports(shape.protocol))
        {
            return refused(ours, reason);
        }
        if shape.protocol == icmp(v6) {
            return self.icmp(frame, &shape, vip, ours, back);
        }
        if shape.part == Part::Later {
            return self.follow(frame, &shape);
        }
        if !has_ports(shape.protocol) {
            return Err(Reason::Foreign.into());
        }
        let Some(segment) = shape::segment(frame, &shape) else {
            return refused(ours, Reason::Malformed);
        };
        let came = segment.first.then(|| frame.clone());
        let verdict = self.segment(frame, &segment, shape.refusal, back);
        if let Some(came) = came {
            self.remember(&came, &shape, &verdict, frame);
        }
        verdict
    }

    /// ICMP: echo requests are answered, errors about flows are followed, and the host has the rest.
    fn icmp(
        &mut self,
        frame: &mut Vec<u8>,
        shape: &Shape,
        vip: bool,
        ours: bool,
        back: Hop,
    ) -> Verdict {
        if shape.part != Part::Whole {
            return refused(vip, Reason::HostIcmp);
        }
        if shape.end < shape.l4 + 8 {
            return refused(ours, Reason::Malformed);
        }
        match (shape.v6, frame[shape.l4], frame[shape.l4 + 1]) {
            (false, 8, 0) | (true, 128, 0) if vip => echo(frame, shape, back),
            // Unreachable, time exceeded, parameter problem; those and packet too big.
            (false, 3 | 11 | 12, _) | (true, 1..=4, _) => self.error(frame, shape, vip),
            // Redirects, source quench, what has no meaning yet.
            (false, 4 | 5, _) | (true, ..=127, _) => refused(vip, Reason::IcmpError),
            _ => refused(vip, Reason::HostIcmp),
        }
    }
}

/// An echo request to a VIP.
fn echo(frame: &mut [u8], shape: &Shape, back: Hop) -> Verdict {
    let plain = shape.l4 == ETHERNET + if shape.v6 { 40 } else { 20 };
    let [source, _] = shape::ends(&frame[ETHERNET..], shape.v6);
    if !plain || !is_one_host(frame, source) {
        return Err(Reason::HostIcmp.into());
    }
    rewrite::echo(frame, shape.v6);
    Ok(Onward {
        reason: Reason::EchoReply,
        hop: back,
        to: Towards::Sender,
    })
}

//! The program's parts. `maps` is the only file that names maps, `packet` the only one that touches
//! packet memory, `word` the only one that touches shared memory.

pub mod answer;
pub mod clock;
mod flows;
mod forward;
mod hops;
mod lookup;
mod maps;
pub mod packet;
mod reply;
mod split;
pub mod telemetry;
mod word;

#[cfg(feature = "bench")]
pub use flows::sweep;

use packet::Frame;
use splitter_ebpf::abi::{Endpoint, EndpointKind, Hop};
use splitter_ebpf::headers::{Parsed, Portless, Segment, What, parse};
use splitter_ebpf::rewrite;
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{Family, WirePort};

/// A verdict and, where the packet is forwarded, its next hop.
pub type Verdict = (Reason, Hop);

const NOWHERE: Hop = Hop {
    macs: [0; 3],
    ifindex: 0,
};

/// A verdict that forwards nothing.
#[inline(always)]
const fn no(reason: Reason) -> Verdict {
    (reason, NOWHERE)
}

/// Decides what becomes of a frame, and rewrites it if it is forwarded.
#[inline(always)]
pub fn classify(frame: &mut Frame) -> Verdict {
    match parse(frame) {
        Parsed::V4(segment) => route::<false>(frame, &segment),
        Parsed::V6(segment) => route::<true>(frame, &segment),
        Parsed::Portless(portless) => at_vip(frame, &portless),
        Parsed::NotIp => no(Reason::NotIp),
    }
}

#[inline(always)]
const fn family<const V6: bool>() -> Family {
    if V6 { Family::V6 } else { Family::V4 }
}

#[inline(always)]
fn route<const V6: bool>(frame: &mut Frame, segment: &Segment) -> Verdict {
    let family = family::<V6>();
    let to = Endpoint::meta_of(segment.destination_port, segment.protocol, family);
    if let Some(endpoint) = lookup::endpoint::<V6>(segment.destination, to)
        && endpoint.kind == EndpointKind::Listener as u32
    {
        return forward::forward::<V6>(frame, segment, endpoint.id as u16);
    }
    let from = Endpoint::meta_of(segment.source_port, segment.protocol, family);
    if let Some(endpoint) = lookup::endpoint::<V6>(segment.source, from)
        && endpoint.kind == EndpointKind::Backend as u32
    {
        return reply::reply::<V6>(frame, segment, endpoint.id);
    }
    no(Reason::Foreign)
}

/// What has no usable ports concerns us only if it is sent to a VIP.
#[inline(always)]
fn at_vip(frame: &mut Frame, portless: &Portless) -> Verdict {
    let meta = Endpoint::meta_of(WirePort(0), 0, portless.family);
    let vip = match portless.family {
        Family::V4 => lookup::endpoint::<false>(portless.destination, meta),
        Family::V6 => lookup::endpoint::<true>(portless.destination, meta),
    };
    if vip.is_none() {
        return no(Reason::Foreign);
    }
    match portless.what {
        What::EchoRequest => {
            let ifindex = frame.ingress();
            (
                Reason::EchoReply,
                rewrite::echo_reply(frame, portless.family, ifindex),
            )
        }
        What::Fate(reason) => no(reason),
    }
}

//! Packets that are no plain TCP or UDP segments.

use super::lookup;
use super::outcome::Outcome;
use super::packet::Frame;
use splitter_ebpf::abi::Endpoint;
use splitter_ebpf::headers::{Parsed, What, parse};
use splitter_ebpf::rewrite;
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{Family, WirePort};

/// Decides what becomes of a frame that is no plain segment.
#[inline(always)]
pub fn unusual(frame: &mut Frame) -> Outcome {
    let Parsed::Portless(portless) = parse(frame) else {
        return Outcome::of(Reason::Foreign);
    };
    // What has no usable ports concerns us only if it is sent to a VIP.
    let meta = Endpoint::meta_of(WirePort(0), 0, portless.family);
    let vip = match portless.family {
        Family::V4 => lookup::endpoint::<false>(portless.destination, meta),
        Family::V6 => lookup::endpoint::<true>(portless.destination, meta),
    };
    if vip.is_none() {
        return Outcome::of(Reason::Foreign);
    }
    match portless.what {
        What::EchoRequest => {
            let ifindex = frame.ingress();
            let hop = rewrite::echo_reply(frame, portless.family, ifindex);
            Outcome::to(Reason::EchoReply, &hop, frame.path_back())
        }
        What::Fate(reason) => Outcome::of(reason),
    }
}

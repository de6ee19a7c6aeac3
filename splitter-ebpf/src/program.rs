//! The program's parts. `maps` is the only file that names maps, `packet` the only one that touches
//! packet memory, `word` the only one that touches shared memory.
//!
//! Plain TCP and UDP take the fast path, which is inlined as a whole. What is rare is in global
//! functions, which the verifier walks once each, whoever calls them.

pub mod answer;
mod begin;
mod budget;
pub mod clock;
mod cut;
mod flows;
mod forward;
mod hops;
mod lookup;
mod maps;
pub mod outcome;
pub mod packet;
mod reply;
mod split;
pub mod stage;
pub mod telemetry;
mod translated;
mod tunnel;
pub mod unusual;
pub mod vlan;
mod word;

#[cfg(feature = "bench")]
pub use flows::sweep;

use outcome::Outcome;
use packet::Frame;
use splitter_ebpf::abi::{Endpoint, EndpointKind, Stage};
use splitter_ebpf::headers::{Parsed, Segment, is_tagged, parse};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::Family;

/// Decides what becomes of a frame, and rewrites it if it is forwarded.
#[inline(always)]
pub fn classify(frame: &mut Frame) -> Outcome {
    if is_tagged(frame) {
        match vlan::untag(frame.context()) {
            vlan::Untagged::Verdict(outcome) => return outcome,
            vlan::Untagged::Taken(tag) => {
                *frame = Frame::new(frame.context(), tag);
            }
        }
    }
    match parse(frame) {
        Parsed::V4(segment) => route::<false>(frame, &segment),
        Parsed::V6(segment) => route::<true>(frame, &segment),
        Parsed::Portless(_) => stage::go_on(frame, Stage::Unusual),
        Parsed::NotIp => Outcome::of(Reason::NotIp),
    }
}

#[inline(always)]
const fn family<const V6: bool>() -> Family {
    if V6 { Family::V6 } else { Family::V4 }
}

#[inline(always)]
fn route<const V6: bool>(frame: &mut Frame, segment: &Segment) -> Outcome {
    let family = family::<V6>();
    let to = Endpoint::meta_of(segment.destination_port, segment.protocol, family);
    if let Some(endpoint) = lookup::endpoint::<V6>(segment.destination, to)
        && endpoint.kind == EndpointKind::Listener as u32
    {
        return forward::forward::<V6>(frame, segment, endpoint.id as u16);
    }
    let from = Endpoint::meta_of(segment.source_port, segment.protocol, family);
    if let Some(endpoint) = lookup::endpoint::<V6>(segment.source, from) {
        if endpoint.kind == EndpointKind::Translated as u32 {
            if translated::find_reverse(frame.context()) != 0 {
                if translated::find_reverse_way(frame.context()) == 0 {
                    return Outcome::of(Reason::NoReturnPath);
                }
                let outcome = Outcome(translated::reply_translated(frame.context()));
                translated::refresh_reverse();
                return outcome;
            }
        } else if endpoint.kind != EndpointKind::Backend as u32 {
            return Outcome::of(Reason::Foreign);
        }
        return reply::reply::<V6>(frame, segment, endpoint.id);
    }
    Outcome::of(Reason::Foreign)
}

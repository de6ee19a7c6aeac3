//! From a backend to a client.

use super::cut::cut;
use super::flows::Name;
use super::maps::{LISTENERS, REPLIES, SECOND_TICKS};
use super::outcome::Outcome;
use super::packet::Frame;
use super::split::flow_key;
use super::{clock, family, forward, hops};
use splitter_ebpf::abi::{PAIRS, Pair};
use splitter_ebpf::flow::Event;
use splitter_ebpf::headers::{Segment, extent};
use splitter_ebpf::rewrite::{self, End, Layers, may_hop, translate};
use splitter_ebpf::verdict::Reason;

/// Gives a backend's packet the listener's address and sends it to the client, if it belongs to a
/// flow that is pinned to this backend.
#[inline(always)]
pub fn reply<const V6: bool>(frame: &mut Frame, segment: &Segment, index: u32) -> Outcome {
    let Some(reply) = REPLIES.get(index) else {
        return Outcome::of(Reason::Inconsistent);
    };
    let mut none = Reason::BackendDirect;
    let mut found = None;
    let mut i = 0;
    while i < PAIRS {
        let pair = reply.pairs[i];
        if pair == Pair(0) {
            break;
        }
        let name = Name::new(flow_key::<V6>(
            segment.destination,
            segment.destination_port,
            pair.listener(),
        ));
        if let Some(value) = name.find() {
            if value.backend() == pair.backend() {
                found = Some((name, value, pair.listener()));
                break;
            }
            none = Reason::WrongBackend;
        }
        i += 1;
    }
    let Some((name, value, id)) = found else {
        return Outcome::of(none);
    };
    let Some(extent) = extent(frame, segment, family::<V6>()) else {
        return Outcome::of(Reason::Malformed);
    };
    if !may_hop(frame, family::<V6>()) {
        return Outcome::of(Reason::TtlExpired).by(id);
    }
    let event = Event {
        from_client: false,
        flags: segment.flags,
        payload: extent.payload,
        aged: false,
        one_way: false,
    };
    if value.is_cut() {
        return cut(&name, value, event, segment.protocol);
    }
    let Some(listener) = LISTENERS.get(id.into()) else {
        return Outcome::of(Reason::Inconsistent);
    };
    let now = clock::now();
    let Some((hop, path)) =
        hops::towards::<V6>(frame.context(), listener.address, segment.destination, now)
    else {
        return Outcome::of(Reason::NoReturnPath);
    };
    if let Some(outcome) = forward::too_big::<V6>(frame, extent.total, path.mtu, 0) {
        return outcome.by(id);
    }
    let event = Event {
        aged: value.age(now) >= SECOND_TICKS.load(),
        ..event
    };
    name.refresh(value, event, now);
    translate(
        frame,
        family::<V6>(),
        Layers::plain(family::<V6>()),
        segment.protocol,
        End::Source,
        listener.address,
        listener.port,
    );
    rewrite::macs(frame, &hop);
    Outcome::to(Reason::Reply, &hop, path)
}

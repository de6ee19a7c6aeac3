//! From a backend to a client.

use super::flows::Name;
use super::maps::{LISTENERS, REPLIES, SECOND_TICKS};
use super::packet::Frame;
use super::split::flow_key;
use super::{Verdict, clock, family, hops, no};
use splitter_ebpf::abi::{PAIRS, Pair};
use splitter_ebpf::flow::Event;
use splitter_ebpf::headers::{Segment, payload};
use splitter_ebpf::rewrite::{End, may_hop, translate};
use splitter_ebpf::verdict::Reason;

/// Gives a backend's packet the listener's address and sends it to the client, if it belongs to a
/// flow that is pinned to this backend.
#[inline(always)]
pub fn reply<const V6: bool>(frame: &mut Frame, segment: &Segment, index: u32) -> Verdict {
    let Some(reply) = REPLIES.get(index) else {
        return no(Reason::Inconsistent);
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
        // Most backends answer for one listener.
        let value = if i == 0 {
            name.find()
        } else {
            name.find_out_of_line()
        };
        if let Some(value) = value {
            if value.backend() == pair.backend() {
                found = Some((name, value, pair.listener()));
                break;
            }
            none = Reason::WrongBackend;
        }
        i += 1;
    }
    let Some((name, value, listener)) = found else {
        return no(none);
    };
    let Some(payload) = payload(frame, segment, family::<V6>()) else {
        return no(Reason::Malformed);
    };
    if !may_hop(frame, family::<V6>()) {
        return no(Reason::TtlExpired);
    }
    let Some(listener) = LISTENERS.get(listener.into()) else {
        return no(Reason::Inconsistent);
    };
    let now = clock::now();
    let Some(hop) = hops::towards::<V6>(frame, listener.address, segment.destination, now) else {
        return no(Reason::NoReturnPath);
    };
    let event = Event {
        from_client: false,
        flags: segment.flags,
        payload,
        aged: value.age(now) >= SECOND_TICKS.load(),
        one_way: false,
    };
    name.refresh(value, event, now);
    translate(
        frame,
        family::<V6>(),
        segment.protocol,
        End::Source,
        listener.address,
        listener.port,
    );
    (Reason::Reply, hop)
}

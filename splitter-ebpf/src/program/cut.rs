//! Flows that the operator has cut: each packet tells somebody, and none is sent on. A packet of any other
//! flow pays one test of a word that it has loaded anyway.

use super::flows::Name;
use super::outcome::Outcome;
use splitter_ebpf::flow::{Event, Told, Value, tell};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::TCP;

/// The verdict on a packet of a flow whose value [is cut](Value::is_cut); remembers who is told by it.
#[inline(always)]
pub fn cut(name: &Name, value: Value, event: Event, protocol: u8) -> Outcome {
    // Nothing is sent to a backend that cannot take a RST.
    let event = Event {
        one_way: event.one_way && protocol == TCP,
        ..event
    };
    let (told, state) = tell(value.state_bits(), event);
    if state != value.state_bits() {
        // If another packet was faster, this one tells somebody a second time.
        name.replace(value, value.with_state(state));
    }
    match told {
        // A RST is not answered: the stage that tells sees to that.
        Told::Sender | Told::Nobody => Outcome::of(Reason::FlowCut),
        Told::Backend => Outcome::onward(value.backend(), name.spread()),
    }
}

//! Packets of flows that the operator has cut: somebody is told, and none is sent on.

use splitter_ebpf::flow::{RST, State};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::TCP;

use super::life::Sender;
use super::packet::Headers;
use super::room::{Flow, Name};
use super::{Model, Verdict};

/// Whom a packet of a cut flow tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Who sent it, by an answer.
    Sender,
    /// The backend: the packet becomes its RST.
    Backend,
}

/// Whom the next packet from this side tells, and the state after it.
///
/// Whoever speaks is told. A backend that answers clients by itself (`one_way`) does not speak here: the
/// client's first two packets tell it, and every RST of the client's.
fn next(state: State, sender: Sender, flags: u8, one_way: bool) -> (Told, State) {
    if one_way {
        return match state {
            _ if flags & RST != 0 => (Told::Backend, State::CutTold),
            State::Cut => (Told::Backend, State::CutFirst),
            State::CutFirst => (Told::Backend, State::CutSecond),
            _ => (Told::Sender, State::CutTold),
        };
    }
    let next = match (state, sender) {
        (State::Cut | State::CutFirst, Sender::Client) => State::CutFirst,
        (State::Cut | State::CutSecond, Sender::Backend) => State::CutSecond,
        _ => State::CutTold,
    };
    (Told::Sender, next)
}

impl Model {
    /// A packet of a cut flow. It does not hold the flow: that is over when its time has passed.
    pub(super) fn cut(
        &mut self,
        frame: &mut Vec<u8>,
        segment: &Headers,
        (name, flow): (Name, Flow),
        sender: Sender,
    ) -> Verdict {
        // No packet of UDP ends a backend's side.
        let one_way = segment.protocol == TCP && self.services.backends[&flow.backend].one_way();
        let (told, state) = next(flow.state, sender, segment.flags, one_way);
        self.room.set(name, Flow { state, ..flow });
        match told {
            Told::Sender => Err(Reason::FlowCut.into()),
            Told::Backend => self.reset_backend(frame, segment, name, flow.backend),
        }
    }
}

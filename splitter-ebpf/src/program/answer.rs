//! Telling senders why their packets are dropped. See `splitter_ebpf::answer` for what is said to whom.

use super::forward::current_hop;
use super::maps::{BACKENDS, LISTENERS};
use super::outcome::Outcome;
use super::packet::{Copied, Frame};
use super::tunnel::encapsulate;
use super::{budget, clock};
use splitter_ebpf::abi::{Hop, Mode};
use splitter_ebpf::answer::{Answer, Cause, turn_into_reset, write};
use splitter_ebpf::headers::{ETHERNET, Packet as _};
use splitter_ebpf::rewrite::macs;
use splitter_ebpf::verdict::Reason;

/// ICMP errors that a CPU sends within one tick, about a quarter of a second: RFC 4443 section 2.4 f and
/// RFC 1812 section 4.3.2.8 ask for a limit. A thousand a second is far more than path-MTU discovery
/// needs, and 10 Mbit/s. RSTs have none: each is no longer than what it answers.
const ERRORS: u64 = 256;
/// Their place among the budgets.
const ERRORS_BUDGET: u32 = 1;

/// Turns a frame that is dropped for `asked` into the answer to it, addressed to where it came from, its
/// tag included. None if nobody is told; then what is left of the frame is fit for nothing.
#[inline(always)]
pub fn answer(frame: &Frame, asked: Outcome) -> Option<Outcome> {
    let mut packet = Copied::new(frame.context());
    let cause = Cause::of(&packet)?;
    let reason = Reason::from_bits(asked.reason())?;
    if reason as u8 == Reason::FlowCutOnward as u8 {
        return onward(&mut packet, &cause, asked);
    }
    let answer = Answer::of(reason, &cause, asked.detail() as u16)?;
    if let Answer::Error(_) = answer
        && !budget::spend(ERRORS_BUDGET, clock::now(), ERRORS)
    {
        return None;
    }
    let source = match asked.told_by() {
        0 => None,
        id => LISTENERS.get(id.into()).map(|listener| &listener.address),
    };
    // No read or write fails: `Cause::of` asked for every byte.
    if !write(&mut packet, &cause, answer, source) {
        return None;
    }
    let back = Hop {
        macs: [0; 3],
        ifindex: frame.ingress(),
    };
    Some(Outcome::to(reason, &back, frame.path_back()))
}

/// Turns a client's packet of a cut flow into a RST for the backend that `asked` names, which answers by
/// itself, and addresses it as that backend's packets are.
#[inline(always)]
fn onward(packet: &mut Copied, cause: &Cause, asked: Outcome) -> Option<Outcome> {
    let id = asked.told_by();
    let backend = BACKENDS.get(id.into())?;
    let (hop, path) = current_hop(backend);
    if hop.ifindex == 0 || !turn_into_reset(packet, cause) {
        return None;
    }
    let context = packet.context();
    if backend.mode == Mode::Ipip as u8 {
        let orders =
            id as u32 | ((cause.family as u32) << 16) | ((Reason::FlowCutOnward as u32) << 24);
        let outcome = Outcome(encapsulate(context, orders, asked.spread()));
        return (outcome.detail() != 0).then_some(outcome);
    }
    let mut frame = Frame::new(context, 0);
    if !frame.has(ETHERNET) {
        return None;
    }
    macs(&mut frame, &hop);
    Some(Outcome::to(Reason::FlowCutOnward, &hop, path))
}

//! Telling senders why their packets are dropped. See `splitter_ebpf::answer` for what is said to whom.

use super::maps::LISTENERS;
use super::outcome::Outcome;
use super::packet::{Copied, Frame};
use super::{budget, clock};
use splitter_ebpf::abi::Hop;
use splitter_ebpf::answer::{Answer, Cause, write};
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

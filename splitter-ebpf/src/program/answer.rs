//! Telling senders why their packets were dropped. See `splitter_ebpf::answer` for what is said to whom.

use super::clock;
use super::maps::{BUDGETS, LISTENERS};
use super::packet::Copied;
use aya_ebpf::bindings::xdp_md;
use splitter_ebpf::answer::{Answer, Cause, write};
use splitter_ebpf::verdict::Reason;

/// ICMP errors that a CPU sends within one tick, about a quarter of a second: RFC 4443 section 2.4 f and
/// RFC 1812 section 4.3.2.8 ask for a limit. A thousand a second is far more than path-MTU discovery
/// needs, and 10 Mbit/s at most. RSTs have none: each is smaller than what it answers.
const ERRORS: u32 = 256;
/// The place of their [`Budget`](splitter_ebpf::abi::Budget).
const ERRORS_BUDGET: u32 = 1;

/// Turns a frame that is dropped into the answer to it, addressed to where it came from.
///
/// `asked`: the reason's number in the first byte; in the second half-word, the id of the listener
/// whose VIP an ICMP error comes from, or 0, from whom the packet was sent to; in the upper word, the
/// most bytes that a packet may have. Gives back 1, or 0 if nobody is told: then what is left of the
/// frame is fit for nothing.
///
/// A global function: the verifier checks it once, and it is rarely called.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answer(context: *mut xdp_md, asked: u64) -> u64 {
    let mut packet = Copied::new(context);
    let Some(cause) = Cause::of(&packet) else {
        return 0;
    };
    let Some(reason) = Reason::from_bits(asked as u8) else {
        return 0;
    };
    let Some(answer) = Answer::of(reason, &cause, (asked >> 32) as u16) else {
        return 0;
    };
    if let Answer::Error(_) = answer
        && !may_send_error()
    {
        return 0;
    }
    let listener = (asked >> 16) as u16;
    let source = if listener == 0 {
        None
    } else {
        LISTENERS
            .get(listener.into())
            .map(|listener| &listener.address)
    };
    // No read or write fails: `Cause::of` asked for every byte, and what is asked for costs stack.
    write(&mut packet, &cause, answer, source).into()
}

#[inline(always)]
fn may_send_error() -> bool {
    let Some(budget) = BUDGETS.get_ptr_mut(ERRORS_BUDGET) else {
        return false;
    };
    // SAFETY: the look-up succeeded, and the value is this CPU's own.
    unsafe { (*budget).spend(clock::now(), ERRORS) }
}

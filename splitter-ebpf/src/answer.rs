//! What this host itself tells a sender whose packet it drops: a RST, or an ICMP error.
//!
//! The packet becomes its own answer: headers are put in front or written over, what need not be
//! quoted is cut off, and it goes back to the MAC address that it came from.

mod cause;
mod header;
mod icmp;
mod reset;
mod roomy;
#[cfg(test)]
mod tests;

pub use cause::{Cause, is_from_one_host};
pub use icmp::Message;
pub use roomy::Roomy;

use crate::checksum::Sum;
use crate::flow::RST;
use crate::headers::PacketMut;
use crate::verdict::Reason;
use crate::wire::{Family, TCP, WireAddress};

/// A frame that can become longer in front and shorter behind.
pub trait Resize: PacketMut {
    /// Puts `bytes` in front, of any content: what lay at 0 then lies there. False, and nothing
    /// changed, if there is no room.
    fn grow(&mut self, bytes: usize) -> bool;
    /// Cuts off what lies behind the first `length` bytes, which are there. False if that cannot be
    /// done.
    fn trim(&mut self, length: usize) -> bool;
    /// The sum of `length` bytes from `at` on: 8 bytes or more, and no more than an answer has.
    #[inline(always)]
    fn sum(&self, at: usize, length: usize) -> Sum {
        sum_of(self, at, length)
    }
}

/// What [`Resize::sum`] is, by eight bytes at a time.
#[inline(always)]
pub fn sum_of(packet: &(impl PacketMut + ?Sized), at: usize, length: usize) -> Sum {
    let mut sum = Sum::ZERO;
    let mut done = 0;
    while done + 8 <= length && done < icmp::MOST_V6 {
        sum = sum.long(packet.long(at + done));
        done += 8;
    }
    let left = length & 7;
    if left == 0 {
        return sum;
    }
    // The last eight bytes once more, without those that are counted.
    let last = packet.long(at + length - 8).to_le();
    sum.long((last >> (8 * (8 - left))).to_le())
}

/// What a sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// That its TCP connection does not exist.
    Reset,
    /// An ICMP error.
    Error(Message),
}

impl Answer {
    /// The answer to `cause`, which is dropped for `reason`; `mtu` is what
    /// [`Message::TooBig`] tells. None if it gets none: neither a RST nor an unreachable port answers a
    /// RST, and no RST answers a fragment, whose length says nothing about its segment's.
    #[must_use]
    #[inline(always)]
    pub const fn of(reason: Reason, cause: &Cause, mtu: u16) -> Option<Self> {
        let unreachable = Self::Error(Message::Unreachable);
        let answer = match reason {
            Reason::TooBig => return Some(Self::Error(Message::TooBig { mtu })),
            Reason::TtlExpired => return Some(Self::Error(Message::Expired)),
            Reason::NoBackendReset
            | Reason::NatExhausted
            | Reason::NatUnpinned
            | Reason::FlowCut => {
                if cause.protocol != TCP {
                    unreachable
                } else if cause.whole {
                    Self::Reset
                } else {
                    return None;
                }
            }
            Reason::NoBackendUnreachable => unreachable,
            _ => return None,
        };
        if cause.flags & RST != 0 {
            return None;
        }
        Some(answer)
    }
}

/// Turns a client's TCP segment, in which [`Cause::of`] found `cause`, into the RST that its receiver
/// expects: between the same ends, with the segment's own sequence number. The Ethernet header is for the
/// caller to write. False if that could not be done: what is left of the packet is fit for nothing.
#[inline(always)]
pub fn turn_into_reset(packet: &mut impl Resize, cause: &Cause) -> bool {
    if cause.protocol != TCP || !cause.whole {
        return false;
    }
    match cause.family {
        Family::V4 => reset::turn::<false>(packet, cause),
        Family::V6 => reset::turn::<true>(packet, cause),
    }
}

/// Turns `packet`, in which [`Cause::of`] found `cause`, into what [`Answer::of`] says of it, Ethernet
/// header included; an ICMP error is from `source`, or from whom the packet was sent to. False if that
/// could not be done: what is left of the packet is fit for nothing.
#[inline(always)]
pub fn write(
    packet: &mut impl Resize,
    cause: &Cause,
    answer: Answer,
    source: Option<&WireAddress>,
) -> bool {
    match (answer, cause.family) {
        (Answer::Reset, Family::V4) => reset::write::<false>(packet, cause),
        (Answer::Reset, Family::V6) => reset::write::<true>(packet, cause),
        (Answer::Error(message), Family::V4) => {
            icmp::write::<false>(packet, cause, message, source)
        }
        (Answer::Error(message), Family::V6) => icmp::write::<true>(packet, cause, message, source),
    }
}

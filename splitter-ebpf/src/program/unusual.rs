//! Packets that are no plain TCP or UDP segments: IPv4 options and IPv6 extension headers, fragments, and
//! ICMP errors about flows.
//!
//! ```text
//!   look, headers, sort
//!    |-- ports --> carry -- to a listener --> find (begin), meet ------------+
//!    |               `----- from a backend --> owner, reply -----------------+
//!    |-- a later fragment --> follow ----------------------------------------+--> way, change, remember
//!    |-- an ICMP error --> quoted -- about a reply --> about_reply ----------+
//!    |                       `------ about a request --> owner, about_request +
//!    `-- an echo request: answered
//! ```
//!
//! Each step is a global function, walked once by the verifier, that gives back the next one or an
//! [`Outcome`]; they are called one after the other, for a stack is deep enough for one of them alone.
//! What they know of the packet is in [`SIGHT`](super::maps::SIGHT). Packets are read and written through helpers,
//! since their headers lie at offsets that only the packet gives.

mod carry;
mod depart;
mod error;
mod follow;
mod look;
mod owner;
mod step;

use super::family;
use super::maps::SIGHT;
use super::outcome::Outcome;
use super::packet::Frame;
use aya_ebpf::bindings::xdp_md;
use splitter_ebpf::headers::{ETHERNET, IPV4, IPV6, Packet as _};
use splitter_ebpf::rewrite;
use splitter_ebpf::unusual::Sight;
use splitter_ebpf::verdict::Reason;
use step::Step;

const ETHERTYPE_IPV6: u16 = 0x86dd_u16.to_be();

/// Declares a function for both families as two global ones.
macro_rules! both_families {
    ($(#[doc = $doc:literal])+ $name:ident = $v4:ident, $v6:ident, $body:ident($($argument:ident: $type:ty),*)) => {
        $(#[doc = $doc])+
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $v4($($argument: $type),*) -> u64 {
            $body::<false>($($argument),*).0
        }

        $(#[doc = $doc])+
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $v6($($argument: $type),*) -> u64 {
            $body::<true>($($argument),*).0
        }

        $(#[doc = $doc])+
        #[inline(always)]
        pub(super) fn $name<const V6: bool>($($argument: $type),*) -> Step {
            Step(if V6 { $v6($($argument),*) } else { $v4($($argument),*) })
        }
    };
}
use both_families;

/// This CPU's sight of the packet.
#[inline(always)]
fn sight() -> Option<&'static mut Sight> {
    let sight = SIGHT.get_ptr_mut(0)?;
    // SAFETY: the look-up succeeded, the value is this CPU's own, and each function asks for it once.
    Some(unsafe { &mut *sight })
}

/// Decides what becomes of a frame that is no plain segment.
#[inline(always)]
pub fn unusual(frame: &mut Frame) -> Outcome {
    if !frame.has(ETHERNET) {
        return Outcome::of(Reason::NotIp);
    }
    if let Some(sight) = sight() {
        sight.tag = frame.tag();
    }
    if frame.half(12) == ETHERTYPE_IPV6 {
        run::<true>(frame.context())
    } else {
        run::<false>(frame.context())
    }
}

/// Takes one step after the other. What comes later in the list is never followed by what comes before.
#[inline(always)]
fn run<const V6: bool>(context: *mut xdp_md) -> Outcome {
    let mut step = look::look::<V6>(context);
    if step.is(Step::WALK) {
        step = look::headers::<V6>(context);
    }
    if step.is(Step::SORT) {
        step = look::sort::<V6>(context);
    }
    if step.is(Step::CARRY) {
        step = carry::carry::<V6>();
    }
    if step.is(Step::FIND) {
        step = carry::find::<V6>(context);
    }
    if step.is(Step::BEGIN) {
        step = carry::begin::<V6>(context);
    }
    if step.is(Step::MEET) {
        step = carry::meet::<V6>();
    }
    if step.is(Step::FOLLOW) {
        step = follow::follow::<V6>();
    }
    if step.is(Step::QUOTED) {
        step = error::quoted::<V6>(context);
    }
    if step.is(Step::ABOUT_REPLY) {
        step = error::about_reply::<V6>();
    }
    if step.is(Step::OWNER_OF_SENT) {
        step = owner::of_sent::<V6>();
    }
    if step.is(Step::REPLY) {
        step = carry::reply::<V6>(context);
    }
    if step.is(Step::OWNER_OF_MEANT) {
        step = owner::of_meant::<V6>();
    }
    if step.is(Step::ABOUT_REQUEST) {
        step = error::about_request::<V6>();
    }
    if step.is(Step::WAY) {
        step = depart::way::<V6>(context);
    }
    if step.is(Step::CHANGE) {
        step = depart::change::<V6>(context);
    }
    if step.is(Step::CHANGE_ERROR) {
        step = depart::change_error::<V6>(context);
    }
    let outcome = step.outcome();
    follow::remember(outcome.0, V6.into());
    outcome
}

/// Whether the frame's packet may take one more hop.
#[inline(always)]
fn may_hop<const V6: bool>(frame: &Frame) -> bool {
    frame.has(ETHERNET + if V6 { IPV6 } else { IPV4 }) && rewrite::may_hop(frame, family::<V6>())
}

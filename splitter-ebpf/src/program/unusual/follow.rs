//! Fragments: the first one has ports and finds a flow; the others go where it went.

#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "keys by value would be copied to the stack, which is short"
)]

use super::super::clock;
use super::super::family;
use super::super::maps::{FRAGMENTS, REUSE_TICKS};
use super::super::outcome::Outcome;
use super::{Step, both_families, sight};
use splitter_ebpf::abi::{FragmentKey, FragmentPath};
use splitter_ebpf::unusual::{Sight, copied, may_have_ports};
use splitter_ebpf::verdict::{Action, Reason};
use splitter_ebpf::wire::Family;

/// Names the packet of the sight among those that are in fragments. Of IPv6, protocol is no part of it
/// (RFC 8200 section 4.5): fragments need not agree on it.
#[inline(always)]
fn name(sight: &mut Sight, family: Family) {
    let protocol = match family {
        Family::V4 => sight.protocol as u32,
        Family::V6 => 0,
    };
    sight.key = FragmentKey {
        source: copied(sight.source),
        destination: copied(sight.destination),
        id: sight.id,
        kind: protocol | ((family as u32) << 8),
    };
}

/// If the sight is of a first fragment, remembers where it goes, by its `outcome`, for the others to
/// follow: sent on, or passed to the host. Always 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn remember(outcome: u64, v6: u32) -> u64 {
    let Some(sight) = sight() else {
        return 0;
    };
    if sight.first == 0 {
        return 0;
    }
    let outcome = Outcome(outcome);
    let mut flags = 0;
    if outcome.is(Action::Pass) {
        flags |= FragmentPath::PASSED;
    } else if !outcome.is(Action::Forward) {
        return 0;
    }
    if sight.to_client != 0 {
        flags |= FragmentPath::TO_CLIENT;
    }
    if sight.change != Sight::NOTHING {
        flags |= FragmentPath::SOURCE | FragmentPath::DESTINATION;
    }
    name(sight, if v6 == 0 { Family::V4 } else { Family::V6 });
    sight.path = FragmentPath {
        source: copied(sight.from),
        destination: copied(sight.to),
        backend: sight.backend,
        flags,
        tick: clock::now(),
        spread: sight.spread,
        listener: sight.listener.into(),
        key: sight.key.digest(),
    };
    // Without room for it, the others are dropped and counted.
    let _ = FRAGMENTS.insert(&sight.key, &sight.path, 0);
    0
}

both_families! {
    /// Sends a later fragment where the first one went.
    follow = follow_v4, follow_v6, followed()
}

#[inline(always)]
fn followed<const V6: bool>() -> Step {
    let Some(sight) = sight() else {
        return Step::end(Reason::Inconsistent);
    };
    name(sight, family::<V6>());
    let path = match FRAGMENTS.get_ptr(&sight.key) {
        // SAFETY: the look-up succeeded. The element may become another packet's path while it is read
        // (elements of an LRU map are used again at once); its key is looked at after all else.
        Some(path) => unsafe { &*path },
        None => return unknown(sight),
    };
    // 30 seconds: half of the time that receivers wait for a packet's last fragment (RFC 8200 section
    // 4.5; RFC 1122 section 3.3.2 has 60 to 120), and as long as Linux waits for those of IPv4.
    if !path.is_followed(clock::now(), REUSE_TICKS.load() / 2) {
        return unknown(sight);
    }
    if path.flags & FragmentPath::PASSED != 0 {
        return Step::end(Reason::Foreign);
    }
    sight.from = copied(path.source);
    sight.to = copied(path.destination);
    sight.backend = path.backend;
    sight.spread = path.spread;
    sight.listener = path.listener as u16;
    sight.to_client = (path.flags & FragmentPath::TO_CLIENT != 0) as u8;
    sight.change = if path.flags & FragmentPath::SOURCE != 0 {
        Sight::HOSTS
    } else {
        Sight::NOTHING
    };
    if path.key != sight.key.digest() {
        return unknown(sight);
    }
    sight.reason = Reason::FragmentFollowed as u8;
    Step::WAY
}

/// The verdict on a fragment whose first one did not come by lately.
#[inline(always)]
fn unknown(sight: &Sight) -> Step {
    Step::end_if(may_have_ports(sight.protocol), Reason::Fragment)
}

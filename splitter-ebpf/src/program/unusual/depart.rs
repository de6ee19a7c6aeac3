//! The way out: next hop, its limits, and the rewriting that the sight asks for.

use super::super::forward::{current_hop, too_big};
use super::super::lookup::same_address;
use super::super::maps::{BACKENDS, LISTENERS};
use super::super::outcome::Outcome;
use super::super::packet::{Copied, Frame};
use super::super::{clock, family, hops, tunnel};
use super::{Step, both_families, may_hop, sight};
use aya_ebpf::bindings::xdp_md;
use splitter_ebpf::abi::{Hop, Mode, Path};
use splitter_ebpf::headers::ETHERNET;
use splitter_ebpf::rewrite::{macs, take_hop};
use splitter_ebpf::unusual::{Sight, rewrite};
use splitter_ebpf::verdict::Reason;

both_families! {
    /// Finds the next hop towards the backend or the client of the sight. What goes through a tunnel leaves
    /// here: nothing in it is changed.
    way = way_v4, way_v6, found(context: *mut xdp_md)
}

#[inline(always)]
fn found<const V6: bool>(context: *mut xdp_md) -> Step {
    let Some(sight) = sight() else {
        return Step::end(Reason::Inconsistent);
    };
    if !may_hop::<V6>(&Frame::new(context, 0)) {
        return Step(told::<V6>(sight, Outcome::of(Reason::TtlExpired)).0);
    }
    let way = if sight.to_client != 0 {
        to_client::<V6>(context, sight)
    } else {
        to_backend(sight)
    };
    let (hop, path, mode) = match way {
        Ok(way) => way,
        Err(reason) => return Step::end(reason),
    };
    (sight.hop, sight.path_on) = (hop, path);
    let family = family::<V6>();
    let tunneled = mode == Mode::Ipip as u8;
    let overhead = if tunneled {
        tunnel::overhead(family)
    } else {
        0
    };
    let total = sight.end as usize - ETHERNET;
    if let Some(outcome) = too_big::<V6>(&Copied::new(context), total, path.mtu, overhead) {
        return Step(told::<V6>(sight, outcome).0);
    }
    if tunneled {
        let orders = sight.backend as u32 | ((family as u32) << 16) | ((sight.reason as u32) << 24);
        return Step(tunnel::encapsulate(context, orders, sight.spread));
    }
    if sight.change == Sight::ERROR {
        Step::CHANGE_ERROR
    } else {
        Step::CHANGE
    }
}

/// The verdict on a packet whose sender is told: a backend that knows the client is told by the VIP.
#[inline(always)]
fn told<const V6: bool>(sight: &Sight, outcome: Outcome) -> Outcome {
    if sight.to_client != 0 && same_address::<V6>(&sight.to, &sight.destination) {
        outcome.by(sight.listener)
    } else {
        outcome
    }
}

#[inline(always)]
fn to_client<const V6: bool>(
    context: *mut xdp_md,
    sight: &Sight,
) -> Result<(Hop, Path, u8), Reason> {
    let listener = LISTENERS
        .get(sight.listener.into())
        .ok_or(Reason::Inconsistent)?;
    let client = if sight.change == Sight::ERROR {
        sight.from
    } else {
        sight.to
    };
    let (hop, path) = hops::towards::<V6>(context, listener.address, client, clock::now())
        .ok_or(Reason::NoReturnPath)?;
    Ok((hop, path, Mode::Dnat as u8))
}

#[inline(always)]
fn to_backend(sight: &Sight) -> Result<(Hop, Path, u8), Reason> {
    let backend = BACKENDS
        .get(sight.backend.into())
        .ok_or(Reason::Inconsistent)?;
    let (hop, path) = current_hop(backend);
    if hop.ifindex == 0 {
        return Err(Reason::NoNextHop);
    }
    Ok((hop, path, backend.mode))
}

both_families! {
    /// Rewrites a packet, or a fragment, as the sight says, and addresses it to its next hop.
    change = change_v4, change_v6, changed(context: *mut xdp_md)
}

#[inline(always)]
fn changed<const V6: bool>(context: *mut xdp_md) -> Step {
    let Some(sight) = sight() else {
        return Step::end(Reason::Inconsistent);
    };
    let (family, mut packet) = (family::<V6>(), Copied::new(context));
    match sight.change {
        Sight::HOSTS => {
            let _ = rewrite::hosts(&mut packet, family, ETHERNET, sight.from, sight.to);
        }
        Sight::ENDS => rewrite::ends(&mut packet, family, &sight.extent(), &sight.ends()),
        _ => (),
    }
    addressed::<V6>(packet, sight)
}

both_families! {
    /// Rewrites an ICMP error and what it quotes as the sight says, and addresses it to its next hop.
    change_error = change_error_v4, change_error_v6, error_changed(context: *mut xdp_md)
}

#[inline(always)]
fn error_changed<const V6: bool>(context: *mut xdp_md) -> Step {
    let Some(sight) = sight() else {
        return Step::end(Reason::Inconsistent);
    };
    let mut packet = Copied::new(context);
    rewrite::error(
        &mut packet,
        family::<V6>(),
        &sight.extent(),
        &sight.quote(),
        &sight.ends(),
        (sight.source, sight.destination),
    );
    addressed::<V6>(packet, sight)
}

#[inline(always)]
fn addressed<const V6: bool>(mut packet: Copied, sight: &Sight) -> Step {
    take_hop(&mut packet, family::<V6>(), ETHERNET);
    macs(&mut packet, &sight.hop);
    if packet.failed() {
        return Step::end(Reason::Unwritable);
    }
    Step(Outcome::sent(sight.reason, &sight.hop, sight.path_on).0)
}

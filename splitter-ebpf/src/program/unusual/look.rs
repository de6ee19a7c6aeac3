//! Where a packet's headers lie, and whom it concerns.

use super::super::family;
use super::super::lookup;
use super::super::outcome::Outcome;
use super::super::packet::{Copied, Frame};
use super::{Step, both_families, sight};
use aya_ebpf::bindings::xdp_md;
use splitter_ebpf::abi::{Endpoint, EndpointKind};
use splitter_ebpf::answer::is_from_one_host;
use splitter_ebpf::headers::{ETHERNET, ICMP_HEADER, IPV4, IPV6, Packet as _};
use splitter_ebpf::rewrite;
use splitter_ebpf::unusual::quote::{Message, message};
use splitter_ebpf::unusual::{
    Extent, Part, Sight, address, addresses, has_ports, may_have_ports, segment, walk,
};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{ICMP, ICMPV6, WirePort};

both_families! {
    /// Finds whom the packet concerns.
    look = look_v4, look_v6, looked(context: *mut xdp_md)
}

#[inline(always)]
fn looked<const V6: bool>(context: *mut xdp_md) -> Step {
    let Some(sight) = sight() else {
        return Step::end(Reason::Inconsistent);
    };
    let family = family::<V6>();
    let packet = Copied::new(context);
    let (source, destination) = addresses(family);
    sight.first = 0;
    sight.source = address(&packet, family, ETHERNET + source);
    sight.destination = address(&packet, family, ETHERNET + destination);
    let any = Endpoint::meta_of(WirePort(0), 0, family);
    let vip = lookup::endpoint::<V6>(sight.destination, any)
        .is_some_and(|endpoint| endpoint.kind == EndpointKind::Vip as u32);
    sight.vip = vip as u8;
    sight.ours = (vip || lookup::endpoint::<V6>(sight.source, any).is_some()) as u8;
    // A router between us and a backend may have something to say, too.
    if sight.ours == 0 && packet.byte(ETHERNET + if V6 { 6 } else { 9 }) != icmp::<V6>() {
        return Step::end(Reason::Foreign);
    }
    Step::WALK
}

#[inline(always)]
const fn icmp<const V6: bool>() -> u8 {
    if V6 { ICMPV6 } else { ICMP }
}

both_families! {
    /// Finds the packet's headers.
    headers = walk_v4, walk_v6, walked(context: *mut xdp_md)
}

#[inline(always)]
fn walked<const V6: bool>(context: *mut xdp_md) -> Step {
    let Some(sight) = sight() else {
        return Step::end(Reason::Inconsistent);
    };
    let packet = Copied::new(context);
    let Some(extent) = walk(&packet, family::<V6>(), packet.length()) else {
        return Step::end_if(sight.ours != 0, Reason::Malformed);
    };
    sight.take_extent(&extent);
    Step::SORT
}

both_families! {
    /// Finds what is to be done with the packet.
    sort = sort_v4, sort_v6, sorted(context: *mut xdp_md)
}

#[inline(always)]
fn sorted<const V6: bool>(context: *mut xdp_md) -> Step {
    let Some(sight) = sight() else {
        return Step::end(Reason::Inconsistent);
    };
    let (packet, extent) = (Copied::new(context), sight.extent());
    let ours = sight.ours != 0;
    let hides_ports = !has_ports(extent.protocol) && may_have_ports(extent.protocol);
    if sight.refusal != Sight::CARRIED && (sight.vip != 0 || hides_ports) {
        return if ours {
            Step(sight.refusal.into())
        } else {
            Step::end(Reason::Foreign)
        };
    }
    if extent.protocol == icmp::<V6>() {
        return control::<V6>(context, &packet, &extent, sight);
    }
    if matches!(extent.part, Part::Later) {
        return Step::FOLLOW;
    }
    if !has_ports(extent.protocol) {
        return Step::end(Reason::Foreign);
    }
    let Some((segment, payload)) = segment(&packet, family::<V6>(), &extent) else {
        return Step::end_if(ours, Reason::Malformed);
    };
    sight.take_segment(&segment, payload);
    sight.first = matches!(extent.part, Part::First) as u8;
    Step::CARRY
}

/// ICMP: echo requests to a VIP are answered, errors about flows follow those, and the host has the rest.
#[inline(always)]
fn control<const V6: bool>(
    context: *mut xdp_md,
    packet: &Copied,
    extent: &Extent,
    sight: &Sight,
) -> Step {
    let (vip, ours) = (sight.vip != 0, sight.ours != 0);
    if !matches!(extent.part, Part::Whole) {
        return Step::end_if(vip, Reason::HostIcmp);
    }
    if extent.l4 + ICMP_HEADER > extent.end {
        return Step::end_if(ours, Reason::Malformed);
    }
    match message(packet, family::<V6>(), extent.l4) {
        Message::Error => Step::QUOTED,
        Message::EchoRequest if vip => echo::<V6>(context, extent, sight),
        Message::OtherError => Step::end_if(vip, Reason::IcmpError),
        Message::EchoRequest | Message::Other => Step::end_if(vip, Reason::HostIcmp),
    }
}

/// Answers an echo request, if it is plain.
#[inline(always)]
fn echo<const V6: bool>(context: *mut xdp_md, extent: &Extent, sight: &Sight) -> Step {
    let mut frame = Frame::new(context, sight.tag);
    let header = if V6 { IPV6 } else { IPV4 };
    if extent.l4 != ETHERNET + header || !frame.has(ETHERNET + header + ICMP_HEADER) {
        return Step::end(Reason::HostIcmp);
    }
    // Sent to a group, or by one: the host's stack knows what to do with those (RFC 1122 section 3.2.2.6).
    if !is_from_one_host(&frame, family::<V6>()) {
        return Step::end(Reason::HostIcmp);
    }
    let ifindex = frame.ingress();
    let hop = rewrite::echo_reply(&mut frame, family::<V6>(), ifindex);
    Step(Outcome::to(Reason::EchoReply, &hop, frame.path_back()).0)
}

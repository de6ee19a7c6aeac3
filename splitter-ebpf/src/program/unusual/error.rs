//! ICMP errors about flows (RFC 792, RFC 4443): to the backend or to the client, speaking of the packet as
//! the one that they reach has sent it. They tell a flow's state nothing: anybody can send them.

use super::super::family;
use super::super::flows::Name;
use super::super::lookup::{self, same_address};
use super::super::maps::{BACKENDS, LISTENERS};
use super::super::packet::Copied;
use super::super::split::flow_key;
use super::carry::reach;
use super::{Step, both_families, sight};
use aya_ebpf::bindings::xdp_md;
use splitter_ebpf::abi::{Endpoint, EndpointKind};
use splitter_ebpf::unusual::quote::quote;
use splitter_ebpf::unusual::{Sight, copied};
use splitter_ebpf::verdict::Reason;

both_families! {
    /// Reads what an ICMP error quotes, and on whose side that went.
    quoted = quoted_v4, quoted_v6, read(context: *mut xdp_md)
}

#[inline(always)]
fn read<const V6: bool>(context: *mut xdp_md) -> Step {
    let Some(sight) = sight() else {
        return Step::end(Reason::Inconsistent);
    };
    let family = family::<V6>();
    let vip = sight.vip != 0;
    let Some(quote) = quote(&Copied::new(context), family, &sight.extent()) else {
        return Step::end_if(vip, Reason::IcmpError);
    };
    sight.take_quote(&quote);
    // An error goes to the source of what it is about.
    if !same_address::<V6>(&sight.destination, &sight.from) {
        return Step::end_if(vip, Reason::IcmpError);
    }
    sight.reason = Reason::IcmpErrorFollowed as u8;
    let from = Endpoint::meta_of(sight.from_port, sight.quoted_protocol, family);
    if let Some(endpoint) = lookup::endpoint::<V6>(sight.from, from)
        && endpoint.kind == EndpointKind::Listener as u32
    {
        sight.listener = endpoint.id as u16;
        return Step::ABOUT_REPLY;
    }
    let to = Endpoint::meta_of(sight.to_port, sight.quoted_protocol, family);
    if let Some(endpoint) = lookup::endpoint::<V6>(sight.to, to)
        && (endpoint.kind == EndpointKind::Backend as u32
            || endpoint.kind == EndpointKind::Translated as u32)
    {
        if sight.refusal != Sight::CARRIED {
            return Step(sight.refusal.into());
        }
        (sight.endpoint, sight.kind) = (endpoint.id, endpoint.kind);
        return Step::OWNER_OF_MEANT;
    }
    Step::end_if(vip, Reason::IcmpError)
}

both_families! {
    /// An error about what the listener of the sight sent to a client: it is the backend's.
    about_reply = about_reply_v4, about_reply_v6, to_backend()
}

#[inline(always)]
fn to_backend<const V6: bool>() -> Step {
    let Some(sight) = sight() else {
        return Step::end(Reason::Inconsistent);
    };
    let name = Name::new(flow_key::<V6>(sight.to, sight.to_port, sight.listener));
    let Some(value) = name.find() else {
        return Step::end(Reason::IcmpError);
    };
    let Some(backend) = BACKENDS.get(value.backend().into()) else {
        return Step::end(Reason::Inconsistent);
    };
    let reach = match reach(&name, value.backend(), backend, sight.from_port) {
        Ok(reach) => reach,
        Err(reason) => return Step::end(reason),
    };
    sight.change = Sight::NOTHING;
    if let Some(side) = reach.backend {
        sight.change = Sight::ERROR;
        sight.destination = copied(side.0);
        sight.set_from(side);
    }
    if let Some(side) = reach.client {
        // The backend knows nobody but us.
        sight.source = copied(side.0);
        sight.set_to(side);
    }
    sight.backend = value.backend();
    sight.spread = name.spread();
    sight.to_client = 0;
    Step::WAY
}

both_families! {
    /// An error about what was on its way to a backend: it is the client's.
    about_request = about_request_v4, about_request_v6, to_client()
}

#[inline(always)]
fn to_client<const V6: bool>() -> Step {
    let Some(sight) = sight() else {
        return Step::end(Reason::Inconsistent);
    };
    let Some(listener) = LISTENERS.get(sight.listener.into()) else {
        return Step::end(Reason::Inconsistent);
    };
    // To a client, its backend is the VIP. Who speaks of what it was translated to would be a stranger.
    if same_address::<V6>(&sight.source, &sight.to)
        || sight.kind == EndpointKind::Translated as u32
            && !same_address::<V6>(&sight.client, &sight.from)
    {
        sight.source = copied(listener.address);
    }
    sight.destination = copied(sight.client);
    sight.set_from(sight.client());
    sight.set_to((listener.address, listener.port));
    sight.change = Sight::ERROR;
    sight.to_client = 1;
    Step::WAY
}

//! The flow that a backend's packet belongs to, or that an ICMP error speaks of on a backend's side.

use super::super::flows::Name;
use super::super::maps::{REPLIES, REVERSE};
use super::super::split::flow_key;
use super::super::translated::reverse;
use super::{Step, both_families, sight};
use splitter_ebpf::abi::{ColdKey, EndpointKind, PAIRS, Pair};
use splitter_ebpf::unusual::Sight;
use splitter_ebpf::unusual::quote::Side;
use splitter_ebpf::verdict::Reason;

both_families! {
    /// Finds the flow of a packet that the sight's backend endpoint has sent.
    of_sent = owner_of_sent_v4, owner_of_sent_v6, sent()
}

#[inline(always)]
fn sent<const V6: bool>() -> Step {
    let Some(sight) = sight() else {
        return Step::end(Reason::Inconsistent);
    };
    let (protocol, backend, peer) = (sight.protocol, sight.from(), sight.to());
    match find::<V6>(sight, protocol, backend, peer) {
        Ok(()) => Step::REPLY,
        Err(reason) => Step::end(reason),
    }
}

both_families! {
    /// Finds the flow of a quoted packet that was on its way to the sight's backend endpoint.
    of_meant = owner_of_meant_v4, owner_of_meant_v6, meant()
}

#[inline(always)]
fn meant<const V6: bool>() -> Step {
    let Some(sight) = sight() else {
        return Step::end(Reason::Inconsistent);
    };
    let (protocol, backend, peer) = (sight.quoted_protocol, sight.to(), sight.from());
    match find::<V6>(sight, protocol, backend, peer) {
        Ok(()) => Step::ABOUT_REQUEST,
        Err(_) => Step::end_if(sight.vip != 0, Reason::IcmpError),
    }
}

/// Finds the flow between the sight's backend endpoint, which is `backend`, and `peer`: writes its client,
/// listener, key and value into the sight.
#[inline(always)]
fn find<const V6: bool>(
    sight: &mut Sight,
    protocol: u8,
    backend: Side,
    peer: Side,
) -> Result<(), Reason> {
    if sight.kind == EndpointKind::Translated as u32
        && reverse::<V6>(backend, peer, protocol).is_some()
        && let Some(found) = REVERSE.get(0)
    {
        let cold = ColdKey {
            address: found.client,
            rest: found.rest,
        };
        sight.set_client((cold.address, cold.port()));
        sight.listener = cold.listener();
        (sight.flow, sight.value) = (found.key, found.value);
        return Ok(());
    }
    let Some(reply) = REPLIES.get(sight.endpoint) else {
        return Err(Reason::Inconsistent);
    };
    sight.set_client(peer);
    let mut none = Reason::BackendDirect;
    let mut i = 0;
    while i < PAIRS {
        let pair = reply.pairs[i];
        i += 1;
        if pair == Pair(0) {
            break;
        }
        let key = flow_key::<V6>(peer.0, peer.1, pair.listener());
        if let Some(value) = Name::new(key).find() {
            if value.backend() == pair.backend() {
                sight.listener = pair.listener();
                (sight.flow, sight.value) = (key, value.0);
                return Ok(());
            }
            none = Reason::WrongBackend;
        }
    }
    Err(none)
}

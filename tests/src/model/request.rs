//! Packets of flows from clients to backends.

use splitter_ebpf::abi::Mode;
use splitter_ebpf::verdict::Reason;

use super::hops::Hop;
use super::life::{self, Sender};
use super::packet::{Content, Headers};
use super::room::{self, Flow};
use super::{Model, Onward, Refusal, Towards, Verdict, rewrite, told};

impl Model {
    /// From a client to a listener.
    pub(super) fn request(
        &mut self,
        frame: &mut Vec<u8>,
        segment: &Headers,
        listener: u16,
        back: Hop,
    ) -> Verdict {
        check(segment)?;
        let name = (segment.from, listener);
        let found = self.room.get(name);
        if let Some(flow) = found.filter(|flow| !self.opens_anew(segment, *flow)) {
            if flow.state.is_cut() {
                return self.cut(frame, segment, (name, flow), Sender::Client);
            }
            if self.refresh(name, flow, Sender::Client, segment) {
                self.ways_back.learn(segment.from.ip(), back);
            }
            return self.deliver(frame, segment, name, flow.backend, Reason::Pinned);
        }
        let (backend, reason) = self.begin(segment, name, found)?;
        if reason == Reason::NewFlow {
            self.ways_back.learn(segment.from.ip(), back);
        }
        self.deliver(frame, segment, name, backend, reason)
    }

    /// Records a packet of a flow; says whether anything changed.
    pub(super) fn refresh(
        &mut self,
        name: room::Name,
        flow: Flow,
        sender: Sender,
        segment: &Headers,
    ) -> bool {
        let one_way = self.services.backends[&flow.backend].one_way();
        let said = life::Said {
            sender,
            flags: segment.flags,
            data: segment.content == Content::Data,
            old: room::age(flow.seen, self.now) >= self.second,
            one_way,
        };
        let state = life::after(flow.state, said);
        let seen = if life::unconfirmed(state, one_way) {
            flow.seen
        } else {
            self.now
        };
        let next = Flow {
            state,
            seen,
            ..flow
        };
        self.room.set(name, next);
        next != flow
    }

    /// Makes a client's packet the RST of its connection, and sends it on to the backend.
    pub(super) fn reset_backend(
        &self,
        frame: &mut Vec<u8>,
        segment: &Headers,
        name: room::Name,
        id: u16,
    ) -> Verdict {
        let (reason, backend) = (Reason::FlowCutOnward, &self.services.backends[&id]);
        // The length of a fragment says nothing about its segment's.
        if segment.first || !told::is_between_hosts(frame, segment) {
            return Err(reason.into());
        }
        let hop = backend.hop.ok_or(reason)?;
        let spread = self.room.spread(name);
        told::into_reset(frame, segment);
        if backend.mode == Mode::Ipip {
            rewrite::hop(frame, segment.to.is_ipv6());
            self.encapsulate(frame, id, spread);
        }
        let to = Towards::Backend { id, spread };
        Ok(Onward { reason, hop, to })
    }

    /// Sends a client's packet on to its backend.
    fn deliver(
        &self,
        frame: &mut Vec<u8>,
        segment: &Headers,
        name: room::Name,
        id: u16,
        reason: Reason,
    ) -> Verdict {
        let backend = &self.services.backends[&id];
        let hop = backend.hop.ok_or(Reason::NoNextHop)?;
        let v6 = segment.to.is_ipv6();
        fits(segment, hop.mtu, overhead(backend.mode, v6))?;
        rewrite::hop(frame, v6);
        let (to, spread) = (backend.at(segment.to.port()), self.room.spread(name));
        match backend.mode {
            Mode::DsrL2 => {}
            Mode::Dnat => rewrite::translate(frame, rewrite::End::Destination, to, segment),
            Mode::FullNat => {
                let flow = self.room.get(name).expect("it is pinned");
                let (_, ours, _) = flow.way.expect("it was translated");
                rewrite::translate(frame, rewrite::End::Destination, to, segment);
                rewrite::translate(frame, rewrite::End::Source, ours, segment);
            }
            Mode::Ipip => self.encapsulate(frame, id, spread),
        }
        let to = Towards::Backend { id, spread };
        Ok(Onward { reason, hop, to })
    }
}

/// Bytes that a mode adds to a packet.
pub(super) const fn overhead(mode: Mode, v6: bool) -> u16 {
    match (mode, v6) {
        (Mode::Ipip, true) => 40,
        (Mode::Ipip, false) => 20,
        _ => 0,
    }
}

/// What every segment of a flow must be.
pub(super) fn check(segment: &Headers) -> Result<(), Refusal> {
    if segment.content == Content::Contradictory {
        return Err(Reason::Malformed.into());
    }
    if segment.ttl <= 1 {
        return Err(Reason::TtlExpired.into());
    }
    Ok(())
}

/// Whether the way on takes a segment that grows by `overhead`.
pub(super) fn fits(segment: &Headers, mtu: u16, overhead: u16) -> Result<(), Refusal> {
    fits_bytes(segment.total, segment.whole, mtu, overhead)
}

/// The same for a packet of `total` bytes, which routers may not cut if it is `whole`.
pub(super) fn fits_bytes(
    total: usize,
    whole: bool,
    mtu: u16,
    overhead: u16,
) -> Result<(), Refusal> {
    if mtu == 0 || total + usize::from(overhead) <= usize::from(mtu) {
        return Ok(());
    }
    if !whole {
        return Err(Reason::TooBigToFragment.into());
    }
    Err(Refusal {
        mtu: mtu.saturating_sub(overhead),
        ..Reason::TooBig.into()
    })
}

//! Packets of flows from backends to clients.

use std::net::IpAddr;

use splitter_ebpf::verdict::Reason;

use super::hops::{Hop, WaysBack};
use super::life::Sender;
use super::packet::Headers;
use super::request::{check, fits};
use super::room::{self, Flow};
use super::{Model, Onward, Refusal, Towards, Verdict, rewrite};

impl Model {
    /// From a backend that may answer for these listeners.
    pub(super) fn reply(
        &mut self,
        frame: &mut Vec<u8>,
        segment: &Headers,
        pairs: &[(u16, u16)],
    ) -> Verdict {
        let pinned = |(listener, _): &(u16, u16)| self.room.get((segment.to, *listener));
        let own = |pair: &&(u16, u16)| pinned(pair).is_some_and(|flow| flow.backend == pair.1);
        let Some((listener, _)) = pairs.iter().find(own).copied() else {
            let others = pairs.iter().any(|pair| pinned(pair).is_some());
            return Err(if others {
                Reason::WrongBackend.into()
            } else {
                Reason::BackendDirect.into()
            });
        };
        let vip = self.services.listeners[&listener].at;
        let by = |refusal| Refusal {
            by: Some(vip.ip()),
            ..refusal
        };
        check(segment).map_err(by)?;
        let name = (segment.to, listener);
        let flow = self.room.get(name).expect("just found");
        if flow.state.is_cut() {
            return self.cut(frame, segment, (name, flow), Sender::Backend);
        }
        self.seen_early(name, flow, segment);
        let client = segment.to.ip();
        let hop = self.ways_back.towards(client).ok_or(Reason::NoReturnPath)?;
        fits(segment, hop.mtu, 0).map_err(by)?;
        self.seen(name, flow, segment);
        rewrite::translate(frame, rewrite::End::Source, vip, segment);
        rewrite::hop(frame, vip.is_ipv6());
        Ok(to_client(client, hop))
    }

    /// From a backend to a place of ours that stands for a client.
    pub(super) fn reply_translated(
        &mut self,
        frame: &mut Vec<u8>,
        segment: &Headers,
        name: room::Name,
        flow: Flow,
    ) -> Verdict {
        let (client, listener) = name;
        // Of a plain reply, the way on comes first.
        let way = |ways: &mut WaysBack| ways.towards(client.ip()).ok_or(Reason::NoReturnPath);
        let early = segment
            .plain
            .then(|| way(&mut self.ways_back))
            .transpose()?;
        check(segment)?;
        if flow.state.is_cut() {
            return self.cut(frame, segment, (name, flow), Sender::Backend);
        }
        self.seen_early(name, flow, segment);
        let hop = early.map_or_else(|| way(&mut self.ways_back), Ok)?;
        fits(segment, hop.mtu, 0)?;
        self.seen(name, flow, segment);
        let vip = self.services.listeners[&listener].at;
        rewrite::translate(frame, rewrite::End::Source, vip, segment);
        rewrite::translate(frame, rewrite::End::Destination, client, segment);
        rewrite::hop(frame, vip.is_ipv6());
        Ok(to_client(client.ip(), hop))
    }

    /// Records a reply that is no plain segment, which tells of its flow though the way on may not take it.
    fn seen_early(&mut self, name: room::Name, flow: Flow, segment: &Headers) {
        if !segment.plain {
            self.refresh(name, flow, Sender::Backend, segment);
        }
    }

    /// Records a plain reply, once it is sent on.
    fn seen(&mut self, name: room::Name, flow: Flow, segment: &Headers) {
        if segment.plain {
            self.refresh(name, flow, Sender::Backend, segment);
        }
    }
}

fn to_client(client: IpAddr, hop: Hop) -> Onward {
    Onward {
        reason: Reason::Reply,
        hop,
        to: Towards::Client(client),
    }
}

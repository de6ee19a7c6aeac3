//! ICMP errors about flows: to the end of the flow that sent what they quote, as errors about the packet
//! that it knows (RFC 5508 section 4).

use std::net::{IpAddr, SocketAddr};

use splitter_ebpf::abi::Mode;
use splitter_ebpf::verdict::Reason;

use super::quote::{self, Quote};
use super::room::Name;
use super::shape::{self, Shape};
use super::unusual::refused;
use super::{Model, Towards, Verdict, rewrite};

impl Model {
    /// An error that may be about a flow.
    pub(super) fn error(&mut self, frame: &mut Vec<u8>, shape: &Shape, vip: bool) -> Verdict {
        let [_, destination] = shape::ends(&frame[shape.l3..], shape.v6);
        let about_nothing = refused(vip, Reason::IcmpError);
        // An error goes to the source of what it is about (RFC 1122 section 3.2.2).
        let quoted = quote::read(frame, shape).filter(|quote| quote.from.ip() == destination);
        let Some(quote) = quoted else {
            return about_nothing;
        };
        let protocol = quote.shape.protocol;
        if let Some(listener) = self.services.listener(quote.from, protocol) {
            return self.about_reply(frame, shape, &quote, (quote.to, listener));
        }
        if !self.services.answers.contains_key(&(quote.to, protocol)) {
            return about_nothing;
        }
        if let Some(reason) = shape.refusal {
            return Err(reason.into());
        }
        match self.owner(&quote) {
            Some(name) => self.about_request(frame, shape, &quote, name),
            None => about_nothing,
        }
    }

    /// About what the VIP sent to a client: it is the backend's.
    fn about_reply(
        &mut self,
        frame: &mut Vec<u8>,
        shape: &Shape,
        quote: &Quote,
        name: Name,
    ) -> Verdict {
        let flow = self.room.get(name).ok_or(Reason::IcmpError)?;
        let (id, spread) = (flow.backend, self.room.spread(name));
        let to = Towards::Backend { id, spread };
        let onward = self.way(frame, shape, to, Reason::IcmpErrorFollowed)?;
        rewrite::hop(frame, shape.v6);
        let [source, _] = shape::ends(&frame[shape.l3..], shape.v6);
        let backend = &self.services.backends[&id];
        let at = backend.at(quote.from.port());
        match backend.mode {
            Mode::DsrL2 => {}
            Mode::Ipip => self.encapsulate(frame, id, spread),
            Mode::Dnat => {
                rewrite::error(frame, shape, quote, [at, quote.to], [source, at.ip()]);
            }
            Mode::FullNat => {
                let (_, ours, _) = flow.way.expect("it was translated");
                // The backend knows nobody but us.
                rewrite::error(frame, shape, quote, [at, ours], [ours.ip(), at.ip()]);
            }
        }
        Ok(onward)
    }

    /// About what was on its way to a backend: it is the client's.
    fn about_request(
        &mut self,
        frame: &mut [u8],
        shape: &Shape,
        quote: &Quote,
        (client, listener): Name,
    ) -> Verdict {
        let to = Towards::Client(client.ip());
        let onward = self.way(frame, shape, to, Reason::IcmpErrorFollowed)?;
        rewrite::hop(frame, shape.v6);
        let vip = self.services.listeners[&listener].at;
        let [source, _] = shape::ends(&frame[shape.l3..], shape.v6);
        let source = self.seen_by_client(source, client, quote, vip);
        rewrite::error(frame, shape, quote, [client, vip], [source, client.ip()]);
        Ok(onward)
    }

    /// Whom a client sees speak: the VIP for its backend, and for everybody who saw it translated.
    fn seen_by_client(
        &self,
        source: IpAddr,
        client: SocketAddr,
        quote: &Quote,
        vip: SocketAddr,
    ) -> IpAddr {
        let at = (quote.to, quote.shape.protocol);
        let translated = self.services.translated.contains(&at) && client.ip() != quote.from.ip();
        if source == quote.to.ip() || translated {
            vip.ip()
        } else {
            source
        }
    }

    /// The flow of a quoted packet to a backend.
    fn owner(&self, quote: &Quote) -> Option<Name> {
        let protocol = quote.shape.protocol;
        let at = (quote.to, protocol);
        let translated = self.services.translated.contains(&at);
        let behind = self.room.behind((quote.to, quote.from, protocol));
        if let Some((name, _)) = behind.filter(|_| translated) {
            return Some(name);
        }
        let pairs = self.services.answers.get(&at)?;
        let own = pairs.iter().find(|(listener, backend)| {
            let flow = self.room.get((quote.from, *listener));
            flow.is_some_and(|flow| flow.backend == *backend)
        });
        own.map(|(listener, _)| (quote.from, *listener))
    }
}

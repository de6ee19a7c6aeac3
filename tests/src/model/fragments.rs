//! Fragments: the first one has ports and finds its flow, the others go where it went.

use std::net::IpAddr;

use splitter_ebpf::abi::Mode;
use splitter_ebpf::verdict::{Action, Reason};

use super::packet::ETHERNET;
use super::shape::{Shape, ends, has_ports, hides_ports};
use super::{Model, Towards, Verdict, rewrite, room};

/// Names a packet in fragments: addresses, identification and, of IPv4, the protocol (RFC 791 section
/// 3.2, RFC 8200 section 4.5).
pub(super) type Packet = ([IpAddr; 2], u32, Option<u8>);

/// Where the first fragment of a packet went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Path {
    went: Went,
    /// The tick when it came.
    pub(super) seen: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Went {
    /// To the host.
    Passed,
    /// On, with other addresses than it came with, if its flow has others there.
    On(Towards, Option<[IpAddr; 2]>),
}

/// The packet that a fragment is of.
fn name(frame: &[u8], shape: &Shape) -> Packet {
    let protocol = (!shape.v6).then_some(shape.protocol);
    (ends(&frame[shape.l3..], shape.v6), shape.id, protocol)
}

impl Model {
    /// Remembers where a first fragment goes. `frame` is as it came, `out` as it leaves.
    pub(super) fn remember(&mut self, frame: &[u8], shape: &Shape, verdict: &Verdict, out: &[u8]) {
        let went = match verdict {
            Err(refusal) if refusal.reason.action() == Action::Pass => Went::Passed,
            // What was dropped leads nowhere.
            Err(_) => return,
            Ok(onward) => {
                let called = match onward.to {
                    Towards::Backend { id, .. } => !self.services.backends[&id].one_way(),
                    Towards::Client(_) => true,
                    Towards::Sender => false,
                };
                let hosts = called.then(|| ends(&out[ETHERNET..], shape.v6));
                Went::On(onward.to, hosts)
            }
        };
        let seen = self.now;
        self.fragments
            .insert(name(frame, shape), Path { went, seen });
    }

    /// Sends a later fragment where the first one went.
    pub(super) fn follow(&mut self, frame: &mut Vec<u8>, shape: &Shape) -> Verdict {
        // Half a minute: as long as receivers wait for the rest.
        let lately = |path: &&Path| room::age(path.seen, self.now) <= self.reuse / 2;
        let known = self.fragments.get(&name(frame, shape)).filter(lately);
        let Some(path) = known.copied() else {
            return Err(
                if has_ports(shape.protocol) || hides_ports(shape.protocol) {
                    Reason::Fragment.into()
                } else {
                    Reason::Foreign.into()
                },
            );
        };
        let Went::On(to, hosts) = path.went else {
            return Err(Reason::Foreign.into());
        };
        let onward = self.way(frame, shape, to, Reason::FragmentFollowed)?;
        rewrite::hop(frame, shape.v6);
        if let Some(hosts) = hosts {
            rewrite::hosts(frame, shape.v6, hosts);
        }
        if let Towards::Backend { id, spread } = to
            && self.services.backends[&id].mode == Mode::Ipip
        {
            self.encapsulate(frame, id, spread);
        }
        Ok(onward)
    }
}

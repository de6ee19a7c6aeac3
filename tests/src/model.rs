//! A plain model of what the program does, to compare it with over random packets and events.
//!
//! It knows the glossary and the tables' content, and nothing of how the program is built: hash maps,
//! byte slices, checksums by 16-bit words, one state machine written down once more. What it shares with
//! the program is where flows lie (`splitter_ebpf::endpoint`), since places are part of the contract.
//!
//! `steering` and `affinity` say which backend a new flow gets, `cut` what a flow's packets tell once the
//! operator has cut it.
//!
//! `shape` finds the headers of packets that are no plain segments (options, extension headers,
//! fragments, ICMP errors and what they quote), `unusual` says whose they are, `fragments` and
//! `errors` where they go. No frame is left out.
//!
//! Time does not pass in a trial: the clock's shift makes a tick of months. Flows grow older by the
//! trial's own [`Step::Age`], which takes the same ticks from every `last seen` in model and table.

mod affinity;
mod begin;
mod cut;
mod errors;
mod fragments;
mod generate;
mod hops;
mod life;
mod packet;
mod quote;
mod reply;
mod request;
mod rewrite;
mod room;
mod run;
mod shape;
mod split;
mod steering;
mod step;
mod told;
mod trial;
mod unusual;
mod way;
mod world;

pub use run::Shard;
pub use step::Step;
pub use world::World;

use std::collections::HashMap;
use std::net::IpAddr;

use splitter_ebpf::abi::BackendCounters;
use splitter_ebpf::verdict::Reason;

use fragments::{Packet, Path};
use hops::{Hop, WaysBack};
use packet::{Headers, Known};
use room::Room;
use shape::{Part, has_ports};
use split::Services;
use told::Answer;

/// What must become of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    /// Its verdict.
    reason: Reason,
    /// Where a frame is sent; `None` if none is.
    sent: Option<u32>,
    /// The frame that is sent or passed.
    frame: Vec<u8>,
}

/// A packet that is not sent on.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    reason: Reason,
    /// The VIP that tells the sender, if it is not whom the packet was sent to.
    by: Option<IpAddr>,
    /// What a packet too big is told.
    mtu: u16,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            by: None,
            mtu: 0,
        }
    }
}

/// A packet that is.
#[derive(Debug, Clone, Copy)]
struct Onward {
    reason: Reason,
    hop: Hop,
    to: Towards,
}

/// Whom a packet goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Towards {
    /// A backend. `spread` is of the flow's hash, for an outer source address.
    Backend { id: u16, spread: u32 },
    /// A client.
    Client(IpAddr),
    /// Back to whom it is from.
    Sender,
}

type Verdict = Result<Onward, Refusal>;

/// The model.
#[derive(Debug)]
struct Model {
    services: Services,
    room: Room,
    ways_back: WaysBack,
    fragments: HashMap<Packet, Path>,
    counters: HashMap<u16, BackendCounters>,
    limits: Limits,
    /// Outer source addresses: IPv4's first half, IPv6's first three quarters.
    tunnel: ([u8; 2], [u8; 12]),
    /// The tick of now, and of a trial.
    now: u32,
    /// Ticks that are a second.
    second: u32,
    /// Ticks after which a SYN chooses anew.
    reuse: u32,
    /// Where test runs come in by.
    ingress: u32,
}

/// What may be done within a tick, of which a trial has one.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Flows that may still be pinned, if there is a cap.
    pins: Option<u64>,
    /// ICMP errors that may still be sent.
    errors: u64,
}

impl Model {
    /// What becomes of a frame, which may change flows.
    fn packet(&mut self, frame: &[u8]) -> Expected {
        let passed = |reason| Expected {
            reason,
            sent: None,
            frame: frame.to_vec(),
        };
        let (mut inner, mut tag) = (frame.to_vec(), None);
        if packet::is_tagged(frame) {
            let Some(tagged) = packet::read_tagged(frame) else {
                return passed(Reason::NotIp);
            };
            let ours = tagged
                .addresses
                .into_iter()
                .any(|ip| self.services.concerns(ip));
            if !ours && (tagged.stacked || !tagged.icmp) {
                return passed(Reason::Foreign);
            }
            if tagged.stacked {
                return passed(Reason::VlanTag);
            }
            inner.drain(12..16);
            tag = Some(tagged.vlan);
        }
        let mut out = inner.clone();
        let back = Hop::back(&inner, self.ingress).by(0, tag);
        match self.classify(&mut out, back) {
            Ok(Onward { reason, hop, .. }) => {
                out[..12].copy_from_slice(&hop.macs);
                sent(reason, out, hop)
            }
            Err(refusal) => match self.told(&inner, refusal) {
                Some(answer) => sent(refusal.reason, answer, back),
                None => passed(refusal.reason),
            },
        }
    }

    /// What the sender of a refused packet is told: of a whole segment, or of the first fragment of one.
    fn told(&mut self, frame: &[u8], refusal: Refusal) -> Option<Vec<u8>> {
        let segment = match packet::read(frame) {
            Known::Nothing => return None,
            Known::Segment(segment) => segment,
            Known::Unusual(_) => {
                let shape = shape::of_frame(frame)?;
                let may_have_ports = shape.part != Part::Later && has_ports(shape.protocol);
                shape::segment(frame, &shape).filter(|_| may_have_ports)?
            }
        };
        let answer = told::answer(frame, &segment, refusal.reason, refusal.by, refusal.mtu)?;
        match answer {
            Answer::Reset(frame) => Some(frame),
            Answer::Error(frame) => {
                self.limits.errors = self.limits.errors.checked_sub(1)?;
                Some(frame)
            }
        }
    }

    /// `back` is the way that the frame came.
    fn classify(&mut self, frame: &mut Vec<u8>, back: Hop) -> Verdict {
        match packet::read(frame) {
            Known::Nothing => Err(Reason::NotIp.into()),
            Known::Unusual(ends) => self.unusual(frame, ends, back),
            Known::Segment(segment) => self.segment(frame, &segment, None, back),
        }
    }

    /// A segment: to a listener, from a backend, or nobody's. `refused` is why it is not carried, if it
    /// is ours.
    fn segment(
        &mut self,
        frame: &mut Vec<u8>,
        segment: &Headers,
        refused: Option<Reason>,
        back: Hop,
    ) -> Verdict {
        if let Some(id) = self.services.listener(segment.to, segment.protocol) {
            return self.request(frame, segment, id, back);
        }
        let from = (segment.from, segment.protocol);
        let Some(pairs) = self.services.answers.get(&from).cloned() else {
            return Err(Reason::Foreign.into());
        };
        if let Some(reason) = refused {
            return Err(reason.into());
        }
        if self.services.translated.contains(&from) {
            let way = (segment.from, segment.to, segment.protocol);
            if let Some((name, flow)) = self.room.behind(way) {
                return self.reply_translated(frame, segment, name, flow);
            }
        }
        self.reply(frame, segment, &pairs)
    }
}

/// A frame on its way, with the tag that its next hop asks for.
fn sent(reason: Reason, mut frame: Vec<u8>, hop: Hop) -> Expected {
    if let Some(vlan) = hop.tag {
        let [high, low] = vlan.to_be_bytes();
        frame.splice(12..12, [0x81, 0, high, low]);
    }
    Expected {
        reason,
        sent: Some(hop.ifindex),
        frame,
    }
}
/// Whether something may be sent back to a frame's sender: it is a single host, and the frame is from one
/// MAC address to another.
fn is_one_host(frame: &[u8], source: IpAddr) -> bool {
    let single = match source {
        IpAddr::V4(v4) => !matches!(v4.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(v6) => !v6.is_multicast() && v6.segments()[..4] != [0; 4],
    };
    single && (frame[0] | frame[6]) & 1 == 0
}

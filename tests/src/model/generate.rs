//! Random events and packets, most of which meet something: flows that exist, listeners, backends.

use std::net::SocketAddr;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use splitter_ebpf::abi::BUCKET_FLOWS;
use splitter_ebpf::flow::{ACK, FIN, RST, SYN};
use splitter_ebpf::wire::{ICMP, ICMPV6, TCP, UDP};

use wrapping::Wrapping;

use super::room::{Flow, Name};
use super::world::{CLIENTS, World, address, client};
use super::{Model, Step};

mod errors;
mod frame;
mod pieces;
mod spoiled;
mod wrapping;

/// Ports of each client.
const PORTS: u16 = 6;
/// Flows that were cut and get more packets than others.
const CUT: usize = 4;

/// Makes steps of one trial.
#[derive(Debug)]
pub(super) struct Generator {
    rng: SmallRng,
    /// Fragments that may come yet, or once more.
    pieces: Vec<Vec<u8>>,
    /// Flows that were cut lately.
    cut: Vec<Name>,
}

/// A packet before it is bytes.
#[derive(Debug, Clone)]
struct Draft {
    from: SocketAddr,
    to: SocketAddr,
    protocol: u8,
    flags: u8,
    ttl: u8,
    data: usize,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seed),
            pieces: Vec::new(),
            cut: Vec::new(),
        }
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.rng).expect("a choice among some")
    }

    fn chance(&mut self, in_thousand: u32) -> bool {
        self.rng.random_ratio(in_thousand, 1000)
    }

    /// The next step.
    pub(super) fn next(&mut self, model: &Model, world: &World) -> Step {
        match self.rng.random_range(0..10_000) {
            0..10 => {
                let service = self.rng.random_range(0..world.services.len());
                Step::Flip(service, self.rng.random_range(0..4))
            }
            10 => self.backends(world),
            11..40 => Step::Age(self.one(&[1, 1, 2, 3, 5, 130])),
            40..300 => self.expiry(model),
            300..310 => Step::Routes,
            340..350 => Step::Sweep,
            350..353 => Step::AgeFragments(self.one(&[20, 40, 59, 60, 61, 130])),
            353..450 => self.cutting(model),
            310..330 => Step::Binding(self.rng.random_range(0..12), self.chance(800)),
            330..340 => Step::Hop(self.rng.next_u32() as usize % 64, self.one(&[1, 1, 77, 0])),
            _ => Step::Packet(self.packet(model)),
        }
    }

    /// Other backends of a track take new flows.
    fn backends(&mut self, world: &World) -> Step {
        let service = self.rng.random_range(0..world.services.len());
        let track = self
            .rng
            .random_range(0..world.services[service].tracks.len());
        Step::Backends(service, track, self.rng.next_u32())
    }

    /// The agent finds a flow expired.
    fn expiry(&mut self, model: &Model) -> Step {
        match self.flow(model) {
            Some((name, _)) => Step::Expire(name),
            None => Step::Routes,
        }
    }

    /// The operator has a flow cut.
    fn cutting(&mut self, model: &Model) -> Step {
        let Some((name, _)) = self.flow(model) else {
            return Step::Routes;
        };
        self.cut.insert(0, name);
        self.cut.truncate(CUT);
        Step::Cut(name)
    }

    /// A flow: any, or one that was cut lately, of which few packets would be otherwise.
    fn flow(&mut self, model: &Model) -> Option<(Name, Flow)> {
        if !self.cut.is_empty() && self.chance(80) {
            let name = self.one(&self.cut.clone());
            if let Some(flow) = model.room.get(name) {
                return Some((name, flow));
            }
        }
        let slot = self.rng.random_range(0..1024 * BUCKET_FLOWS);
        model.room.any(slot)
    }

    fn client(&mut self, v6: bool) -> SocketAddr {
        let ip = client(v6, self.rng.random_range(0..CLIENTS));
        SocketAddr::new(ip, 1024 + self.rng.random_range(0..PORTS))
    }

    /// A frame.
    fn packet(&mut self, model: &Model) -> Vec<u8> {
        let mut frame = match self.rng.random_range(0..100) {
            0..15 => self.piece(model),
            15..30 => self.error(model),
            kind => {
                let draft = self.any(model);
                let wrapping = match kind {
                    30..45 => self.wrapping(draft.from.is_ipv6()),
                    _ => Wrapping::default(),
                };
                let l4 = self.l4(&draft);
                self.frame(&draft, &wrapping, &l4)
            }
        };
        self.spoil(&mut frame);
        frame
    }

    /// A packet of a flow or of none.
    fn any(&mut self, model: &Model) -> Draft {
        match (self.flow(model), self.rng.random_range(0..100)) {
            (Some(found), 0..25) => self.of_flow(model, found, None),
            (Some(found), 25..55) => self.of_flow(model, found, Some(found.1.backend)),
            (Some(found), 55..60) => {
                let any = self.backend(model);
                self.of_flow(model, found, Some(any))
            }
            (_, 60..64) => self.stranger(model),
            _ => self.request(model),
        }
    }

    /// Any backend.
    fn backend(&mut self, model: &Model) -> u16 {
        let mut backends: Vec<u16> = model.services.backends.keys().copied().collect();
        backends.sort_unstable();
        self.one(&backends)
    }

    fn draft(&mut self, from: SocketAddr, to: SocketAddr, protocol: u8) -> Draft {
        let flags = match self.rng.random_range(0..100) {
            0..25 => SYN,
            25..35 => SYN | ACK,
            35..70 => ACK,
            70..85 => FIN | ACK,
            85..91 => RST,
            91..94 => RST | ACK,
            // Push, urgent, and those of congestion notification mean nothing to us.
            _ => self.rng.random(),
        };
        let data = match self.rng.random_range(0..100) {
            0..40 => 0,
            40..97 => self.one(&[1, 2, 7, 20, 64, 333]),
            _ => self.one(&[1220, 1240, 1260, 1400]),
        };
        Draft {
            from,
            to,
            protocol,
            flags,
            ttl: if self.chance(40) {
                self.one(&[2, 1, 0])
            } else {
                self.one(&[64, 63, 128, 255])
            },
            data,
        }
    }

    /// Of a flow: from its client, or from a backend.
    fn of_flow(
        &mut self,
        model: &Model,
        ((client, listener), flow): (Name, Flow),
        backend: Option<u16>,
    ) -> Draft {
        let listener = model.services.listeners[&listener];
        match backend {
            None => self.draft(client, listener.at, listener.protocol),
            Some(id) => {
                let at = model.services.backends[&id].at(listener.at.port());
                // To the client itself, or to whom stands for it there.
                let way = flow.way.filter(|_| self.chance(900));
                let to = way.map_or(client, |(_, ours, _)| ours);
                if at.is_ipv6() == to.is_ipv6() {
                    self.draft(at, to, listener.protocol)
                } else {
                    self.draft(client, listener.at, listener.protocol)
                }
            }
        }
    }

    fn request(&mut self, model: &Model) -> Draft {
        let mut listeners: Vec<_> = model.services.listeners.iter().collect();
        listeners.sort_unstable_by_key(|(id, _)| **id);
        let (_, listener) = listeners[self.rng.random_range(0..listeners.len())];
        let client = self.client(listener.at.is_ipv6());
        self.draft(client, listener.at, listener.protocol)
    }

    /// Addresses, ports and protocols that may not go together.
    fn stranger(&mut self, model: &Model) -> Draft {
        let mut draft = self.request(model);
        let v6 = draft.to.is_ipv6();
        match self.rng.random_range(0..6) {
            0 => draft.to.set_port(self.one(&[81, 0, 65_535])),
            1 => draft.to.set_ip(address(v6, 77, 1)),
            2 => draft.protocol = if draft.protocol == TCP { UDP } else { TCP },
            3 => draft.protocol = self.one(&[0, 2, 41, 43, 44, 47, 50, 51, 58, 60, 89, 132, 135]),
            4 => draft.protocol = if v6 { ICMPV6 } else { ICMP },
            _ => draft.from.set_ip(address(v6, 2, 1)),
        }
        draft
    }
}

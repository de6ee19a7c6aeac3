//! Random events and packets, most of which meet something: flows that exist, listeners, backends.

use std::net::{IpAddr, SocketAddr};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use splitter_ebpf::abi::BUCKET_FLOWS;
use splitter_ebpf::flow::{ACK, FIN, RST, SYN};
use splitter_ebpf::wire::{ICMP, ICMPV6, TCP, UDP};

use super::packet::ETHERNET;
use super::rewrite::{octets, total};
use super::room::{Flow, Name};
use super::world::{World, address};
use super::{Model, Step};

/// Clients a family. So few that their packets meet again, and again through other listeners.
const CLIENTS: u8 = 24;
/// Ports of each.
const PORTS: u16 = 6;

/// Makes steps of one trial.
#[derive(Debug)]
pub(super) struct Generator {
    rng: SmallRng,
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
        let slot = self.rng.random_range(0..1024 * BUCKET_FLOWS);
        match model.room.any(slot) {
            Some((name, _)) => Step::Expire(name),
            None => Step::Routes,
        }
    }

    fn client(&mut self, v6: bool) -> SocketAddr {
        let n = self.rng.random_range(0..CLIENTS);
        // Half of them by a route that the kernel knows.
        let ip = match (n % 2 == 0, v6) {
            (true, false) => IpAddr::from([198, 19, 7, n]),
            (true, true) => IpAddr::from([0x2001, 0xdb8, 0xc, 0, 0, 0, 9, n.into()]),
            (false, v6) => address(v6, 9, n),
        };
        SocketAddr::new(ip, 1024 + self.rng.random_range(0..PORTS))
    }

    /// A frame.
    fn packet(&mut self, model: &Model) -> Vec<u8> {
        let slot = self.rng.random_range(0..1024 * BUCKET_FLOWS);
        let draft = match (model.room.any(slot), self.rng.random_range(0..100)) {
            (Some(found), 0..25) => self.of_flow(model, found, None),
            (Some(found), 25..55) => self.of_flow(model, found, Some(found.1.backend)),
            (Some(found), 55..60) => {
                let mut backends: Vec<u16> = model.services.backends.keys().copied().collect();
                backends.sort_unstable();
                let any = self.one(&backends);
                self.of_flow(model, found, Some(any))
            }
            (_, 60..64) => self.stranger(model),
            _ => self.request(model),
        };
        self.frame(draft)
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

    /// The bytes, mostly right.
    fn frame(&mut self, draft: Draft) -> Vec<u8> {
        let v6 = draft.from.is_ipv6();
        let mut frame = vec![2, 0xb0, 0, 0, 0, 1, 2, 0xc0, 0, 0, 0, self.one(&[1, 2, 3])];
        let l4 = self.l4(&draft);
        frame.extend(if v6 { [0x86, 0xdd] } else { [8, 0] });
        let (from, to) = (octets(draft.from.ip()), octets(draft.to.ip()));
        let size = u16::try_from(l4.len()).expect("short packets");
        if v6 {
            frame.extend([0x60, self.rng.random(), 0, 9]);
            frame.extend(size.to_be_bytes());
            frame.extend([draft.protocol, draft.ttl]);
            frame.extend(from.iter().chain(&to));
        } else {
            frame.extend([0x45, self.one(&[0, 0x10])]);
            frame.extend((size + 20).to_be_bytes());
            let fragment = self.one(&[0x4000, 0x4000, 0x4000, 0_u16]);
            frame.extend(self.rng.random::<[u8; 2]>());
            frame.extend(fragment.to_be_bytes());
            frame.extend([draft.ttl, draft.protocol, 0, 0]);
            frame.extend(from.iter().chain(&to));
            let sum = (!total(&[&frame[ETHERNET..]])).to_be_bytes();
            frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum);
        }
        frame.extend(l4);
        self.spoil(&mut frame, v6);
        // Some are padded to Ethernet's least length, or further.
        if self.chance(100) {
            frame.resize(frame.len().max(60) + self.rng.random_range(0..3), 0);
        }
        frame
    }

    /// A header and its data, checksum and all.
    fn l4(&mut self, draft: &Draft) -> Vec<u8> {
        let mut l4 = Vec::new();
        l4.extend(draft.from.port().to_be_bytes());
        l4.extend(draft.to.port().to_be_bytes());
        let sum_at = match draft.protocol {
            TCP => {
                let options = self.one(&[0, 0, 0, 12, 40]);
                l4.extend(self.rng.random::<[u8; 8]>());
                l4.extend([
                    u8::try_from((20 + options) / 4).expect("small") << 4,
                    draft.flags,
                ]);
                l4.extend([4, 0, 0, 0, 0, 0]);
                l4.resize(20 + options, 1);
                16
            }
            UDP => {
                let size = u16::try_from(8 + draft.data).expect("small");
                l4.extend(size.to_be_bytes());
                l4.extend([0, 0]);
                6
            }
            ICMP | ICMPV6 => {
                let kind = if draft.protocol == ICMP { 8 } else { 128 };
                let kind = self.one(&[kind, kind, kind, 3, 0, 11, 129, 133, 135]);
                l4.clear();
                l4.extend([kind, u8::from(self.chance(100)), 0, 0, 0, 7, 0, 9]);
                2
            }
            _ => return vec![self.rng.random(); draft.data],
        };
        l4.extend((0..draft.data).map(|_| self.rng.random::<u8>()));
        let unsummed = draft.protocol == UDP && self.chance(150);
        if !unsummed {
            let size = u16::try_from(l4.len()).expect("small").to_be_bytes();
            let pseudo = [
                octets(draft.from.ip()),
                octets(draft.to.ip()),
                vec![0, draft.protocol, size[0], size[1]],
            ]
            .concat();
            let pseudo = if draft.protocol == ICMP {
                &[]
            } else {
                &pseudo[..]
            };
            let sum = match !total(&[pseudo, &l4]) {
                0 if draft.protocol == UDP => 0xffff,
                sum => sum,
            };
            l4[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        l4
    }

    /// Now and then something is wrong with the frame.
    fn spoil(&mut self, frame: &mut Vec<u8>, v6: bool) {
        let l4 = ETHERNET + if v6 { 40 } else { 20 };
        let length_at = ETHERNET + if v6 { 4 } else { 2 };
        match self.rng.random_range(0..300) {
            // Any bytes behind the addresses of Ethernet.
            0..10 => {
                for _ in 0..self.rng.random_range(1..=3) {
                    let at = self.rng.random_range(12..frame.len());
                    frame[at] = self.rng.random();
                }
            }
            // A bit.
            10..20 => {
                let at = self.rng.random_range(12..frame.len());
                frame[at] ^= 1 << self.rng.random_range(0..8);
            }
            // Cut short.
            20..28 => frame.truncate(self.rng.random_range(14..=frame.len())),
            // A length of IP that is a little off, or nonsense.
            28..36 => {
                let right = u16::from_be_bytes([frame[length_at], frame[length_at + 1]]);
                let off = self.rng.random_range(0..64) - 32;
                let wrong = self.one(&[right.wrapping_add_signed(off), 0, 0xffff, 19, 20, 28, 40]);
                frame[length_at..length_at + 2].copy_from_slice(&wrong.to_be_bytes());
            }
            // The first bytes of the transport: ports, and UDP's length.
            36..40 if frame.len() > l4 + 8 => {
                frame[l4 + self.rng.random_range(0..8)] = self.rng.random();
            }
            // TCP's data offset.
            40..46 if frame.len() > l4 + 12 => frame[l4 + 12] = self.rng.random(),
            // Options, fragments.
            46..50 if !v6 => frame[ETHERNET] = self.one(&[0x44, 0x46, 0x4f, 0x55, 0x05, 0x65]),
            50..56 if !v6 => {
                let fragment = self.one(&[0x2000_u16, 0x0001, 0x1fff, 0x8000, 0x6000]);
                frame[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&fragment.to_be_bytes());
            }
            // Tags, priorities and all.
            56..70 => {
                let mut tags = vec![0x81, 0, self.one(&[0, 0, 0, 0x60]), self.one(&[7, 9])];
                if self.chance(200) {
                    tags[0..2].copy_from_slice(&[0x88, 0xa8]);
                }
                if self.chance(200) {
                    tags.splice(0..0, [0x88, 0xa8, 0, 9]);
                }
                frame.splice(12..12, tags);
            }
            // A checksum of zeros or ones.
            70..76 if frame.len() >= l4 + 20 => {
                let at = self.one(&[l4 + 6, l4 + 16, ETHERNET + 10]);
                let sum = self.one(&[0, 0xff]);
                frame[at..at + 2].copy_from_slice(&[sum, sum]);
            }
            _ => {}
        }
    }
}

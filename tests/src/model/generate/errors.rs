//! ICMP errors: about packets of flows, and of none, from both of their sides.

use std::net::{IpAddr, SocketAddr};

use rand::Rng as _;
use splitter_ebpf::wire::{ICMP, ICMPV6};

use super::super::Model;
use super::super::packet::ETHERNET;
use super::super::rewrite::{octets, total};
use super::super::world::address;
use super::wrapping::{Fragment, Wrapping};
use super::{Draft, Generator};

impl Generator {
    /// An error.
    pub(super) fn error(&mut self, model: &Model) -> Vec<u8> {
        let quoted = self.quoted(model);
        let v6 = quoted.from.is_ipv6();
        let mut wrapping = Wrapping::default();
        if self.chance(150) {
            wrapping = self.wrapping(v6);
        } else if self.chance(80) {
            wrapping.fragment = Some(Fragment {
                offset: self.one(&[0, 0, 0, 64]),
                more: true,
                id: self.rng.random(),
            });
        }
        let l4 = self.l4(&quoted);
        let mut quotation = self.frame(&quoted, &wrapping, &l4).split_off(ETHERNET);
        self.shorten(&mut quotation, if v6 { 40 } else { 20 });
        let message = self.message(&quotation, v6);

        let to = if self.chance(970) {
            quoted.from.ip()
        } else {
            quoted.to.ip()
        };
        let from = match self.rng.random_range(0..10) {
            0..5 => quoted.to.ip(),
            // A router that nobody knows.
            _ => address(v6, 8, self.one(&[1, 2])),
        };
        let protocol = if v6 { ICMPV6 } else { ICMP };
        let mut outer = self.draft(SocketAddr::new(from, 0), SocketAddr::new(to, 0), protocol);
        outer.data = 0;
        let message = summed(message, from, to);
        let wrapping = match self.rng.random_range(0..100) {
            0..10 => self.wrapping(v6),
            10..12 => Wrapping {
                fragment: Some(Fragment {
                    offset: self.one(&[0, 8]),
                    more: true,
                    id: 1,
                }),
                ..Wrapping::default()
            },
            _ => Wrapping::default(),
        };
        let mut frame = self.frame(&outer, &wrapping, &message);
        // So that more of them have one than other frames do.
        if self.chance(80) {
            frame.splice(12..12, [0x81, 0, 0, self.one(&[5, 7])]);
        }
        frame
    }

    /// What an error may be about: a packet of a flow as one of its ends, or who is on its way, sees it.
    fn quoted(&mut self, model: &Model) -> Draft {
        match (self.flow(model), self.rng.random_range(0..100)) {
            (Some(((client, listener), _)), 0..40) => {
                let listener = model.services.listeners[&listener];
                self.draft(listener.at, client, listener.protocol)
            }
            (Some(((client, listener), flow)), 40..85) => {
                let listener = model.services.listeners[&listener];
                let id = match self.chance(100) {
                    true => self.backend(model),
                    false => flow.backend,
                };
                let at = model.services.backends[&id].at(listener.at.port());
                let known = flow.way.map_or(client, |(_, ours, _)| ours);
                // From the VIP itself, too.
                let known = if self.chance(40) { listener.at } else { known };
                if at.is_ipv6() == known.is_ipv6() {
                    self.draft(known, at, listener.protocol)
                } else {
                    self.draft(listener.at, client, listener.protocol)
                }
            }
            (_, 85..90) => self.stranger(model),
            (_, 90..93) => self.request(model),
            _ => {
                let request = self.request(model);
                self.draft(request.to, request.from, request.protocol)
            }
        }
    }

    /// Cuts a quotation short, behind the eight bytes that every error has or anywhere.
    fn shorten(&mut self, quotation: &mut Vec<u8>, header: usize) {
        let whole = quotation.len();
        let length = match self.rng.random_range(0..20) {
            0..6 => header + 8,
            6..8 => header + 18,
            8..11 => self.rng.random_range(0..=whole),
            11..13 => 128,
            _ => whole,
        };
        quotation.truncate(length);
    }

    /// Type, code and what follows the checksum, mostly of errors that have a meaning.
    fn message(&mut self, quotation: &[u8], v6: bool) -> Vec<u8> {
        let [kind, code] = if v6 {
            self.one(&[
                [2, 0],
                [2, 0],
                [1, 4],
                [1, 0],
                [3, 0],
                [4, 1],
                [0, 0],
                [5, 0],
                [100, 1],
            ])
        } else {
            self.one(&[
                [3, 4],
                [3, 4],
                [3, 3],
                [3, 1],
                [11, 0],
                [12, 0],
                [5, 1],
                [4, 0],
                [6, 0],
            ])
        };
        let mut message = vec![kind, code, 0, 0, 0, 0, 5, 20];
        if self.chance(40) {
            message[0] = self.rng.random();
        }
        // Extensions behind the quotation, and where they begin (RFC 4884).
        if self.chance(120) {
            let (at, unit) = if v6 { (4, 8) } else { (5, 4) };
            let length = self.one(&[quotation.len() / unit, 128 / unit, 1, 255]);
            message[at] = u8::try_from(length.min(255)).expect("a byte");
        }
        message.extend(quotation);
        message.resize(message.len() + self.one(&[0, 0, 0, 3, 8]), 0x20);
        message
    }
}

/// With the checksum of an ICMP message from one address to another.
fn summed(mut message: Vec<u8>, from: IpAddr, to: IpAddr) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("short").to_be_bytes();
    let rest = [0, ICMPV6, length[0], length[1]];
    let pseudo = match from {
        IpAddr::V4(_) => Vec::new(),
        IpAddr::V6(_) => [&octets(from)[..], &octets(to), &rest].concat(),
    };
    let sum = !total(&[&pseudo, &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

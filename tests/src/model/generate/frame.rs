//! Packets as bytes, lengths and checksums right.

use rand::Rng as _;
use rand::RngCore as _;
use splitter_ebpf::wire::{ICMP, ICMPV6, TCP, UDP};

use super::super::packet::ETHERNET;
use super::super::rewrite::{octets, total};
use super::wrapping::Wrapping;
use super::{Draft, Generator};

impl Generator {
    /// A frame with this behind the headers of IP.
    pub(super) fn frame(&mut self, draft: &Draft, wrapping: &Wrapping, l4: &[u8]) -> Vec<u8> {
        let v6 = draft.from.is_ipv6();
        let mut frame = vec![2, 0xb0, 0, 0, 0, 1, 2, 0xc0, 0, 0, 0, self.one(&[1, 2, 3])];
        frame.extend(if v6 { [0x86, 0xdd] } else { [8, 0] });
        let (from, to) = (octets(draft.from.ip()), octets(draft.to.ip()));
        let length = |bytes: usize| u16::try_from(bytes).expect("short packets").to_be_bytes();
        if v6 {
            let (first, chain) = wrapping.chain(draft.protocol);
            frame.extend([0x60, self.rng.random(), 0, 9]);
            frame.extend(length(chain.len() + l4.len()));
            frame.extend([first, draft.ttl]);
            frame.extend(from.iter().chain(&to));
            frame.extend(chain);
        } else {
            let header = 20 + wrapping.options.len();
            frame.push(0x40 | u8::try_from(header / 4).expect("at most fifteen words"));
            frame.push(self.one(&[0, 0x10]));
            frame.extend(length(header + l4.len()));
            let whole = self.one(&[0x4000, 0x4000, 0x4000, 0_u16]);
            let (id, place) = match wrapping.fragment {
                Some(cut) => (cut.id, cut.place_v4()),
                None => (self.rng.next_u32(), whole),
            };
            frame.extend(&id.to_be_bytes()[2..]);
            frame.extend(place.to_be_bytes());
            frame.extend([draft.ttl, draft.protocol, 0, 0]);
            frame.extend(from.iter().chain(&to));
            frame.extend(&wrapping.options);
            let sum = (!total(&[&frame[ETHERNET..]])).to_be_bytes();
            frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum);
        }
        frame.extend(l4);
        frame
    }

    /// A header and its data, checksum and all.
    pub(super) fn l4(&mut self, draft: &Draft) -> Vec<u8> {
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
}

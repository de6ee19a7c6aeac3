//! Packets from what they mean, every checksum computed in full (RFC 1071), independently of the code
//! under test.

extern crate std;

use proptest::prelude::*;
use std::net::IpAddr;
use std::vec;
use std::vec::Vec;

use crate::unusual::rewrite::Ends;
use crate::wire::{Family, TCP, UDP, WireAddress, WirePort};

/// One side: address and port.
pub type Side = (IpAddr, u16);

/// A TCP or UDP packet.
#[derive(Debug, Clone)]
pub struct Built {
    pub from: Side,
    pub to: Side,
    pub protocol: u8,
    pub ttl: u8,
    /// IPv4 options, a multiple of four bytes, up to 40.
    pub options: Vec<u8>,
    /// IPv6 extension headers: numbers and bytes, the first of which stands for the next number.
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// UDP over IPv4 alone: whether there is a checksum.
    pub summed: bool,
    pub payload: Vec<u8>,
}

/// The full sum over bytes (RFC 1071 section 4.1), big-endian.
pub fn sum(parts: &[&[u8]]) -> u16 {
    let bytes: Vec<u8> = parts.concat();
    let mut sum = 0_u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn pseudo(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let length = u32::try_from(length).expect("short").to_be_bytes();
    [
        octets(from),
        octets(to),
        length.to_vec(),
        [0, 0, 0, protocol].to_vec(),
    ]
    .concat()
}

pub fn ip(
    from: IpAddr,
    to: IpAddr,
    ttl: u8,
    options: &[u8],
    extensions: &[(u8, Vec<u8>)],
    protocol: u8,
    data: &[u8],
) -> Vec<u8> {
    if from.is_ipv4() {
        let header = 20 + options.len();
        let total = u16::try_from(header + data.len()).expect("short");
        let mut packet = vec![0x45 + u8::try_from(options.len() / 4).expect("few"), 0];
        packet.extend(total.to_be_bytes());
        packet.extend([0xab, 0xcd, 0x40, 0, ttl, protocol, 0, 0]);
        packet.extend(octets(from));
        packet.extend(octets(to));
        packet.extend(options);
        resum_v4(&mut packet);
        packet.extend(data);
        return packet;
    }
    let mut chain = Vec::new();
    for (index, (_, bytes)) in extensions.iter().enumerate() {
        let mut bytes = bytes.clone();
        bytes[0] = extensions.get(index + 1).map_or(protocol, |next| next.0);
        chain.extend(bytes);
    }
    let first = extensions.first().map_or(protocol, |first| first.0);
    let length = u16::try_from(chain.len() + data.len()).expect("short");
    let mut packet = vec![0x60, 1, 2, 3];
    packet.extend(length.to_be_bytes());
    packet.extend([first, ttl]);
    packet.extend(octets(from));
    packet.extend(octets(to));
    packet.extend(chain);
    packet.extend(data);
    packet
}

/// Computes the checksum of an IPv4 header anew.
pub fn resum_v4(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = sum(&[&packet[..header]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

impl Built {
    pub fn family(&self) -> Family {
        Family::of(&self.from.0)
    }

    /// Its IP packet.
    pub fn packet(&self) -> Vec<u8> {
        let mut data = Vec::new();
        data.extend(self.from.1.to_be_bytes());
        data.extend(self.to.1.to_be_bytes());
        let at = if self.protocol == TCP {
            data.extend([1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x18, 4, 0, 0, 0, 0, 0]);
            16
        } else {
            let length = u16::try_from(8 + self.payload.len()).expect("short");
            data.extend(length.to_be_bytes());
            data.extend([0, 0]);
            6
        };
        data.extend(&self.payload);
        if self.summed || self.protocol == TCP || self.family() == Family::V6 {
            let mut sum = sum(&[
                &pseudo(self.from.0, self.to.0, self.protocol, data.len()),
                &data,
            ]);
            if self.protocol == UDP && sum == 0 {
                sum = 0xffff;
            }
            data[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        ip(
            self.from.0,
            self.to.0,
            self.ttl,
            &self.options,
            &self.extensions,
            self.protocol,
            &data,
        )
    }

    /// Where what follows its IP headers lies in it.
    pub fn l4(&self) -> usize {
        match self.family() {
            Family::V4 => 20 + self.options.len(),
            Family::V6 => 40 + self.extensions.iter().map(|e| e.1.len()).sum::<usize>(),
        }
    }

    /// The same between these.
    pub fn between(&self, from: Side, to: Side) -> Self {
        Self {
            from,
            to,
            ..self.clone()
        }
    }
}

/// An ICMP error from `from` to `to` that quotes `quotation`. `rest` are the four bytes after the sum.
pub fn error(
    from: IpAddr,
    to: IpAddr,
    ttl: u8,
    kind: [u8; 2],
    rest: [u8; 4],
    quotation: &[u8],
) -> Vec<u8> {
    let mut data = Vec::from(kind);
    data.extend([0, 0]);
    data.extend(rest);
    data.extend(quotation);
    let (protocol, sum) = if from.is_ipv4() {
        (1, sum(&[&data]))
    } else {
        (58, sum(&[&pseudo(from, to, 58, data.len()), &data]))
    };
    data[2..4].copy_from_slice(&sum.to_be_bytes());
    ip(from, to, ttl, &[], &[], protocol, &data)
}

/// Behind an Ethernet header.
pub fn framed(packet: &[u8]) -> Vec<u8> {
    let ethertype = if packet[0] >> 4 == 4 {
        [8, 0]
    } else {
        [0x86, 0xdd]
    };
    [&[7; 12][..], &ethertype, packet].concat()
}

pub fn ends(from: Side, to: Side) -> Ends {
    let end = |side: Side| (WireAddress::from(side.0), WirePort::new(side.1));
    Ends {
        source: end(from),
        destination: end(to),
    }
}

pub fn side(family: Family) -> BoxedStrategy<Side> {
    match family {
        Family::V4 => (any::<[u8; 4]>(), any::<u16>())
            .prop_map(|(a, port)| (IpAddr::from(a), port))
            .boxed(),
        Family::V6 => (any::<[u8; 16]>(), any::<u16>())
            .prop_map(|(a, port)| (IpAddr::from(a), port))
            .boxed(),
    }
}

pub fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

/// Option lists that are carried.
pub fn options() -> impl Strategy<Value = Vec<u8>> {
    let option = prop_oneof![
        Just(vec![1]),
        Just(vec![148, 4, 0, 0]),
        (prop_oneof![Just(7_u8), Just(68), Just(130)], 2_u8..12).prop_map(|(kind, length)| {
            let mut bytes = vec![0; usize::from(length)];
            bytes[0] = kind;
            bytes[1] = length;
            bytes
        }),
    ];
    prop::collection::vec(option, 0..6).prop_map(|options| {
        let mut bytes = Vec::new();
        for option in options {
            if bytes.len() + option.len() <= 40 {
                bytes.extend(option);
            }
        }
        bytes.resize(bytes.len().div_ceil(4) * 4, 0);
        bytes
    })
}

fn extension(number: u8) -> impl Strategy<Value = (u8, Vec<u8>)> {
    (0_u8..4, any::<u8>()).prop_map(move |(words, filling)| {
        if number == 44 {
            // Atomic: neither offset nor more.
            return (number, vec![0, 0, 0, 0, 1, 2, 3, filling]);
        }
        let mut bytes = vec![filling; 8 + 8 * usize::from(words)];
        bytes[..4].copy_from_slice(&[0, words, 1, 0]);
        (number, bytes)
    })
}

/// Chains of extension headers that are carried.
pub fn extensions() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let hop_by_hop = prop::option::of(extension(0));
    let before = prop::collection::vec(prop_oneof![extension(60), extension(43)], 0..3);
    let atomic = prop::option::of(extension(44));
    let behind = prop::option::of(extension(60));
    (hop_by_hop, before, atomic, behind).prop_map(|(first, before, atomic, behind)| {
        first
            .into_iter()
            .chain(before)
            .chain(atomic)
            .chain(behind)
            .collect()
    })
}

pub fn built_of(family: Family) -> impl Strategy<Value = Built> {
    (
        (side(family), side(family)),
        prop_oneof![Just(TCP), Just(UDP)],
        2_u8..,
        options(),
        extensions(),
        any::<bool>(),
        prop::collection::vec(any::<u8>(), 0..200),
    )
        .prop_map(
            |((from, to), protocol, ttl, options, extensions, summed, payload)| Built {
                from,
                to,
                protocol,
                ttl,
                options,
                extensions,
                summed,
                payload,
            },
        )
}

pub fn built() -> impl Strategy<Value = Built> {
    family().prop_flat_map(built_of)
}

extern crate std;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::vec::Vec;

use super::*;
use crate::headers::{Frame, Packet};
use crate::wire::Family;

const V4: [&str; 4] = ["198.19.7.7", "198.18.2.11", "198.18.0.9", "198.18.1.100"];
const V6: [&str; 4] = [
    "2001:db8:ffff::7",
    "2001:db8:2::11",
    "2001:db8::9",
    "2001:db8:1::100",
];

fn v4(text: &str) -> [u8; 4] {
    text.parse::<Ipv4Addr>().expect("an address").octets()
}

fn v6(text: &str) -> [u8; 16] {
    text.parse::<Ipv6Addr>().expect("an address").octets()
}

fn config(family: Family) -> Config {
    let mut config = Config::EMPTY;
    (config.local_count, config.vip_count, config.source_count) = (1, 1, 1);
    let (local, vip, prefix, bits) = match family {
        Family::V4 => (
            v4(V4[1]).into(),
            v4(V4[3]).into(),
            v4("198.19.0.0").into(),
            16,
        ),
        Family::V6 => (
            v6(V6[1]).into(),
            v6(V6[3]).into(),
            v6("2001:db8:ffff::").into(),
            64,
        ),
    };
    let wire = |address: std::net::IpAddr| WireAddress::from(address);
    config.locals[0] = wire(local);
    config.vips[0] = wire(vip);
    config.sources[0] = Source {
        prefix: wire(prefix),
        mask: WireAddress::prefix_mask(bits, family),
    };
    config
}

/// An IPv4 header with its checksum.
fn header_v4(from: &str, to: &str, protocol: u8, class: u8, payload: usize) -> Vec<u8> {
    let length = u16::try_from(20 + payload).expect("a short packet");
    let mut header = std::vec![0x45, class];
    header.extend(length.to_be_bytes());
    header.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    header.extend(v4(from));
    header.extend(v4(to));
    let sum = header
        .chunks(2)
        .map(|pair| u32::from(pair[0]) * 256 + u32::from(pair[1]))
        .sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("folded");
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

fn header_v6(from: &str, to: &str, next: u8, class: u8, payload: usize) -> Vec<u8> {
    let length = u16::try_from(payload).expect("a short packet");
    let mut header = std::vec![0x60 | class >> 4, class << 4, 0, 0];
    header.extend(length.to_be_bytes());
    header.extend([next, 64]);
    header.extend(v6(from));
    header.extend(v6(to));
    header
}

fn frame(ethertype: u16, parts: &[&[u8]]) -> Vec<u8> {
    let mut frame = std::vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(ethertype.to_be_bytes());
    for part in parts {
        frame.extend(*part);
    }
    frame
}

/// An IPv4 packet in IPv4, with these marks.
fn tunnel_v4(outer: u8, inner: u8) -> Vec<u8> {
    let inner = header_v4(V4[2], V4[3], 17, inner, 8);
    frame(
        0x0800,
        &[&header_v4(V4[0], V4[1], IPIP, outer, 28), &inner, &[7; 8]],
    )
}

/// An IPv6 packet in IPv6, with these marks.
fn tunnel_v6(outer: u8, inner: u8) -> Vec<u8> {
    let inner = header_v6(V6[2], V6[3], 17, inner, 8);
    frame(
        0x86dd,
        &[&header_v6(V6[0], V6[1], IP6IP6, outer, 48), &inner, &[7; 8]],
    )
}

/// The same behind a destination-options header of these bytes.
fn tunnel_v6_behind(options: [u8; 8]) -> Vec<u8> {
    let inner = header_v6(V6[2], V6[3], 17, 0, 8);
    let outer = header_v6(V6[0], V6[1], 60, 0, 56);
    frame(0x86dd, &[&outer, &options, &inner, &[7; 8]])
}

fn judged(mut bytes: Vec<u8>) -> Verdict {
    let configs = [config(Family::V4), config(Family::V6)];
    inspect(&Frame(&mut bytes), |family| {
        configs.get(family.index() as usize)
    })
}

/// The first buffer of a frame of `whole` bytes.
struct Beginning<'a> {
    frame: Frame<'a>,
    whole: usize,
}

impl Packet for Beginning<'_> {
    fn has(&self, length: usize) -> bool {
        self.frame.has(length)
    }
    fn holds(&self, length: usize) -> bool {
        self.whole >= length
    }
    fn byte(&self, at: usize) -> u8 {
        self.frame.byte(at)
    }
    fn half(&self, at: usize) -> u16 {
        self.frame.half(at)
    }
    fn word(&self, at: usize) -> u32 {
        self.frame.word(at)
    }
    fn long(&self, at: usize) -> u64 {
        self.frame.long(at)
    }
}

fn taken(inner: Inner) -> Verdict {
    Verdict::Decapsulate { inner, ecn: None }
}

#[test]
fn packets_of_a_tunnel_for_a_vip_are_taken_out_in_both_families() {
    assert_eq!(judged(tunnel_v4(0, 0)), taken(Inner::V4));
    assert_eq!(judged(tunnel_v6(0, 0)), taken(Inner::V6));
    assert_eq!(
        judged(tunnel_v6_behind([IP6IP6, 0, 4, 1, 4, 1, 1, 0])),
        taken(Inner::V6BehindLimit)
    );
}

#[test]
fn other_options_before_a_tunnel_are_left_alone() {
    for options in [
        [IP6IP6, 0, 4, 1, 4, 1, 1, 1],
        [IP6IP6, 0, 5, 2, 0, 0, 1, 0],
        [IP6IP6, 1, 4, 1, 4, 1, 1, 0],
    ] {
        assert_eq!(
            judged(tunnel_v6_behind(options)),
            Verdict::Leave(Reason::OuterOptions),
            "{options:?}"
        );
    }
    assert_eq!(
        judged(tunnel_v6_behind([17, 0, 4, 1, 4, 1, 1, 0])),
        Verdict::Leave(Reason::NotTunnelled)
    );
}

#[test]
fn an_address_beyond_those_that_count_is_not_known() {
    let mut config = config(Family::V4);
    config.vips[1] = config.vips[0];
    let [vip, other] = [config.vips[0], WireAddress::v4(7)];
    config.vips[0] = other;
    assert!(config.serves(other) && !config.serves(vip));
    assert!(!config.serves(WireAddress::default()) && !Config::EMPTY.serves(other));
    assert!(!Config::EMPTY.ends_at(WireAddress::default()));
    assert!(!Config::EMPTY.trusts(WireAddress::default()));
}

#[test]
fn the_marks_are_written_with_the_checksum_that_belongs_to_them() {
    for (outer, inner) in [(3, 1), (3, 2), (1, 2)] {
        let mut bytes = tunnel_v4(outer, inner);
        let Verdict::Decapsulate {
            inner: shape,
            ecn: Some(ecn),
        } = judged(bytes.clone())
        else {
            panic!("{outer} {inner}: no mark");
        };
        mark::<34>(&mut Frame(&mut bytes), shape, ecn);
        assert_eq!(bytes[34..54], *header_v4(V4[2], V4[3], 17, outer, 8));

        let mut bytes = tunnel_v6(outer, inner | 0xb8);
        mark::<54>(&mut Frame(&mut bytes), Inner::V6, ecn);
        assert_eq!(bytes[54..94], *header_v6(V6[2], V6[3], 17, outer | 0xb8, 8));
    }
    for tunnel in [tunnel_v4(3, 0), tunnel_v6(3, 0)] {
        assert_eq!(judged(tunnel), Verdict::Leave(Reason::CongestionUnmarkable));
    }
}

/// No byte more, no byte less: a frame cut anywhere is never taken out, and never read past its end
/// (the host's frame panics).
#[test]
fn a_frame_that_ends_anywhere_before_its_packet_does_is_not_taken_out() {
    for whole in [
        tunnel_v4(0, 0),
        tunnel_v6(0, 0),
        tunnel_v6_behind([IP6IP6, 0, 4, 1, 4, 1, 1, 0]),
    ] {
        for length in 0..whole.len() {
            let verdict = judged(whole[..length].to_vec());
            assert!(
                matches!(verdict, Verdict::Leave(_)),
                "{length}: {verdict:?}"
            );
        }
        let mut padded = whole;
        padded.extend([0; 40]);
        assert!(matches!(judged(padded), Verdict::Decapsulate { .. }));
    }
}

#[test]
fn the_whole_length_counts_where_the_frame_shows_but_its_beginning() {
    let configs = [config(Family::V4), config(Family::V6)];
    let mut bytes = tunnel_v4(0, 0);
    let whole = bytes.len();
    bytes.truncate(whole - 4);
    let mut verdict = |whole| {
        let frame = Frame(&mut bytes);
        inspect(&Beginning { frame, whole }, |family| {
            configs.get(family.index() as usize)
        })
    };
    assert_eq!(verdict(whole), taken(Inner::V4));
    assert_eq!(verdict(whole - 1), Verdict::Leave(Reason::Malformed));
}

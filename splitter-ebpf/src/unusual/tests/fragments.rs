extern crate std;

use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

use super::built::{Built, built_of, ends, family, framed, resum_v4, side};
use super::walks::{walk_all, walked};
use crate::headers::{ETHERNET, Frame};
use crate::rewrite::take_hop;
use crate::unusual::{Part, rewrite, segment};
use crate::wire::{Family, TCP, UDP, WireAddress};

/// One fragment of an IPv4 packet: so many of its bytes behind the header, from an offset on.
fn fragment_v4(packet: &[u8], offset: usize, data: &[u8], more: bool) -> Vec<u8> {
    let header = usize::from(packet[0] & 15) * 4;
    let mut fragment = packet[..header].to_vec();
    let total = u16::try_from(header + data.len()).expect("short");
    fragment[2..4].copy_from_slice(&total.to_be_bytes());
    let place = u16::try_from(offset / 8).expect("near") | if more { 0x2000 } else { 0 };
    fragment[6..8].copy_from_slice(&place.to_be_bytes());
    resum_v4(&mut fragment);
    fragment.extend(data);
    fragment
}

/// The same of an IPv6 packet without extension headers.
fn fragment_v6(packet: &[u8], offset: usize, data: &[u8], more: bool) -> Vec<u8> {
    let mut fragment = packet[..40].to_vec();
    let length = u16::try_from(8 + data.len()).expect("short");
    fragment[4..6].copy_from_slice(&length.to_be_bytes());
    fragment[6] = 44;
    let place = u16::try_from(offset).expect("near") | u16::from(more);
    fragment.extend([packet[6], 0]);
    fragment.extend(place.to_be_bytes());
    fragment.extend([0xde, 0xad, 0xbe, 0xef]);
    fragment.extend(data);
    fragment
}

pub fn fragment(packet: &[u8], offset: usize, data: &[u8], more: bool) -> Vec<u8> {
    if packet[0] >> 4 == 4 {
        fragment_v4(packet, offset, data, more)
    } else {
        fragment_v6(packet, offset, data, more)
    }
}

proptest! {
    #[test]
    fn fragments_of_a_packet_become_those_of_the_rewritten_one(
        (built, to) in family().prop_flat_map(|f| (built_of(f), (side(f), side(f)))), cut in 3_usize..20
    ) {
        let built = Built { extensions: Vec::new(), ..built };
        let family = built.family();
        let whole = built.packet();
        let l4 = built.l4();
        let cut = cut * 8;
        prop_assume!(whole.len() - l4 > cut);
        let expected = Built { ttl: built.ttl - 1, ..built.between(to.0, to.1) }.packet();

        let mut first = framed(&fragment(&whole, 0, &whole[l4..l4 + cut], true));
        let extent = walk_all(&mut first, family).expect("a fragment");
        prop_assert_eq!((extent.part, extent.refusal), (Part::First, None));
        prop_assert!(segment(&Frame(&mut first), family, &extent).is_some());
        rewrite::ends(&mut Frame(&mut first), family, &extent, &ends(to.0, to.1));
        take_hop(&mut Frame(&mut first), family, ETHERNET);
        prop_assert_eq!(first, framed(&fragment(&expected, 0, &expected[l4..l4 + cut], true)));

        let mut later = framed(&fragment(&whole, cut, &whole[l4 + cut..], false));
        let extent = walk_all(&mut later, family).expect("a fragment");
        prop_assert_eq!((extent.part, extent.offset, extent.protocol), (Part::Later, cut, built.protocol));
        prop_assert_eq!(extent.l4 + whole.len() - l4 - cut, later.len());
        let hosts = (WireAddress::from(to.0.0), WireAddress::from(to.1.0));
        let _ = rewrite::hosts(&mut Frame(&mut later), family, ETHERNET, hosts.0, hosts.1);
        take_hop(&mut Frame(&mut later), family, ETHERNET);
        prop_assert_eq!(later, framed(&fragment(&expected, cut, &expected[l4 + cut..], false)));
    }
}

fn sample(family: Family, protocol: u8) -> Vec<u8> {
    let [from, to] = match family {
        Family::V4 => ["198.18.0.9", "198.18.1.100"],
        Family::V6 => ["2001:db8::9", "2001:db8:1::100"],
    }
    .map(|a| a.parse().expect("address"));
    Built {
        from: (from, 40_000),
        to: (to, 80),
        protocol,
        ttl: 64,
        options: Vec::new(),
        extensions: Vec::new(),
        summed: true,
        payload: vec![9; 200],
    }
    .packet()
}

#[test]
fn all_fragments_of_a_packet_have_one_identification_and_it_is_theirs() {
    for (family, id) in [
        (Family::V4, u32::from(u16::from_ne_bytes([0xab, 0xcd]))),
        (Family::V6, u32::from_ne_bytes([0xde_u8, 0xad, 0xbe, 0xef])),
    ] {
        let whole = sample(family, UDP);
        for (offset, more) in [(0, true), (64, true), (128, false)] {
            let extent =
                walked(&fragment(&whole, offset, &[1; 64], more), family).expect("a fragment");
            assert_eq!(extent.id, id);
        }
    }
}

#[test]
fn fragments_that_could_not_make_up_a_packet_are_malformed() {
    for family in Family::ALL {
        let fate = |protocol, offset, length, more| {
            let whole = sample(family, protocol);
            walked(&fragment(&whole, offset, &vec![0; length], more), family).is_some()
        };
        assert!(fate(UDP, 8, 8, true));
        assert!(fate(UDP, 8, 3, false), "the last one ends anywhere");
        assert!(!fate(UDP, 8, 12, true), "the others do not");
        assert!(!fate(UDP, 0, 12, true));
        assert!(!fate(UDP, 8, 0, true), "of nothing");
        assert!(!fate(UDP, 8, 0, false));
        // Into the TCP header (RFC 1858 section 3, RFC 5722).
        assert!(!fate(TCP, 8, 8, true));
        assert!(!fate(TCP, 16, 8, false));
        assert!(fate(TCP, 24, 8, false));
        // Longer than any packet.
        assert!(!fate(UDP, 65_528, 8, false));
        assert!(fate(UDP, 65_528, 7, false));
    }
}

#[test]
fn a_first_fragment_holds_the_whole_header_behind_ip() {
    for family in Family::ALL {
        let holds = |protocol, length| {
            let whole = sample(family, protocol);
            let l4 = whole.len() - 200 - if protocol == TCP { 20 } else { 8 };
            let mut frame = framed(&fragment(&whole, 0, &whole[l4..l4 + length], true));
            let extent = walk_all(&mut frame, family).expect("a fragment");
            segment(&Frame(&mut frame), family, &extent).is_some()
        };
        assert!(!holds(TCP, 8), "{family:?}");
        assert!(!holds(TCP, 16), "{family:?}");
        assert!(holds(TCP, 24), "{family:?}");
        assert!(holds(UDP, 8), "{family:?}");
    }
}

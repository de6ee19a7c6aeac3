extern crate std;

use proptest::prelude::*;
use std::net::IpAddr;
use std::vec;
use std::vec::Vec;

use super::built::{Built, built, built_of, ends, framed, ip, resum_v4, side};
use crate::headers::{ETHERNET, Frame};
use crate::rewrite::take_hop;
use crate::unusual::{Extent, HEADERS, Part, rewrite, segment, walk};
use crate::verdict::Reason;
use crate::wire::{Family, TCP, UDP, WireAddress, WirePort};

/// What [`walk`] finds in a whole frame.
pub fn walk_all(frame: &mut [u8], family: Family) -> Option<Extent> {
    let length = frame.len();
    walk(&Frame(frame), family, length)
}

pub fn walked(packet: &[u8], family: Family) -> Option<Extent> {
    walk_all(&mut framed(packet), family)
}

fn v4(options: &[u8], protocol: u8, data: &[u8]) -> Vec<u8> {
    let [from, to] = ["198.18.0.9", "198.18.1.100"].map(|a| a.parse::<IpAddr>().expect("address"));
    ip(from, to, 64, options, &[], protocol, data)
}

fn v6(extensions: &[(u8, Vec<u8>)], protocol: u8, data: &[u8]) -> Vec<u8> {
    let [from, to] =
        ["2001:db8::9", "2001:db8:1::100"].map(|a| a.parse::<IpAddr>().expect("address"));
    ip(from, to, 64, &[], extensions, protocol, data)
}

proptest! {
    #[test]
    fn a_whole_packet_is_read_where_it_lies(built in built(), padding in 0_usize..20) {
        let mut packet = built.packet();
        let end = ETHERNET + packet.len();
        packet.extend(vec![0xee; padding]);
        let extent = walked(&packet, built.family()).expect("whole");
        prop_assert_eq!(extent.l3, ETHERNET);
        prop_assert_eq!(extent.l4, ETHERNET + built.l4());
        prop_assert_eq!(extent.end, end);
        prop_assert_eq!(extent.protocol, built.protocol);
        prop_assert_eq!(extent.part, Part::Whole);
        prop_assert_eq!(extent.refusal, None);
        let (read, payload) = segment(&Frame(&mut framed(&packet)), built.family(), &extent).expect("whole");
        prop_assert_eq!((read.source, read.source_port), (WireAddress::from(built.from.0), WirePort::new(built.from.1)));
        prop_assert_eq!((read.destination, read.destination_port), (WireAddress::from(built.to.0), WirePort::new(built.to.1)));
        prop_assert_eq!(read.flags, if built.protocol == TCP { 0x18 } else { 0 });
        prop_assert_eq!(payload, !built.payload.is_empty());
    }

    #[test]
    fn changed_ends_leave_a_packet_as_if_it_had_been_sent_so(
        (built, to) in super::built::family().prop_flat_map(|f| (built_of(f), (side(f), side(f))))
    ) {
        let mut frame = framed(&built.packet());
        let extent = walk_all(&mut frame, built.family()).expect("whole");
        rewrite::ends(&mut Frame(&mut frame), built.family(), &extent, &ends(to.0, to.1));
        take_hop(&mut Frame(&mut frame), built.family(), ETHERNET);
        let expected = Built { ttl: built.ttl - 1, ..built.between(to.0, to.1) };
        prop_assert_eq!(frame, framed(&expected.packet()));
    }

    #[test]
    fn no_bytes_make_it_read_beyond_the_frame(bytes in prop::collection::vec(any::<u8>(), 0..200), real in any::<bool>(), v6 in any::<bool>(), start in built()) {
        let mut frame = if real {
            let mut frame = framed(&start.packet());
            let cut = bytes.len() % (frame.len() + 1);
            frame.truncate(cut);
            for (byte, noise) in frame.iter_mut().zip(&bytes).skip(14) {
                if noise % 8 == 0 {
                    *byte = *noise;
                }
            }
            frame
        } else {
            bytes
        };
        let family = if v6 { Family::V6 } else { Family::V4 };
        // Reading beyond the slice panics.
        let length = frame.len();
        let packet = Frame(&mut frame);
        if let Some(extent) = walk(&packet, family, length)
            && crate::unusual::has_ports(extent.protocol)
            && extent.part != Part::Later
        {
            let _ = segment(&packet, family, &extent);
        }
    }

    #[test]
    fn source_routes_are_refused_wherever_they_stand(
        before in prop::collection::vec(prop_oneof![Just(vec![1]), Just(vec![148, 4, 9, 9]), Just(vec![7, 5, 9, 9, 9])], 0..6),
        kind in prop_oneof![Just(131_u8), Just(137)]
    ) {
        let mut list = before.concat();
        list.resize(list.len().div_ceil(4) * 4, 1);
        list.extend([kind, 7, 4, 198, 18, 0, 1, 0]);
        let packet = v4(&list, UDP, &[0; 8]);
        prop_assert_eq!(walked(&packet, Family::V4).expect("whole").refusal, Some(Reason::Ipv4Options));
    }
}

#[test]
fn option_lists_that_do_not_end_in_the_header_are_refused() {
    let refusal = |list: &[u8]| {
        walked(&v4(list, UDP, &[0; 8]), Family::V4)
            .expect("whole")
            .refusal
    };
    for broken in [
        &[7, 5, 0, 0][..],
        &[7, 1, 0, 0],
        &[7, 0, 0, 0],
        &[1, 1, 1, 7],
        &[68, 255, 1, 1],
    ] {
        assert_eq!(refusal(broken), Some(Reason::Ipv4Options), "{broken:?}");
    }
    // What stands behind the end of the list is not an option.
    for whole in [
        &[0, 131, 7, 4][..],
        &[1; 40],
        &[148, 4, 0, 0],
        &[7, 4, 4, 0, 1, 1, 1, 0],
    ] {
        assert_eq!(refusal(whole), None, "{whole:?}");
    }
}

#[test]
fn headers_that_do_not_fit_are_malformed() {
    let good = v4(&[1, 1, 1, 0], TCP, &[0x50; 20]);
    assert!(walked(&good, Family::V4).is_some());
    for (at, value) in [(0, 0x44), (0, 0x65), (0, 0x4f), (3, 23), (3, 45)] {
        let mut packet = good.clone();
        packet[at] = value;
        assert_eq!(walked(&packet, Family::V4), None, "{value:#x} at {at}");
    }
    let good = v6(&[(60, vec![0; 8])], UDP, &[0, 1, 0, 1, 0, 8, 0, 0]);
    assert!(walked(&good, Family::V6).is_some());
    // An extension header longer than its packet, and a packet that ends before one.
    for (at, value) in [(0, 0x50), (41, 2), (5, 7), (5, 17)] {
        let mut packet = good.clone();
        packet[at] = value;
        assert_eq!(walked(&packet, Family::V6), None, "{value:#x} at {at}");
    }
}

#[test]
fn extension_headers_are_carried_or_refused_by_number_and_count() {
    let header = || vec![0, 0, 1, 0, 0, 0, 0, 0];
    let refusal = |chain: &[u8]| {
        let chain: Vec<_> = chain.iter().map(|number| (*number, header())).collect();
        let extent = walked(&v6(&chain, UDP, &[0; 8]), Family::V6).expect("whole");
        (extent.refusal.is_none()).then_some(extent.protocol)
    };
    for carried in [
        &[][..],
        &[0],
        &[60],
        &[43],
        &[0, 60, 43, 60],
        &[60; HEADERS],
    ] {
        assert_eq!(refusal(carried), Some(UDP), "{carried:?}");
    }
    for refused in [
        &[51][..],
        &[135],
        &[139],
        &[140],
        &[60, 0],
        &[0, 0],
        &[0, 51],
        &[60; HEADERS + 1],
    ] {
        assert_eq!(refusal(refused), None, "{refused:?}");
    }
    let mut routed = header();
    routed[3] = 1;
    let extent = walked(&v6(&[(43, routed)], UDP, &[0; 8]), Family::V6).expect("whole");
    assert_eq!(
        (extent.refusal, extent.protocol),
        (Some(Reason::Ipv6Extension), UDP)
    );
}

#[test]
fn an_ipv6_packet_that_is_not_cut_is_whole_and_is_cut_once() {
    let atomic = || (44, vec![0, 0, 0, 0, 1, 2, 3, 4]);
    let extent = walked(&v6(&[atomic()], UDP, &[0; 8]), Family::V6).expect("whole");
    assert_eq!((extent.part, extent.refusal), (Part::Whole, None));
    let twice = walked(&v6(&[atomic(), atomic()], UDP, &[0; 8]), Family::V6).expect("whole");
    assert_eq!(twice.refusal, Some(Reason::Ipv6Extension));
}

#[test]
fn tcp_and_udp_headers_that_contradict_their_packet_are_malformed() {
    let read = |protocol, data: &[u8]| {
        let mut frame = framed(&v4(&[], protocol, data));
        let extent = walk_all(&mut frame, Family::V4).expect("whole");
        segment(&Frame(&mut frame), Family::V4, &extent).map(|(_, payload)| payload)
    };
    let tcp = |header: u8, length: usize| {
        let mut data = vec![0; length];
        if length > 12 {
            data[12] = header << 4;
        }
        read(TCP, &data)
    };
    assert_eq!(tcp(5, 20), Some(false));
    assert_eq!(tcp(6, 25), Some(true));
    for (header, length) in [(5, 19), (4, 20), (6, 20), (15, 59)] {
        assert_eq!(tcp(header, length), None, "{header} words in {length}");
    }
    let udp = |said: u8, length: usize| {
        let mut data = vec![0; length];
        if length > 5 {
            data[5] = said;
        }
        read(UDP, &data)
    };
    assert_eq!(udp(8, 8), Some(false));
    assert_eq!(udp(9, 12), Some(true));
    for (said, length) in [(8, 7), (7, 8), (9, 8), (0, 8)] {
        assert_eq!(udp(said, length), None, "{said} said of {length}");
    }
}

#[test]
fn a_frame_that_is_cut_anywhere_is_malformed() {
    let mut packet = v4(&[1; 8], UDP, &[0, 1, 0, 2, 0, 12, 0, 0, 1, 2, 3, 4]);
    resum_v4(&mut packet);
    for length in 0..packet.len() {
        assert_eq!(
            walked(&packet[..length.max(1)], Family::V4),
            None,
            "{length}"
        );
    }
}

#[test]
fn headers_that_end_with_the_frame_are_not_read_beyond_it() {
    // An option without its length, and a fragment header of seven bytes.
    let packet = v4(&[1, 1, 1, 7], UDP, &[]);
    let refusal = walked(&packet, Family::V4).expect("whole").refusal;
    assert_eq!(refusal, Some(Reason::Ipv4Options));
    let mut packet = v6(&[(44, vec![0; 8])], UDP, &[]);
    packet[5] = 7;
    packet.pop();
    assert_eq!(walked(&packet, Family::V6), None);
}

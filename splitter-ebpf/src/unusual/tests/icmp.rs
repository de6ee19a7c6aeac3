extern crate std;

use proptest::prelude::*;
use std::net::IpAddr;
use std::vec;
use std::vec::Vec;

use super::built::{Built, Side, built_of, ends, error, family, framed, side};
use super::fragments::fragment;
use super::walks::{walk_all, walked};
use crate::headers::{ETHERNET, Frame};
use crate::rewrite::take_hop;
use crate::unusual::quote::{Message, Quote, message, quote};
use crate::unusual::rewrite;
use crate::wire::{Family, TCP, UDP, WireAddress, WirePort};

/// The quotation that `frame`, an ICMP error, has.
fn read(frame: &mut [u8], family: Family) -> Option<Quote> {
    let extent = walk_all(frame, family)?;
    quote(&Frame(frame), family, &extent)
}

fn kind(family: Family) -> [u8; 2] {
    match family {
        Family::V4 => [3, 4],
        Family::V6 => [2, 0],
    }
}

proptest! {
    /// The whole promise: an error about one packet becomes, byte for byte, the error that would have
    /// been sent about the other.
    #[test]
    fn an_error_about_a_packet_becomes_one_about_the_rewritten_packet(
        (built, to, from_outer, to_outer) in family().prop_flat_map(|f| (built_of(f), (side(f), side(f)), (side(f), side(f)), (side(f), side(f)))),
        quoted in 8_usize..240, rest in any::<[u8; 2]>(), ttl in 2_u8..
    ) {
        // Half a checksum cannot be kept right.
        prop_assume!(quoted != 17);
        let family = built.family();
        let about = |built: &Built, (from, to): (Side, Side), ttl| {
            let packet = built.packet();
            let length = packet.len().min(built.l4() + quoted);
            error(from.0, to.0, ttl, kind(family), [0, 0, rest[0], rest[1]], &packet[..length])
        };
        let mut frame = framed(&about(&built, from_outer, ttl));
        let expected = about(&built.between(to.0, to.1), to_outer, ttl - 1);

        let extent = walk_all(&mut frame, family).expect("whole");
        let found = quote(&Frame(&mut frame), family, &extent).expect("quotes");
        prop_assert_eq!(found.source, (WireAddress::from(built.from.0), WirePort::new(built.from.1)));
        prop_assert_eq!(found.destination, (WireAddress::from(built.to.0), WirePort::new(built.to.1)));
        prop_assert_eq!(found.extent.protocol, built.protocol);
        let outer = (WireAddress::from(to_outer.0.0), WireAddress::from(to_outer.1.0));
        rewrite::error(&mut Frame(&mut frame), family, &extent, &found, &ends(to.0, to.1), outer);
        take_hop(&mut Frame(&mut frame), family, ETHERNET);
        prop_assert_eq!(frame, framed(&expected));
    }

    #[test]
    fn no_bytes_in_an_error_make_it_read_beyond_the_frame(
        built in family().prop_flat_map(built_of), noise in prop::collection::vec(any::<u8>(), 0..120), length in 0_usize..200
    ) {
        let family = built.family();
        let mut quotation = built.packet();
        for (byte, noise) in quotation.iter_mut().zip(&noise) {
            if noise % 8 == 0 {
                *byte = *noise;
            }
        }
        quotation.truncate(length);
        let packet = error(built.from.0, built.to.0, 64, kind(family), [0, noise.first().copied().unwrap_or(0), 0, 0], &quotation);
        let mut frame = framed(&packet);
        // Reading or writing beyond the slice panics.
        let extent = walk_all(&mut frame, family).expect("whole");
        if let Some(found) = quote(&Frame(&mut frame), family, &extent) {
            let (source, destination) = (found.source, found.destination);
            let same = rewrite::Ends { source, destination };
            let outer = (WireAddress::from(built.from.0), WireAddress::from(built.to.0));
            let before = frame.clone();
            rewrite::error(&mut Frame(&mut frame), family, &extent, &found, &same, outer);
            // Sums of 0 and of all ones mean the same, and only sums may have become the other one.
            let differing = frame.iter().zip(&before).filter(|(a, b)| a != b).count();
            prop_assert!(differing <= 6, "{} bytes", differing);
        }
    }
}

fn sample(family: Family, protocol: u8) -> Built {
    let [from, to] = match family {
        Family::V4 => ["198.18.1.100", "198.18.0.9"],
        Family::V6 => ["2001:db8:1::100", "2001:db8::9"],
    }
    .map(|a| a.parse().expect("address"));
    Built {
        from: (from, 80),
        to: (to, 40_000),
        protocol,
        ttl: 64,
        options: Vec::new(),
        extensions: Vec::new(),
        summed: true,
        payload: vec![9; 200],
    }
}

fn framed_error(built: &Built, rest: [u8; 4], quotation: &[u8]) -> Vec<u8> {
    let family = built.family();
    framed(&error(
        built.to.0,
        built.from.0,
        64,
        kind(family),
        rest,
        quotation,
    ))
}

#[test]
fn quotations_without_ports_are_not_read() {
    for family in Family::ALL {
        let built = sample(family, TCP);
        let (packet, l4) = (built.packet(), built.l4());
        let reads =
            |quotation: &[u8]| read(&mut framed_error(&built, [0; 4], quotation), family).is_some();
        assert!(reads(&packet[..l4 + 8]));
        assert!(!reads(&packet[..l4 + 7]), "seven bytes behind IP");
        assert!(!reads(&packet[..12]));
        assert!(!reads(&[]));
        assert!(
            reads(&fragment(&packet, 0, &packet[l4..l4 + 24], true)),
            "a first fragment"
        );
        assert!(
            !reads(&fragment(&packet, 24, &packet[l4..l4 + 24], true)),
            "a later fragment"
        );
        let mut other = packet.clone();
        other[[9, 6][family.index() as usize]] = 47;
        assert!(!reads(&other), "GRE");
        other = packet;
        other[0] ^= 0x20;
        assert!(!reads(&other), "another version");
    }
}

#[test]
fn an_extension_of_the_error_is_not_taken_for_the_quotation() {
    // RFC 4884: the quotation's length is given, and an extension structure follows it.
    for (family, place, unit, kind) in [(Family::V4, 1, 4, [11, 0]), (Family::V6, 0, 8, [1, 4])] {
        let built = sample(family, TCP);
        let packet = built.packet();
        let mut rest = [0; 4];
        rest[place] = u8::try_from(128 / unit).expect("small");
        let quotation = [&packet[..128], &[0x20, 0, 1, 2, 3, 4, 5, 6]].concat();
        let mut frame = framed(&error(built.to.0, built.from.0, 64, kind, rest, &quotation));
        let found = read(&mut frame, family).expect("quotes");
        assert_eq!(found.extent.end, found.extent.l3 + 128, "{family:?}");
    }
    // The low half of an MTU is no length.
    let built = sample(Family::V6, UDP);
    let packet = built.packet();
    let mut frame = framed_error(&built, [1, 0, 5, 0], &packet);
    let found = read(&mut frame, Family::V6).expect("quotes");
    assert_eq!(found.extent.end, found.extent.l3 + packet.len());
}

#[test]
fn a_checksum_beyond_the_quoted_packet_is_left_alone() {
    // Eight bytes of TCP, and then what is not the packet's: it says itself that it ends there.
    let built = sample(Family::V4, TCP);
    let packet = built.packet();
    let mut quotation = packet[..28].to_vec();
    quotation[3] = 28;
    quotation[2] = 0;
    super::built::resum_v4(&mut quotation);
    quotation.extend([0x77; 40]);
    let mut frame = framed_error(&built, [0; 4], &quotation);
    let extent = walk_all(&mut frame, Family::V4).expect("whole");
    let found = quote(&Frame(&mut frame), Family::V4, &extent).expect("quotes");
    let to: Side = ("198.18.2.1".parse().expect("address"), 8080);
    let outer = (
        WireAddress::from(built.to.0),
        WireAddress::from(built.from.0),
    );
    rewrite::error(
        &mut Frame(&mut frame),
        Family::V4,
        &extent,
        &found,
        &ends(to, built.to),
        outer,
    );
    assert_eq!(frame[frame.len() - 40..], [0x77; 40]);
}

#[test]
fn fragments_of_an_error_are_not_read() {
    for family in Family::ALL {
        let built = sample(family, TCP);
        let whole = error(
            built.to.0,
            built.from.0,
            64,
            kind(family),
            [0; 4],
            &built.packet(),
        );
        let l4 = if family == Family::V4 { 20 } else { 40 };
        let first = fragment(&whole, 0, &whole[l4..l4 + 96], true);
        assert!(walked(&first, family).is_some());
        assert_eq!(read(&mut framed(&first), family), None);
    }
}

#[test]
fn messages_are_told_apart_by_their_type() {
    let kinds = |family, expected: &[Message]| -> Vec<u8> {
        (0..=255)
            .filter(|kind| {
                let mut bytes = [*kind, 0];
                expected.contains(&message(&Frame(&mut bytes), family, 0))
            })
            .collect()
    };
    assert_eq!(kinds(Family::V4, &[Message::Error]), [3, 11, 12]);
    assert_eq!(kinds(Family::V4, &[Message::OtherError]), [4, 5]);
    assert_eq!(kinds(Family::V4, &[Message::EchoRequest]), [8]);
    assert_eq!(kinds(Family::V6, &[Message::Error]), [1, 2, 3, 4]);
    assert_eq!(kinds(Family::V6, &[Message::EchoRequest]), [128]);
    let others: Vec<u8> = (129..=255).collect();
    assert_eq!(kinds(Family::V6, &[Message::Other]), others);
}

#[test]
fn the_address_of_an_error_and_of_its_quotation_are_apart() {
    // An error from a router: neither end of the packet that it quotes.
    let built = sample(Family::V4, UDP);
    let router: IpAddr = "198.18.9.9".parse().expect("address");
    let mut frame = framed(&error(
        router,
        built.from.0,
        64,
        [11, 0],
        [0; 4],
        &built.packet(),
    ));
    let found = read(&mut frame, Family::V4).expect("quotes");
    assert_eq!(found.icmp, ETHERNET + 20);
    assert_eq!(found.source.0, WireAddress::from(built.from.0));
}

#[test]
fn what_is_not_quoted_is_not_written() {
    // Writing beyond the slice panics.
    for family in Family::ALL {
        let built = sample(family, TCP);
        let to = built.between((built.to.0, 1), (built.from.0, 2));
        for length in (8..=20).filter(|length| *length != 17) {
            let [quotation, expected] =
                [&built, &to].map(|b| b.packet()[..b.l4() + length].to_vec());
            let mut frame = framed_error(&built, [0; 4], &quotation);
            let extent = walk_all(&mut frame, family).expect("whole");
            let found = quote(&Frame(&mut frame), family, &extent).expect("quotes");
            let outer = (
                WireAddress::from(built.to.0),
                WireAddress::from(built.from.0),
            );
            let ends = ends(to.from, to.to);
            rewrite::error(
                &mut Frame(&mut frame),
                family,
                &extent,
                &found,
                &ends,
                outer,
            );
            assert_eq!(frame, framed_error(&built, [0; 4], &expected), "{length}");
        }
    }
}

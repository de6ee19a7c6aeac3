//! What must hold of any frame whatever, as functions of the fuzzer's bytes.
//!
//! Each target is one function here; `fuzz_targets/` hands bytes to it, and the tests of this package
//! hand it the corpus. A panic is a finding: of an assertion here, or of a read beyond the frame, which
//! the kernel's verifier would refuse or the program would take for another packet.

mod answers;
mod sums;
mod unusual;

pub use answers::answers;
pub use unusual::{errors, fragments};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use splitter_ebpf::headers::{
    ETHERNET, Extent, Frame, Parsed, Portless, Segment, What, extent, parse,
};
use splitter_ebpf::rewrite::{End, Layers, echo_reply, may_hop, translate};
use splitter_ebpf::wire::{Family, UDP, WireAddress, WirePort};

/// The bytes before the frame: an address, a port, and which end is translated.
const ORDERS: usize = 19;

/// A TCP or UDP segment whose lengths agree is what others take it for; translated, it is as long, its
/// right checksums are right, and translated back it is the same but for its hops.
pub fn segments(data: &[u8]) {
    let Some((orders, frame)) = data.split_at_checked(ORDERS) else {
        return;
    };
    let mut frame = frame.to_vec();
    let parsed = parse(&Frame(&mut frame));
    let (segment, family) = match parsed {
        Parsed::V4(segment) => (segment, Family::V4),
        Parsed::V6(segment) => (segment, Family::V6),
        Parsed::Portless(_) | Parsed::NotIp => return,
    };
    let Some(Extent { total, payload }) = extent(&Frame(&mut frame), &segment, family) else {
        return;
    };
    assert!(ETHERNET + total <= frame.len());
    agrees_with_others(&frame, &segment, payload);
    if !may_hop(&Frame(&mut frame), family) {
        return;
    }
    let mut address = [0; 4];
    for (word, bytes) in address.iter_mut().zip(orders.chunks_exact(4)) {
        *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    if family == Family::V4 {
        address[1..].fill(0);
    }
    let new = (
        WireAddress(address),
        WirePort(u16::from_ne_bytes([orders[16], orders[17]])),
    );
    let (end, old) = if orders[18] & 1 == 0 {
        (End::Source, (segment.source, segment.source_port))
    } else {
        (
            End::Destination,
            (segment.destination, segment.destination_port),
        )
    };
    there_and_back(&frame, family, segment.protocol, end, [old, new]);
}

type Place = (WireAddress, WirePort);

fn put(frame: &mut [u8], family: Family, protocol: u8, end: End, (address, port): Place) {
    let layers = Layers::plain(family);
    translate(
        &mut Frame(frame),
        family,
        layers,
        protocol,
        end,
        address,
        port,
    );
}

fn there_and_back(frame: &[u8], family: Family, protocol: u8, end: End, [old, new]: [Place; 2]) {
    let right = sums::right(frame, family, protocol);
    let mut there = frame.to_vec();
    put(&mut there, family, protocol, end, new);
    assert_eq!(there.len(), frame.len());
    assert_eq!(
        right,
        sums::right(&there, family, protocol),
        "checksums there"
    );
    let (Parsed::V4(now) | Parsed::V6(now)) = parse(&Frame(&mut there)) else {
        panic!("a translated segment is none any more");
    };
    let named = match end {
        End::Source => (now.source, now.source_port),
        End::Destination => (now.destination, now.destination_port),
    };
    assert_eq!(named, new, "the place it was translated to");
    assert_eq!(
        sums::but_sums_and_places(frame, family, protocol, 1),
        sums::but_sums_and_places(&there, family, protocol, 0)
    );
    if !may_hop(&Frame(&mut there), family) {
        return;
    }
    let mut back = there;
    put(&mut back, family, protocol, end, old);
    assert_eq!(
        right,
        sums::right(&back, family, protocol),
        "checksums back"
    );
    assert_eq!(
        sums::but_sums(frame, family, protocol, 2),
        sums::but_sums(&back, family, protocol, 0),
        "there and back"
    );
    if protocol == UDP {
        let sum = ETHERNET + if family == Family::V4 { 20 } else { 40 } + 6;
        assert_eq!(
            frame[sum..sum + 2] == [0, 0],
            back[sum..sum + 2] == [0, 0],
            "no checksum stays none"
        );
    }
}

/// Another parser, that knows all of IP, sees the same segment.
fn agrees_with_others(frame: &[u8], segment: &Segment, carries_data: bool) {
    let sliced = SlicedPacket::from_ethernet(frame);
    let Ok(sliced) = sliced else {
        panic!("only we take it for a segment: {:?}", sliced.err());
    };
    let (source, destination) = match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        Some(NetSlice::Ipv6(ip)) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        other => panic!("a segment in {other:?}"),
    };
    assert_eq!((segment.source, segment.destination), (source, destination));
    let (source, destination, has_data) = match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => (
            tcp.source_port(),
            tcp.destination_port(),
            !tcp.payload().is_empty(),
        ),
        Some(TransportSlice::Udp(udp)) => (
            udp.source_port(),
            udp.destination_port(),
            !udp.payload().is_empty(),
        ),
        other => panic!("a segment in {other:?}"),
    };
    assert_eq!(
        (
            segment.source_port.get(),
            segment.destination_port.get(),
            carries_data
        ),
        (source, destination, has_data)
    );
}

/// An echo request becomes a reply of its length, to its sender, whose right checksums are right.
pub fn echoes(data: &[u8]) {
    let mut frame = data.to_vec();
    let Parsed::Portless(Portless {
        family,
        what: What::EchoRequest,
        destination,
    }) = parse(&Frame(&mut frame))
    else {
        return;
    };
    let mut reply = frame.clone();
    let hop = echo_reply(&mut Frame(&mut reply), family, 7);
    assert_eq!(hop.ifindex, 7);
    assert_eq!(reply.len(), frame.len());
    assert_eq!(reply[..12], [&frame[6..12], &frame[..6]].concat());
    let (at, size) = if family == Family::V4 {
        (12, 4)
    } else {
        (8, 16)
    };
    let at = ETHERNET + at;
    assert_eq!(reply[at..at + size], frame[at + size..at + 2 * size]);
    assert_eq!(reply[at + size..at + 2 * size], frame[at..at + size]);
    assert_eq!(
        sums::icmp_is_right(&frame, family),
        sums::icmp_is_right(&reply, family),
        "checksums"
    );
    // What it answers is answered no more: two hosts never send one echo for ever.
    assert!(!matches!(
        parse(&Frame(&mut reply)),
        Parsed::Portless(Portless {
            what: What::EchoRequest,
            ..
        })
    ));
    let _unused = destination;
}

#[cfg(test)]
mod tests {
    use super::{echoes, segments};
    use std::fs;
    use std::path::Path;

    /// Every seed of a target's corpus, and each of it cut short and with each byte changed.
    fn corpus(target: &str, check: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target);
        let mut seeds = 0;
        for file in fs::read_dir(folder).expect("a corpus").flatten() {
            let seed = fs::read(file.path()).expect("a seed");
            seeds += 1;
            check(&seed);
            for at in 0..seed.len() {
                check(&seed[..at]);
                for bit in 0..8 {
                    let mut other = seed.clone();
                    other[at] ^= 1 << bit;
                    check(&other);
                }
            }
        }
        assert!(seeds > 0, "no seeds for {target}");
    }

    #[test]
    fn segments_hold_for_the_corpus_and_around_it() {
        corpus("segments", segments);
    }

    #[test]
    fn answers_hold_for_the_corpus_and_around_it() {
        corpus("answers", super::answers);
    }

    #[test]
    fn unusual_packets_hold_for_the_corpus_and_around_it() {
        corpus("unusual", super::fragments);
    }

    #[test]
    fn errors_hold_for_the_corpus_and_around_it() {
        corpus("errors", super::errors);
    }

    #[test]
    fn echoes_hold_for_the_corpus_and_around_it() {
        corpus("echoes", echoes);
    }
}

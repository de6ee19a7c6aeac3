use super::*;
use crate::flow::{ACK, SYN};

/// Nobody is told anything about this.
fn assert_silent(what: &str, frame: &[u8]) {
    for reason in Reason::ALL {
        assert_eq!(answer(frame, *reason, 1400), None, "{what}: {reason:?}");
    }
}

/// What `change` makes of a datagram of each family.
fn changed(what: &str, change: impl Fn(&mut Vec<u8>, bool)) {
    for v6 in [false, true] {
        let mut frame = udp(v6, b"some data");
        assert!(answer(&frame, Reason::TtlExpired, 0).is_some());
        change(&mut frame, v6);
        assert_silent(what, &frame);
    }
}

#[test]
fn reasons_without_an_answer_get_none() {
    use crate::verdict::Action;
    for v6 in [false, true] {
        for reason in Reason::ALL {
            let answered = answer(&tcp(v6, SYN, b""), *reason, 1400).is_some();
            // Of cut flows one packet in another's stead tells the other end: see `turn_into_reset`.
            let tells = reason.action() == Action::Answer && *reason != Reason::FlowCutOnward;
            assert_eq!(answered, tells, "{reason:?}");
        }
    }
}

#[test]
fn a_reset_gets_neither_a_reset_nor_an_unreachable_port() {
    for v6 in [false, true] {
        for flags in [RST, RST | ACK] {
            let segment = tcp(v6, flags, b"");
            for reason in [
                Reason::NoBackendReset,
                Reason::NoBackendUnreachable,
                Reason::NatExhausted,
                Reason::NatUnpinned,
                Reason::FlowCut,
            ] {
                assert_eq!(answer(&segment, reason, 0), None, "{reason:?}");
            }
        }
    }
}

#[test]
fn icmp_is_never_answered() {
    for kind in 0..=255 {
        let message = [
            kind, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
        ];
        for (v6, protocol) in [(false, 1), (true, 58)] {
            assert_silent("ICMP", &packet(v6, protocol, &message));
        }
        let mut behind = vec![58, 0, 1, 4, 0, 0, 0, 0];
        behind.extend(message);
        for number in [0, 60] {
            assert_silent("ICMPv6 behind options", &packet(true, number, &behind));
        }
    }
}

#[test]
fn of_fragments_the_first_alone_is_answered_and_not_by_a_reset() {
    for (bytes, answered) in [
        ([0x20, 0], true),
        ([0x20, 1], false),
        ([0, 185], false),
        ([0x1f, 0xff], false),
    ] {
        let mut frame = tcp(false, SYN, b"data");
        frame[20..22].copy_from_slice(&bytes);
        assert_eq!(answer(&frame, Reason::TooBig, 1400).is_some(), answered);
        assert_eq!(answer(&frame, Reason::NoBackendReset, 0), None);
    }
    for (offset, answered) in [
        ([0, 1], true),
        ([0, 9], false),
        ([0, 8], false),
        ([0xff, 0xf8], false),
    ] {
        let mut behind = vec![TCP, 0, offset[0], offset[1], 0, 0, 0, 7];
        behind.extend(TCP_BYTES);
        let frame = packet(true, 44, &behind);
        assert_eq!(answer(&frame, Reason::TooBig, 1400).is_some(), answered);
        assert_eq!(answer(&frame, Reason::NoBackendReset, 0), None);
    }
    // An atomic fragment is whole (RFC 6946).
    let mut behind = vec![TCP, 0, 0, 0, 0, 0, 0, 7];
    behind.extend(TCP_BYTES);
    assert!(answer(&packet(true, 44, &behind), Reason::NoBackendReset, 0).is_some());
}

#[test]
fn only_single_hosts_are_told_of_packets_to_single_hosts() {
    for first in [0, 127, 224, 239, 240, 255] {
        for at in [26, 30] {
            let mut frame = udp(false, b"data");
            frame[at] = first;
            assert_silent("IPv4 address", &frame);
        }
    }
    for at in [22, 38] {
        let mut frame = udp(true, b"data");
        frame[at] = 0xff;
        assert_silent("multicast", &frame);
    }
    for (at, bytes) in [(37, [0]), (37, [1])] {
        let mut frame = udp(true, b"data");
        frame[22..38].fill(0);
        frame[at] = bytes[0];
        assert_silent("unspecified and loopback", &frame);
    }
    changed("link-layer group", |frame, _| frame[0] |= 1);
    changed("link-layer broadcast", |frame, _| frame[..6].fill(0xff));
    changed("from a link-layer group", |frame, _| frame[6] |= 1);
}

#[test]
fn what_ends_too_early_is_not_answered() {
    for v6 in [false, true] {
        for whole in [tcp(v6, SYN, b"data"), udp(v6, b"data")] {
            for length in 0..whole.len() {
                assert_silent("cut", &whole[..length]);
            }
        }
    }
    changed("a length below its headers'", |frame, v6| {
        let at = if v6 { 18 } else { 16 };
        frame[at..at + 2].copy_from_slice(&(if v6 { 7_u16 } else { 27 }).to_be_bytes());
    });
    for ihl in 0..5 {
        let mut frame = udp(false, b"data");
        frame[14] = 0x40 + ihl;
        assert_silent("IPv4 header shorter than itself", &frame);
    }
}

#[test]
fn extension_headers_are_looked_behind_six_times_and_never_past_the_end() {
    let options = |count: usize| {
        let mut l4 = [60, 0, 1, 4, 0, 0, 0, 0].repeat(count);
        let last = l4.len() - 8;
        l4[last] = UDP;
        l4.extend([0x9c, 0x40, 0, 53, 0, 8, 0, 0]);
        packet(true, 60, &l4)
    };
    assert!(answer(&options(6), Reason::TtlExpired, 0).is_some());
    assert_silent("seven", &options(7));
    let mut long = options(1);
    long[55] = 255;
    assert_silent("past the end", &long);
    for number in [43, 50, 51, 59, 135] {
        assert_silent("not carried", &packet(true, number, &[UDP; 40]));
    }
}

proptest! {
    #[test]
    fn no_garbage_breaks_anything_and_every_answer_goes_back(
        v6 in any::<bool>(), stream in any::<bool>(), changes in prop::collection::vec((0..120_usize, any::<u8>()), 0..9),
        length in 0..160_usize, mtu in any::<u16>()
    ) {
        let mut frame = if stream { tcp(v6, SYN, &[7; 90]) } else { udp(v6, &[7; 90]) };
        for (at, byte) in changes {
            let end = frame.len();
            frame[at % end] = byte;
        }
        frame.truncate(length);
        for reason in Reason::ALL {
            if let Some(answer) = answer(&frame, *reason, mtu) {
                prop_assert_eq!(&answer[..6], &frame[6..12]);
                prop_assert_eq!(&answer[6..12], &frame[..6]);
                assert_summed(&answer);
            }
        }
    }
}

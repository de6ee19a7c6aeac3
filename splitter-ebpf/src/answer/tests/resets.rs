use super::*;
use crate::flow::{ACK, FIN, SYN};

/// Sequence number, acknowledgment number and flags of a RST.
fn numbers(reset: &[u8], v6: bool) -> (u32, u32, u8) {
    let l4 = &reset[if v6 { 54 } else { 34 }..];
    let word = |at: usize| u32::from_be_bytes(l4[at..at + 4].try_into().unwrap());
    (word(4), word(8), l4[13])
}

#[test]
fn a_syn_is_answered_byte_for_byte() {
    let reset = answer(&tcp(false, SYN, b""), Reason::NoBackendReset, 0).unwrap();
    let mut whole = SWAPPED.to_vec();
    whole.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0xad, 0x3e]);
    whole.extend([198, 18, 1, 100, 198, 18, 0, 9]);
    whole.extend([0, 80, 0x9c, 0x40, 0, 0, 0, 0, 1, 2, 3, 5, 0x50, 0x14, 0, 0]);
    whole.extend([0x81, 0xa7, 0, 0]);
    assert_eq!(reset, whole);
    assert_summed(&reset);

    let reset = answer(&tcp(true, SYN, b""), Reason::NoBackendReset, 0).unwrap();
    let mut whole = SWAPPED.to_vec();
    whole.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
    whole.extend(VIP[1]);
    whole.extend(CLIENT[1]);
    whole.extend([0, 80, 0x9c, 0x40, 0, 0, 0, 0, 1, 2, 3, 5, 0x50, 0x14, 0, 0]);
    whole.extend(&reset[70..72]);
    whole.extend([0, 0]);
    assert_eq!(reset, whole);
    assert_summed(&reset);
}

#[test]
fn a_segment_without_ack_is_acknowledged_over_its_whole_length() {
    for v6 in [false, true] {
        for (flags, controls) in [(0, 0), (SYN, 1), (FIN, 1), (SYN | FIN, 2)] {
            for data in [&b""[..], b"five!"] {
                let mut segment = tcp(v6, flags, data);
                // Padding is of no packet.
                segment.extend([0; 9]);
                let reset = answer(&segment, Reason::NatExhausted, 0).unwrap();
                let next = 0x0102_0304 + controls + u32::try_from(data.len()).unwrap();
                assert_eq!(numbers(&reset, v6), (0, next, RST | ACK));
                assert_summed(&reset);
            }
        }
    }
}

#[test]
fn a_segment_with_ack_gets_the_number_that_it_expects() {
    for v6 in [false, true] {
        for flags in [ACK, SYN | ACK, FIN | ACK] {
            let reset = answer(&tcp(v6, flags, b"data"), Reason::NatUnpinned, 0).unwrap();
            assert_eq!(numbers(&reset, v6), (0x0506_0708, 0, RST));
            assert_summed(&reset);
        }
    }
}

#[test]
fn sequence_numbers_wrap() {
    let mut segment = tcp(false, SYN, b"");
    segment[38..42].fill(0xff);
    let reset = answer(&segment, Reason::NoBackendReset, 0).unwrap();
    assert_eq!(numbers(&reset, false), (0, 0, RST | ACK));
    assert_summed(&reset);
}

#[test]
fn options_of_ip_and_tcp_are_left_behind_and_not_counted_as_data() {
    let mut l4 = TCP_BYTES.to_vec();
    l4[12] = 0x60;
    l4.extend([1, 1, 1, 0]);
    l4.extend(b"data");
    let mut v4 = packet(false, TCP, &l4);
    v4.splice(34..34, [1, 1, 1, 0]);
    (v4[14], v4[17]) = (0x46, v4[17] + 4);
    // Destination options: six bytes of padding (RFC 8200 section 4.2).
    let mut behind = vec![TCP, 0, 1, 4, 0, 0, 0, 0];
    behind.extend(l4);
    for (v6, segment) in [(false, v4), (true, packet(true, 60, &behind))] {
        let reset = answer(&segment, Reason::NoBackendReset, 0).unwrap();
        assert_eq!(numbers(&reset, v6), (0, 0x0102_0308, RST | ACK));
        assert_eq!(reset.len(), if v6 { 74 } else { 54 });
        assert_summed(&reset);
    }
}

#[test]
fn a_header_that_contradicts_its_segment_gets_no_answer() {
    for v6 in [false, true] {
        for words in (0..5).chain(7..16) {
            let mut segment = tcp(v6, SYN, b"data");
            segment[if v6 { 66 } else { 46 }] = words << 4;
            assert_eq!(answer(&segment, Reason::NoBackendReset, 0), None, "{words}");
        }
    }
}

/// The RST that `frame` becomes.
fn turned(frame: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = frame.to_vec();
    let mut roomy = Roomy::new(&mut bytes, 0);
    let cause = Cause::of(&roomy)?;
    turn_into_reset(&mut roomy, &cause).then(|| roomy.frame().to_vec())
}

#[test]
fn a_segment_becomes_the_rst_that_its_receiver_expects() {
    for v6 in [false, true] {
        for flags in [ACK, SYN, FIN | ACK, RST, RST | ACK, 0] {
            let segment = tcp(v6, flags, b"data");
            let reset = turned(&segment).unwrap();
            assert_eq!(numbers(&reset, v6), (0x0102_0304, 0, RST), "{flags:#x}");
            assert_eq!(reset.len(), if v6 { 74 } else { 54 });
            assert_summed(&reset);
            // From whom to whom, and their ports.
            let (addresses, ports) = if v6 {
                (22..54, 54..58)
            } else {
                (26..34, 34..38)
            };
            assert_eq!(reset[addresses.clone()], segment[addresses]);
            assert_eq!(reset[ports.clone()], segment[ports]);
        }
        assert_eq!(turned(&udp(v6, b"data")), None, "no TCP");
    }
    let mut first = tcp(false, ACK, b"datadata");
    first[20] = 0x20;
    assert_eq!(turned(&first), None, "a fragment");
}

proptest! {
    #[test]
    fn every_reset_is_summed_right(
        v6 in any::<bool>(), bytes in any::<[u8; 20]>(), data in prop::collection::vec(any::<u8>(), 0..99)
    ) {
        let mut segment = bytes.to_vec();
        segment[12] = 0x50;
        segment[13] &= !RST;
        segment.extend(data);
        assert_summed(&answer(&packet(v6, TCP, &segment), Reason::NoBackendReset, 0).unwrap());
    }
}

use super::*;
use crate::flow::{ACK, SYN};

/// The eight bytes of an error's ICMP header, its checksum taken out, and what it quotes.
fn parts(error: &[u8], v6: bool) -> ([u8; 6], &[u8]) {
    let l4 = &error[if v6 { 54 } else { 34 }..];
    ([l4[0], l4[1], l4[4], l4[5], l4[6], l4[7]], &l4[8..])
}

#[test]
fn an_error_over_ipv4_is_byte_for_byte_what_the_rfcs_say() {
    let packet = tcp(false, ACK, &[0x5a; 1460]);
    let error = answer(&packet, Reason::TooBig, 1400).unwrap();
    let mut whole = SWAPPED.to_vec();
    whole.extend([8, 0, 0x45, 0xc0, 2, 64, 0, 0, 0x40, 0, 64, 1]);
    whole.extend(&error[24..26]);
    whole.extend([198, 18, 1, 100, 198, 18, 0, 9]);
    whole.extend([3, 4, error[36], error[37], 0, 0, 0x05, 0x78]);
    // As much as makes 576 bytes in total, as it came.
    whole.extend(&packet[14..14 + 548]);
    assert_eq!(error, whole);
    assert_summed(&error);
}

#[test]
fn an_error_over_ipv6_is_byte_for_byte_what_the_rfcs_say() {
    let packet = tcp(true, ACK, &[0x5a; 1440]);
    let error = answer(&packet, Reason::TooBig, 1400).unwrap();
    let mut whole = SWAPPED.to_vec();
    whole.extend([0x86, 0xdd, 0x60, 0, 0, 0, 4, 216, 58, 64]);
    whole.extend(VIP[1]);
    whole.extend(CLIENT[1]);
    whole.extend([2, 0, error[56], error[57], 0, 0, 0x05, 0x78]);
    // As much as makes 1280 bytes in total.
    whole.extend(&packet[14..14 + 1232]);
    assert_eq!(error, whole);
    assert_summed(&error);
}

#[test]
fn each_reason_has_its_type_and_code() {
    let unreachable = Reason::NoBackendUnreachable;
    for (packet, reason, v4, v6) in [
        (
            tcp as fn(bool, u8, &[u8]) -> _,
            Reason::TtlExpired,
            [11, 0],
            [3, 0],
        ),
        (tcp, unreachable, [3, 3], [1, 4]),
        (|v6, _, data| udp(v6, data), unreachable, [3, 3], [1, 4]),
        (
            |v6, _, data| udp(v6, data),
            Reason::NoBackendReset,
            [3, 3],
            [1, 4],
        ),
        (
            |v6, _, data| udp(v6, data),
            Reason::NatExhausted,
            [3, 3],
            [1, 4],
        ),
        (
            |v6, _, data| udp(v6, data),
            Reason::NatUnpinned,
            [3, 3],
            [1, 4],
        ),
    ] {
        for (v6, kind) in [(false, v4), (true, v6)] {
            let packet = packet(v6, SYN, b"data");
            let error = answer(&packet, reason, 1400).unwrap();
            let (header, quoted) = parts(&error, v6);
            assert_eq!(header, [kind[0], kind[1], 0, 0, 0, 0]);
            assert_eq!(quoted, &packet[14..]);
            assert_summed(&error);
        }
    }
}

#[test]
fn an_error_comes_from_whom_the_caller_says() {
    let [v4, v6] = [[203, 0, 113, 7].to_vec(), [7; 16].to_vec()];
    for (v6, source) in [(false, v4), (true, v6)] {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(source.chunks(4)) {
            *word = u32::from_ne_bytes(bytes.try_into().unwrap());
        }
        let packet = udp(v6, b"data");
        let error = answer_from(&packet, Reason::TtlExpired, 0, Some(&WireAddress(words))).unwrap();
        let at = if v6 { 22 } else { 26 };
        assert_eq!(error[at..at + source.len()], source);
        assert_eq!(
            error[at + source.len()..][..source.len()],
            CLIENT[usize::from(v6)][..source.len()]
        );
        assert_summed(&error);
    }
}

#[test]
fn padding_is_not_quoted() {
    for v6 in [false, true] {
        let packet = udp(v6, b"x");
        let mut padded = packet.clone();
        padded.extend([0; 18]);
        let error = answer(&padded, Reason::TtlExpired, 0).unwrap();
        assert_eq!(parts(&error, v6).1, &packet[14..]);
        assert_summed(&error);
    }
}

#[test]
fn without_room_in_front_there_is_no_error() {
    for (v6, room) in [(false, 27), (true, 47)] {
        let mut bytes = vec![0; room];
        bytes.extend(udp(v6, b"data"));
        let mut roomy = Roomy::new(&mut bytes, room);
        let cause = Cause::of(&roomy).unwrap();
        assert!(!write(
            &mut roomy,
            &cause,
            Answer::Error(Message::Expired),
            None
        ));
    }
}

proptest! {
    #[test]
    fn errors_of_every_length_are_summed_right_and_quote_what_came(
        v6 in any::<bool>(), data in prop::collection::vec(any::<u8>(), 0..1500), mtu in any::<u16>()
    ) {
        let packet = udp(v6, &data);
        let error = answer(&packet, Reason::TooBig, mtu).unwrap();
        assert_summed(&error);
        let (header, quoted) = parts(&error, v6);
        prop_assert_eq!(&header[2..], &u32::from(mtu).to_be_bytes());
        prop_assert!(packet[14..].starts_with(quoted));
        let most = if v6 { 1280 } else { 576 };
        prop_assert!(error.len() - 14 == most || (error.len() - 14 < most && quoted.len() == packet.len() - 14));
    }
}

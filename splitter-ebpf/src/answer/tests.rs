//! Answers, byte for byte; their sums are checked by RFC 1071's own words.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod errors;
mod refusals;
mod resets;

extern crate std;
use super::*;
use crate::wire::UDP;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

const MACS: [u8; 12] = [2, 0xb0, 0, 0, 0, 1, 2, 0xc0, 0, 0, 0, 1];
const SWAPPED: [u8; 12] = [2, 0xc0, 0, 0, 0, 1, 2, 0xb0, 0, 0, 0, 1];
const CLIENT: [[u8; 16]; 2] = [
    [198, 18, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
];
const VIP: [[u8; 16]; 2] = [
    [198, 18, 1, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
];
/// From port 40000 to port 80, sequence number 0x01020304, acknowledging 0x05060708.
const TCP_BYTES: [u8; 20] = [
    0x9c, 0x40, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0, 4, 0, 0xab, 0xcd, 0, 0,
];

/// A packet of family `v6` with `l4` behind its IP header, which has no checksum yet.
fn packet(v6: bool, protocol: u8, l4: &[u8]) -> Vec<u8> {
    let mut frame = MACS.to_vec();
    let family = usize::from(v6);
    if v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(u16::try_from(l4.len()).unwrap().to_be_bytes());
        frame.extend([protocol, 57]);
        frame.extend(CLIENT[family]);
        frame.extend(VIP[family]);
    } else {
        frame.extend([8, 0, 0x45, 0]);
        frame.extend(u16::try_from(l4.len() + 20).unwrap().to_be_bytes());
        frame.extend([0x12, 0x34, 0x40, 0, 57, protocol, 0, 0]);
        frame.extend(&CLIENT[family][..4]);
        frame.extend(&VIP[family][..4]);
    }
    frame.extend(l4);
    frame
}

/// A TCP segment.
fn tcp(v6: bool, flags: u8, data: &[u8]) -> Vec<u8> {
    let mut segment = TCP_BYTES.to_vec();
    segment[13] = flags;
    segment.extend(data);
    packet(v6, TCP, &segment)
}

/// A UDP datagram.
fn udp(v6: bool, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 8).unwrap().to_be_bytes();
    let mut datagram = vec![0x9c, 0x40, 0, 53, length[0], length[1], 0, 0];
    datagram.extend(data);
    packet(v6, UDP, &datagram)
}

/// What the sender of `frame` gets to see.
fn answer(frame: &[u8], reason: Reason, mtu: u16) -> Option<Vec<u8>> {
    answer_from(frame, reason, mtu, None)
}

fn answer_from(
    frame: &[u8],
    reason: Reason,
    mtu: u16,
    source: Option<&WireAddress>,
) -> Option<Vec<u8>> {
    let mut bytes = vec![0xee; 48];
    bytes.extend(frame);
    let mut roomy = Roomy::new(&mut bytes, 48);
    let cause = Cause::of(&roomy)?;
    let answer = Answer::of(reason, &cause, mtu)?;
    write(&mut roomy, &cause, answer, source).then(|| roomy.frame().to_vec())
}

/// The sum of RFC 1071 over bytes that hold a checksum: 0 if it is right.
fn remainder(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// Checks every sum of an answer.
fn assert_summed(frame: &[u8]) {
    let (addresses, protocol, l4) = if frame[12] == 8 {
        assert_eq!(remainder(&[&frame[14..34]]), 0, "IPv4 header");
        assert_eq!(
            usize::from(frame[16]) << 8 | usize::from(frame[17]),
            frame.len() - 14
        );
        (&frame[26..34], frame[23], &frame[34..])
    } else {
        assert_eq!(
            usize::from(frame[18]) << 8 | usize::from(frame[19]),
            frame.len() - 54
        );
        (&frame[22..54], frame[20], &frame[54..])
    };
    let length = u16::try_from(l4.len()).unwrap().to_be_bytes();
    let rest = [0, 0, length[0], length[1], 0, 0, 0, protocol];
    let sum = match protocol {
        1 => remainder(&[l4]),
        _ => remainder(&[addresses, &rest, l4]),
    };
    assert_eq!(sum, 0, "protocol {protocol}");
}

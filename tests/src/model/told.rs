//! What senders are told of packets that are dropped: by ICMP, or by a RST.

use std::net::IpAddr;

use splitter_ebpf::flow::{ACK, FIN, RST, SYN};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::TCP;

use super::packet::{ETHERNET, Headers, number};
use super::rewrite::{octets, total};
use crate::rig::Told;

/// An answer to a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// An ICMP error: there is a limit on these.
    Error(Vec<u8>),
    /// A RST.
    Reset(Vec<u8>),
}

/// The answer to a segment in an untagged frame that is dropped for `reason`: an error is from `vip`, or
/// from whom the segment was sent to. `mtu` is the next hop's.
pub(super) fn answer(
    frame: &[u8],
    segment: &Headers,
    reason: Reason,
    vip: Option<IpAddr>,
    mtu: u16,
) -> Option<Answer> {
    let broadcast = (frame[0] | frame[6]) & 1 != 0;
    let ends = [segment.from.ip(), segment.to.ip()];
    if broadcast || !is_host(ends[0]) || ends[1].is_multicast() || !is_v4_host(ends[1]) {
        return None;
    }
    let unreachable = || Told::Unreachable;
    let told = match reason {
        Reason::TooBig => Told::TooBig(mtu),
        Reason::TtlExpired => Told::Expired,
        _ if segment.flags & RST != 0 => return None,
        Reason::NoBackendUnreachable => unreachable(),
        Reason::NoBackendReset | Reason::NatExhausted | Reason::NatUnpinned => {
            // The length of a fragment says nothing about its segment's, which a RST tells.
            if segment.protocol == TCP && segment.first {
                return None;
            }
            if segment.protocol == TCP {
                return Some(Answer::Reset(reset(frame, segment)));
            }
            unreachable()
        }
        _ => return None,
    };
    let from = vip.unwrap_or(segment.to.ip());
    Some(Answer::Error(told.about(frame, &from.to_string())))
}

/// Whether a packet may come from this address over a link: one host's (RFC 1122 section 3.2.1.3, RFC
/// 4291 section 2.5).
fn is_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => is_v4_host(address),
        IpAddr::V6(v6) => !v6.is_multicast() && v6.segments()[..4] != [0; 4],
    }
}

fn is_v4_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !matches!(v4.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(_) => true,
    }
}

/// The RST that answers a TCP segment (RFC 9293 section 3.10.7.1).
fn reset(frame: &[u8], segment: &Headers) -> Vec<u8> {
    let v6 = segment.from.is_ipv6();
    let l4 = segment.l4;
    let word = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().expect("four bytes"));
    let (sequence, acknowledged, flags) = if segment.flags & ACK != 0 {
        (word(l4 + 8), 0, RST)
    } else {
        let data = ETHERNET + segment.total - l4 - usize::from(frame[l4 + 12] >> 4) * 4;
        let controls = [SYN, FIN].map(|flag| usize::from(segment.flags & flag != 0));
        let length = u32::try_from(data + controls[0] + controls[1]).expect("short packets");
        (0, word(l4 + 4).wrapping_add(length), RST | ACK)
    };
    let (from, to) = (octets(segment.to.ip()), octets(segment.from.ip()));
    let mut tcp = [
        segment.to.port().to_be_bytes(),
        segment.from.port().to_be_bytes(),
    ]
    .concat();
    tcp.extend([sequence.to_be_bytes(), acknowledged.to_be_bytes()].concat());
    tcp.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
    let sum = !total(&[&from, &to, &[0, TCP, 0, 20], &tcp]);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    let mut ip = if v6 {
        vec![0x60, 0, 0, 0, 0, 20, TCP, 64]
    } else {
        vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, TCP, 0, 0]
    };
    ip.extend([from, to].concat());
    if !v6 {
        let sum = !total(&[&ip]);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    debug_assert_eq!(number(frame, 12) == 0x86dd, v6);
    [&frame[6..12], &frame[..6], &frame[12..14], &ip, &tcp].concat()
}

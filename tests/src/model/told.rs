//! What senders are told of packets that are dropped: by ICMP, or by a RST.

use std::net::{IpAddr, SocketAddr};

use splitter_ebpf::flow::{ACK, FIN, RST, SYN};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::TCP;

use super::packet::{ETHERNET, Headers};
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
    if !is_between_hosts(frame, segment) {
        return None;
    }
    let unreachable = || Told::Unreachable;
    let told = match reason {
        Reason::TooBig => Told::TooBig(mtu),
        Reason::TtlExpired => Told::Expired,
        _ if segment.flags & RST != 0 => return None,
        Reason::NoBackendUnreachable => unreachable(),
        Reason::NoBackendReset | Reason::NatExhausted | Reason::NatUnpinned | Reason::FlowCut => {
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

/// Whether a segment is from one host to one host, on its link too: nobody is told of any other.
pub(super) fn is_between_hosts(frame: &[u8], segment: &Headers) -> bool {
    let broadcast = (frame[0] | frame[6]) & 1 != 0;
    let [from, to] = [segment.from.ip(), segment.to.ip()];
    !broadcast && is_host(from) && !to.is_multicast() && is_v4_host(to)
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
    let l4 = segment.l4;
    let (sequence, acknowledged, flags) = if segment.flags & ACK != 0 {
        (word(frame, l4 + 8), 0, RST)
    } else {
        let data = ETHERNET + segment.total - l4 - usize::from(frame[l4 + 12] >> 4) * 4;
        let controls = [SYN, FIN].map(|flag| usize::from(segment.flags & flag != 0));
        let length = u32::try_from(data + controls[0] + controls[1]).expect("short packets");
        (0, word(frame, l4 + 4).wrapping_add(length), RST | ACK)
    };
    let numbers = [sequence, acknowledged];
    let packet = rst(segment.to, segment.from, numbers, flags);
    [&frame[6..12], &frame[..6], &frame[12..14], &packet].concat()
}

/// Makes a TCP segment the RST that its receiver accepts in its place.
pub(super) fn into_reset(frame: &mut Vec<u8>, segment: &Headers) {
    let numbers = [word(frame, segment.l4 + 4), 0];
    let packet = rst(segment.from, segment.to, numbers, RST);
    frame.splice(ETHERNET.., packet);
}

fn word(frame: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(frame[at..at + 4].try_into().expect("four bytes"))
}

/// A RST with these sequence and acknowledgment numbers, and the IP packet around it.
fn rst(from: SocketAddr, to: SocketAddr, numbers: [u32; 2], flags: u8) -> Vec<u8> {
    let mut tcp = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    tcp.extend(numbers.map(u32::to_be_bytes).concat());
    tcp.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
    let v6 = from.is_ipv6();
    let (from, to) = (octets(from.ip()), octets(to.ip()));
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
    [ip, tcp].concat()
}

//! Segments that make idle ends of a TCP connection speak.
//!
//! Whoever has a connection answers a SYN on its tuple, whatever its sequence number, with an ACK that carries
//! the numbers that it is at (RFC 5961 section 4.2). Of a flow that is cut the program answers that ACK with
//! the very RST that the end accepts.
//!
//! An end that may have got its RST is sent an ACK instead, from outside any window: whoever still has the
//! connection answers that in the same way (RFC 9293 section 3.10.7.4), and whoever has not, with a RST. A SYN
//! would begin a connection at a listening backend, and would spoil one that a client is opening from the same
//! port just then: it would take the two for a simultaneous open. Some hosts drop such an ACK, by a firewall
//! or for the timestamp that it lacks (RFC 7323 section 3.2): hence the SYN first.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with,
};
use splitter_ebpf::checksum::Sum;
use splitter_ebpf::flow::{ACK, SYN};
use splitter_ebpf::wire::TCP;

/// Bytes of a TCP header without options.
const TCP_HEADER: u8 = 20;
/// TTL and hop limit.
const HOPS: u8 = 64;

/// What an end is prodded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// For an end that has the connection.
    Syn,
    /// For one that may have it no more.
    Ack,
}

/// Sends segments in others' names.
pub trait Prod: Send {
    /// Sends one, from `from` to `to`, which are of one family.
    ///
    /// # Errors
    /// What the kernel says.
    fn prod(&mut self, segment: Segment, from: SocketAddr, to: SocketAddr) -> io::Result<()>;
}

/// Without sockets: nobody is prodded, and each attempt fails.
#[derive(Debug)]
pub struct Mute;

impl Prod for Mute {
    fn prod(&mut self, _: Segment, _: SocketAddr, _: SocketAddr) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "there is no raw socket: CAP_NET_RAW is missing",
        ))
    }
}

/// Raw sockets of both families, which take whole IP packets (`IPPROTO_RAW`, raw(7)) and send them by this
/// host's routes. They receive nothing.
#[derive(Debug)]
pub struct Raw {
    v4: OwnedFd,
    /// Missing where the kernel has no IPv6.
    v6: Option<OwnedFd>,
}

impl Raw {
    /// Opens them; takes CAP_NET_RAW.
    ///
    /// # Errors
    /// What the kernel says of the one for IPv4.
    pub fn open() -> io::Result<Self> {
        let open = |family| {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            socket_with(family, SocketType::RAW, flags, Some(ipproto::RAW))
        };
        Ok(Self {
            v4: open(AddressFamily::INET)?,
            v6: open(AddressFamily::INET6).ok(),
        })
    }
}

impl Prod for Raw {
    fn prod(&mut self, segment: Segment, from: SocketAddr, to: SocketAddr) -> io::Result<()> {
        let packet = whole(segment, from, to);
        // Ports are in the packet; a raw socket wants none beside it.
        let sent = match to.ip() {
            IpAddr::V4(ip) => sendto(
                &self.v4,
                &packet,
                SendFlags::empty(),
                &SocketAddrV4::new(ip, 0),
            ),
            IpAddr::V6(ip) => {
                let v6 = self.v6.as_ref().ok_or(io::ErrorKind::Unsupported)?;
                sendto(
                    v6,
                    &packet,
                    SendFlags::empty(),
                    &SocketAddrV6::new(ip, 0, 0, 0),
                )
            }
        };
        sent?;
        Ok(())
    }
}

/// A segment without options, as a whole IP packet.
fn whole(segment: Segment, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let flags = match segment {
        Segment::Syn => SYN,
        Segment::Ack => ACK,
    };
    let mut packet = Vec::with_capacity(60);
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            // The kernel writes length, identification and checksum (raw(7)).
            packet.extend([0x45, 0, 0, 20 + TCP_HEADER, 0, 0, 0x40, 0, HOPS, TCP, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
        }
        (from, to) => {
            packet.extend([0x60, 0, 0, 0, 0, TCP_HEADER, TCP, HOPS]);
            for ip in [from, to] {
                let v6 = match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                packet.extend(v6.octets());
            }
        }
    }
    let l4 = packet.len();
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    // Any numbers do: both are as good as sure to lie outside of the windows.
    packet.extend([0; 8]);
    packet.extend([(TCP_HEADER / 4) << 4, flags, 4, 0, 0, 0, 0, 0]);
    let addresses = if from.is_ipv4() { l4 - 8 } else { l4 - 32 };
    let sum = packet[addresses..]
        .chunks_exact(2)
        .fold(Sum::ZERO, |sum, pair| {
            sum.half(u16::from_ne_bytes([pair[0], pair[1]]))
        })
        .half(u16::from(TCP_HEADER).to_be())
        .half(u16::from(TCP).to_be());
    packet[l4 + 16..l4 + 18].copy_from_slice(&sum.checksum().to_ne_bytes());
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1071 over bytes that hold a checksum: 0 if it is right.
    fn remainder(bytes: &[u8]) -> u16 {
        let sum: u32 = bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
            .sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded")
    }

    #[test]
    fn segments_are_whole_and_summed_in_both_families() {
        for (from, to, l4, addresses, segment, flags) in [
            (
                "198.18.1.100:80",
                "198.18.0.9:40000",
                20,
                12,
                Segment::Syn,
                SYN,
            ),
            (
                "[2001:db8:1::100]:80",
                "[2001:db8::9]:40000",
                40,
                8,
                Segment::Ack,
                ACK,
            ),
        ] {
            let (from, to): (SocketAddr, SocketAddr) =
                (from.parse().expect("one"), to.parse().expect("other"));
            let packet = whole(segment, from, to);
            assert_eq!(packet.len(), l4 + 20);
            let pseudo = [&packet[addresses..], &[0, TCP, 0, TCP_HEADER][..]].concat();
            assert_eq!(remainder(&pseudo), 0, "{from} {to}");
            assert_eq!(packet[l4..l4 + 2], from.port().to_be_bytes());
            assert_eq!(packet[l4 + 2..l4 + 4], to.port().to_be_bytes());
            assert_eq!(packet[l4 + 13], flags);
        }
    }
}

//! Reading a packet once, into one normalised form.
//!
//! Supported in full: Ethernet, IPv4 without options and IPv6 without extension headers, unfragmented,
//! TCP (RFC 9293) and UDP (RFC 768), and echo requests. Of everything else the destination address
//! is read, so that what is meant for a VIP meets a named verdict instead of the host's stack.

use crate::verdict::Reason;
use crate::wire::{Family, ICMP, ICMPV6, TCP, UDP, WireAddress, WirePort};

/// A frame that can be read. Multi-byte reads return memory order.
///
/// Reads are only made below a length that [`has`](Packet::has) confirmed; an implementation may
/// panic, or be refused by the kernel's verifier, otherwise.
pub trait Packet {
    /// Whether the first `length` bytes are there.
    fn has(&self, length: usize) -> bool;
    /// Whether the whole frame has `length` bytes: of a frame in several buffers, [`has`](Packet::has)
    /// speaks of the first alone.
    fn holds(&self, length: usize) -> bool {
        self.has(length)
    }
    /// The byte at `at`.
    fn byte(&self, at: usize) -> u8;
    /// Two bytes at `at`.
    fn half(&self, at: usize) -> u16;
    /// Four bytes at `at`.
    fn word(&self, at: usize) -> u32;
    /// Eight bytes at `at`.
    fn long(&self, at: usize) -> u64;
}

/// A frame that can be changed in place, under the rule of [`Packet`].
pub trait PacketMut: Packet {
    /// Stores a byte.
    fn set_byte(&mut self, at: usize, value: u8);
    /// Stores two bytes in memory order.
    fn set_half(&mut self, at: usize, value: u16);
    /// Stores four bytes in memory order.
    fn set_word(&mut self, at: usize, value: u32);
    /// Stores eight bytes in memory order.
    fn set_long(&mut self, at: usize, value: u64);
}

/// Length of an Ethernet header.
pub const ETHERNET: usize = 14;
/// Length of an IPv4 header without options.
pub const IPV4: usize = 20;
/// Length of an IPv6 header.
pub const IPV6: usize = 40;
/// Length of a TCP header without options.
pub const TCP_HEADER: usize = 20;
/// Length of a UDP header.
pub const UDP_HEADER: usize = 8;
/// Length of the part of an ICMP or ICMPv6 header that all messages share.
pub const ICMP_HEADER: usize = 8;

pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800_u16.to_be();
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd_u16.to_be();
const ETHERTYPE_VLAN: u16 = 0x8100_u16.to_be();
const ETHERTYPE_QINQ: u16 = 0x88a8_u16.to_be();
/// More fragments, and the offset: not 0 in every fragment (RFC 791 section 3.1).
const FRAGMENT: u16 = 0x3fff_u16.to_be();

/// A whole TCP or UDP segment over IP, its addresses and ports in packet order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Source address.
    pub source: WireAddress,
    /// Destination address.
    pub destination: WireAddress,
    /// Source port.
    pub source_port: WirePort,
    /// Destination port.
    pub destination_port: WirePort,
    /// [`TCP`] or [`UDP`].
    pub protocol: u8,
    /// TCP flags, 0 for UDP.
    pub flags: u8,
}

/// A packet that has no ports to go by, or that this version does not carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portless {
    /// Destination address.
    pub destination: WireAddress,
    /// Its family.
    pub family: Family,
    /// What it is.
    pub what: What,
}

/// What a [`Portless`] packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A whole echo request, to be answered.
    EchoRequest,
    /// Something whose fate at a VIP is this.
    Fate(Reason),
}

/// A packet as the program sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// TCP or UDP over plain IPv4.
    V4(Segment),
    /// TCP or UDP over plain IPv6.
    V6(Segment),
    /// IP, but not such a segment.
    Portless(Portless),
    /// Not IP, or too short to name its destination.
    NotIp,
}

/// Reads the headers of `packet`, an untagged frame.
#[inline(always)]
pub fn parse(packet: &impl Packet) -> Parsed {
    if !packet.has(ETHERNET) {
        return Parsed::NotIp;
    }
    match packet.half(12) {
        ETHERTYPE_IPV4 => parse_v4(packet),
        ETHERTYPE_IPV6 => parse_v6(packet),
        _ => Parsed::NotIp,
    }
}

#[inline(always)]
fn parse_v4(packet: &impl Packet) -> Parsed {
    if !packet.has(ETHERNET + IPV4) {
        return Parsed::NotIp;
    }
    let version_ihl = packet.byte(ETHERNET);
    if version_ihl >> 4 != 4 {
        return Parsed::NotIp;
    }
    let destination = WireAddress::v4(packet.word(ETHERNET + 16));
    let fate = |reason| {
        Parsed::Portless(Portless {
            destination,
            family: Family::V4,
            what: What::Fate(reason),
        })
    };
    if version_ihl != 0x45 {
        return fate(if version_ihl < 0x45 {
            Reason::Malformed
        } else {
            Reason::Ipv4Options
        });
    }
    if packet.half(ETHERNET + 6) & FRAGMENT != 0 {
        return fate(Reason::Fragment);
    }
    let l4 = ETHERNET + IPV4;
    let flags = match packet.byte(ETHERNET + 9) {
        TCP if packet.has(l4 + TCP_HEADER) => packet.byte(l4 + 13),
        UDP if packet.has(l4 + UDP_HEADER) => 0,
        ICMP if packet.has(l4 + ICMP_HEADER) => {
            let what = match (packet.byte(l4), packet.byte(l4 + 1)) {
                (8, 0) => echo(packet, IPV4, total_v4(packet)),
                // Unreachable, source quench, redirect, time exceeded, parameter problem (RFC 792).
                (3 | 4 | 5 | 11 | 12, _) => What::Fate(Reason::IcmpError),
                _ => What::Fate(Reason::HostIcmp),
            };
            return Parsed::Portless(Portless {
                destination,
                family: Family::V4,
                what,
            });
        }
        TCP | UDP | ICMP => return fate(Reason::Malformed),
        _ => return fate(Reason::Foreign),
    };
    Parsed::V4(Segment {
        source: WireAddress::v4(packet.word(ETHERNET + 12)),
        destination,
        source_port: WirePort(packet.half(l4)),
        destination_port: WirePort(packet.half(l4 + 2)),
        protocol: packet.byte(ETHERNET + 9),
        flags,
    })
}

/// The length that an IPv4 header gives its packet.
#[inline(always)]
pub(crate) fn total_v4(packet: &impl Packet) -> usize {
    u16::from_be(packet.half(ETHERNET + 2)) as usize
}

/// The length that an IPv6 header gives its payload.
#[inline(always)]
pub(crate) fn payload_v6(packet: &impl Packet) -> usize {
    u16::from_be(packet.half(ETHERNET + 4)) as usize
}

/// An echo request behind a header of `header` bytes, if its packet of `length` bytes is whole: no
/// broken one is sent on as a reply.
#[inline(always)]
fn echo(packet: &impl Packet, header: usize, length: usize) -> What {
    if length >= header + ICMP_HEADER && packet.holds(ETHERNET + length) {
        What::EchoRequest
    } else {
        What::Fate(Reason::Malformed)
    }
}

#[inline(always)]
fn address_v6(packet: &impl Packet, at: usize) -> WireAddress {
    WireAddress::from_halves([packet.long(at), packet.long(at + 8)])
}

#[inline(always)]
fn parse_v6(packet: &impl Packet) -> Parsed {
    if !packet.has(ETHERNET + IPV6) || packet.byte(ETHERNET) >> 4 != 6 {
        return Parsed::NotIp;
    }
    let destination = address_v6(packet, ETHERNET + 24);
    let fate = |reason| {
        Parsed::Portless(Portless {
            destination,
            family: Family::V6,
            what: What::Fate(reason),
        })
    };
    let l4 = ETHERNET + IPV6;
    let flags = match packet.byte(ETHERNET + 6) {
        TCP if packet.has(l4 + TCP_HEADER) => packet.byte(l4 + 13),
        UDP if packet.has(l4 + UDP_HEADER) => 0,
        ICMPV6 if packet.has(l4 + ICMP_HEADER) => {
            let what = match (packet.byte(l4), packet.byte(l4 + 1)) {
                (128, 0) => echo(packet, IPV6, IPV6 + payload_v6(packet)),
                // Error messages have types below 128 (RFC 4443 section 2.1).
                (0..=127, _) => What::Fate(Reason::IcmpError),
                _ => What::Fate(Reason::HostIcmp),
            };
            return Parsed::Portless(Portless {
                destination,
                family: Family::V6,
                what,
            });
        }
        TCP | UDP | ICMPV6 => return fate(Reason::Malformed),
        44 => return fate(Reason::Fragment),
        // Hop-by-hop, routing, authentication, destination options, mobility, HIP, shim6 (IANA).
        0 | 43 | 51 | 60 | 135 | 139 | 140 => return fate(Reason::Ipv6Extension),
        _ => return fate(Reason::Foreign),
    };
    Parsed::V6(Segment {
        source: address_v6(packet, ETHERNET + 8),
        destination,
        source_port: WirePort(packet.half(l4)),
        destination_port: WirePort(packet.half(l4 + 2)),
        protocol: packet.byte(ETHERNET + 6),
        flags,
    })
}

/// What lies behind a VLAN tag (IEEE 802.1Q), as far as it says whom the packet concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tagged {
    /// Source address.
    pub source: WireAddress,
    /// Destination address.
    pub destination: WireAddress,
    /// Their family.
    pub family: Family,
    /// The tag's control information, host order.
    pub control: u16,
    /// There is a second tag, or the only one is of a service provider's kind (IEEE 802.1ad).
    pub stacked: bool,
    /// It is an ICMP or ICMPv6 packet, whose addresses need not be those it concerns.
    pub icmp: bool,
}

/// Whether the frame bears a VLAN tag.
#[must_use]
#[inline(always)]
pub fn is_tagged(packet: &impl Packet) -> bool {
    packet.has(ETHERNET) && matches!(packet.half(12), ETHERTYPE_VLAN | ETHERTYPE_QINQ)
}

/// Looks through up to two tags for addresses.
#[must_use]
#[inline(always)]
pub fn parse_tagged(packet: &impl Packet) -> Option<Tagged> {
    if !packet.has(ETHERNET + 4) {
        return None;
    }
    let control = u16::from_be(packet.half(14));
    let foreign = packet.half(12) == ETHERTYPE_QINQ;
    match packet.half(16) {
        ETHERTYPE_VLAN | ETHERTYPE_QINQ if packet.has(ETHERNET + 8) => {
            behind_tags(packet, packet.half(20), ETHERNET + 8, control, true)
        }
        ethertype => behind_tags(packet, ethertype, ETHERNET + 4, control, foreign),
    }
}

#[inline(always)]
fn behind_tags(
    packet: &impl Packet,
    ethertype: u16,
    at: usize,
    control: u16,
    stacked: bool,
) -> Option<Tagged> {
    let (source, destination, family, protocol) = match ethertype {
        ETHERTYPE_IPV4 if packet.has(at + IPV4) => (
            WireAddress::v4(packet.word(at + 12)),
            WireAddress::v4(packet.word(at + 16)),
            Family::V4,
            packet.byte(at + 9),
        ),
        ETHERTYPE_IPV6 if packet.has(at + IPV6) => (
            address_v6(packet, at + 8),
            address_v6(packet, at + 24),
            Family::V6,
            packet.byte(at + 6),
        ),
        _ => return None,
    };
    Some(Tagged {
        source,
        destination,
        family,
        control,
        stacked,
        icmp: protocol == ICMP || protocol == ICMPV6,
    })
}

/// How long a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Bytes of the IP packet, header included.
    pub total: usize,
    /// It carries data.
    pub payload: bool,
}

/// How long a segment of `family` is, if its lengths agree with each other and with the frame. Frames
/// may be longer than their packet (Ethernet padding).
#[must_use]
#[inline(always)]
pub fn extent(packet: &impl Packet, segment: &Segment, family: Family) -> Option<Extent> {
    let (l4, total, length) = match family {
        Family::V4 => {
            let total = total_v4(packet);
            (ETHERNET + IPV4, total, total.checked_sub(IPV4)?)
        }
        Family::V6 => {
            let length = payload_v6(packet);
            (ETHERNET + IPV6, IPV6 + length, length)
        }
    };
    if !packet.holds(ETHERNET + total) {
        return None;
    }
    let payload = if segment.protocol == TCP {
        // Parsing confirmed it; the verifier has forgotten it by now.
        if !packet.has(l4 + TCP_HEADER) {
            return None;
        }
        let header = (packet.byte(l4 + 12) >> 4) as usize * 4;
        if header < TCP_HEADER || header > length {
            return None;
        }
        length > header
    } else {
        let datagram = u16::from_be(packet.half(l4 + 4)) as usize;
        if datagram < UDP_HEADER || datagram > length {
            return None;
        }
        datagram > UDP_HEADER
    };
    Some(Extent { total, payload })
}

/// A frame in a slice, for the host.
#[derive(Debug)]
pub struct Frame<'a>(pub &'a mut [u8]);

impl Packet for Frame<'_> {
    fn has(&self, length: usize) -> bool {
        self.0.len() >= length
    }
    fn byte(&self, at: usize) -> u8 {
        self.0[at]
    }
    fn half(&self, at: usize) -> u16 {
        u16::from_ne_bytes([self.0[at], self.0[at + 1]])
    }
    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }
    fn long(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[at..at + 8]);
        u64::from_ne_bytes(bytes)
    }
}

impl PacketMut for Frame<'_> {
    fn set_byte(&mut self, at: usize, value: u8) {
        self.0[at] = value;
    }
    fn set_half(&mut self, at: usize, value: u16) {
        self.0[at..at + 2].copy_from_slice(&value.to_ne_bytes());
    }
    fn set_word(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    fn set_long(&mut self, at: usize, value: u64) {
        self.0[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }
}

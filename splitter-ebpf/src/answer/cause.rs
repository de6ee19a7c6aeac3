use crate::headers::{
    ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4, IPV6, Packet, TCP_HEADER, UDP_HEADER,
    payload_v6, total_v4,
};
use crate::wire::{Family, TCP, UDP};

/// Headers between the IPv6 header and its TCP or UDP that are looked behind.
const EXTENSIONS: u32 = 6;
/// The offset of a fragment in an IPv4 header (RFC 791 section 3.1).
const OFFSET_V4: u16 = 0x1fff_u16.to_be();
/// The same in an IPv6 fragment header (RFC 8200 section 4.5).
const OFFSET_V6: u16 = 0xfff8_u16.to_be();
/// More fragments follow.
const MORE_V4: u16 = 0x2000_u16.to_be();
const MORE_V6: u16 = 1_u16.to_be();

/// A packet whose sender may be told something: TCP or UDP, with all of its header, from one host to
/// one host.
///
/// So there is no answer to ICMP, errors least of all, nor to a fragment but the first, nor to what was
/// broadcast or multicast on the link or by its address, nor to a source that is no single host (RFC
/// 1122 section 3.2.2, RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 e, RFC 9293 section 3.10.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    /// The family of its addresses.
    pub family: Family,
    /// [`TCP`] or [`UDP`].
    pub protocol: u8,
    /// TCP flags, 0 for UDP.
    pub flags: u8,
    /// Whether it is no fragment.
    pub whole: bool,
    /// Where its TCP or UDP header begins in the frame.
    pub l4: usize,
    /// Where it ends in the frame, which may go on (Ethernet padding).
    pub end: usize,
}

impl Cause {
    /// Reads an untagged frame.
    #[must_use]
    #[inline(always)]
    pub fn of(packet: &impl Packet) -> Option<Self> {
        // The group bit comes first on the wire (IEEE 802.3 section 3.2.3).
        if !packet.has(ETHERNET) || (packet.byte(0) | packet.byte(6)) & 1 != 0 {
            return None;
        }
        let (family, found) = match packet.half(12) {
            ETHERTYPE_IPV4 => (Family::V4, v4(packet)?),
            ETHERTYPE_IPV6 => (Family::V6, v6(packet)?),
            _ => return None,
        };
        let header = match found.protocol {
            TCP => TCP_HEADER,
            UDP => UDP_HEADER,
            _ => return None,
        };
        if found.l4 + header > found.end || !packet.has(found.end) {
            return None;
        }
        let flags = match found.protocol {
            TCP => packet.byte(found.l4 + 13),
            _ => 0,
        };
        Some(Self {
            family,
            protocol: found.protocol,
            flags,
            whole: found.whole,
            l4: found.l4,
            end: found.end,
        })
    }
}

/// What the network layer says.
struct Found {
    protocol: u8,
    whole: bool,
    l4: usize,
    end: usize,
}

#[inline(always)]
fn v4(packet: &impl Packet) -> Option<Found> {
    if !packet.has(ETHERNET + IPV4) {
        return None;
    }
    let header = (packet.byte(ETHERNET) & 15) as usize * 4;
    let fragment = packet.half(ETHERNET + 6);
    let single = single_v4(packet.byte(ETHERNET + 12)) && single_v4(packet.byte(ETHERNET + 16));
    (header >= IPV4 && fragment & OFFSET_V4 == 0 && single).then(|| Found {
        protocol: packet.byte(ETHERNET + 9),
        whole: fragment & MORE_V4 == 0,
        l4: ETHERNET + header,
        end: ETHERNET + total_v4(packet),
    })
}

/// Whether an IPv4 address with this first octet may be a single host's on another link than `lo`:
/// not of "this network", loopback, multicast, reserved or broadcast (RFC 1122 section 3.2.1.3).
#[inline(always)]
const fn single_v4(first: u8) -> bool {
    first != 0 && first != 127 && first < 224
}

/// Whether a packet's source may be a single host on another link than `lo`, and both its MAC addresses
/// are single hosts': else nothing is sent back to it.
#[must_use]
#[inline(always)]
pub fn is_from_one_host(packet: &impl Packet, family: Family) -> bool {
    let single = match family {
        Family::V4 => single_v4(packet.byte(ETHERNET + 12)),
        Family::V6 => packet.byte(ETHERNET + 8) != 0xff && packet.long(ETHERNET + 8) != 0,
    };
    single && (packet.byte(0) | packet.byte(6)) & 1 == 0
}

#[inline(always)]
fn v6(packet: &impl Packet) -> Option<Found> {
    // The first half is 0 in the unspecified address, the loopback's and those that carry IPv4 ones:
    // none of them is a source on a link (RFC 4291 section 2.5).
    if !packet.has(ETHERNET + IPV6)
        || packet.byte(ETHERNET + 8) == 0xff
        || packet.byte(ETHERNET + 24) == 0xff
        || packet.long(ETHERNET + 8) == 0
    {
        return None;
    }
    let end = ETHERNET + IPV6 + payload_v6(packet);
    let mut found = Found {
        protocol: packet.byte(ETHERNET + 6),
        whole: true,
        l4: ETHERNET + IPV6,
        end,
    };
    let mut extension = 0;
    while extension < EXTENSIONS {
        let length = match found.protocol {
            TCP | UDP => break,
            // Hop-by-hop and destination options, routes, a fragment's header; nothing else is carried.
            0 | 43 | 44 | 60 if packet.has(found.l4 + 8) => {
                if found.protocol == 44 {
                    let fragment = packet.half(found.l4 + 2);
                    if fragment & OFFSET_V6 != 0 {
                        return None;
                    }
                    found.whole &= fragment & MORE_V6 == 0;
                    8
                } else {
                    packet.byte(found.l4 + 1) as usize * 8 + 8
                }
            }
            _ => return None,
        };
        found.protocol = packet.byte(found.l4);
        found.l4 += length;
        extension += 1;
    }
    Some(found)
}

use super::{Extent, Part, part};
use crate::headers::{IPV6, Packet};
use crate::verdict::Reason;

/// Extension headers that one packet may have.
pub const HEADERS: usize = 6;

// Numbers of IANA's "IPv6 Extension Header Types".
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;

/// Finds what follows the IPv6 header at `l3` and its extension headers (RFC 8200 section 4).
#[inline(always)]
pub(super) fn walk(packet: &impl Packet, l3: usize, limit: usize) -> Option<Extent> {
    if l3 + IPV6 > limit || packet.byte(l3) >> 4 != 6 {
        return None;
    }
    let end = l3 + IPV6 + u16::from_be(packet.half(l3 + 4)) as usize;
    let limit = if end < limit { end } else { limit };
    let mut extent = Extent {
        l3,
        l4: l3 + IPV6,
        end,
        protocol: packet.byte(l3 + 6),
        part: Part::Whole,
        offset: 0,
        id: 0,
        refusal: None,
    };
    let mut seen = 0;
    let mut cut = false;
    while seen <= HEADERS {
        match extent.protocol {
            // Nothing but the IPv6 header may stand before hop-by-hop options (section 4.1), and a
            // packet is cut into fragments once.
            HOP_BY_HOP if seen == 0 => (),
            DESTINATION | ROUTING => (),
            FRAGMENT if !cut => (),
            HOP_BY_HOP | FRAGMENT | AUTHENTICATION | MOBILITY | HOST_IDENTITY | SHIM6 => break,
            _ => return Some(extent),
        }
        if extent.l4 + 8 > limit {
            return None;
        }
        let at = extent.l4;
        let mut length = 8;
        if extent.protocol == FRAGMENT {
            cut = true;
            let place = u16::from_be(packet.half(at + 2));
            extent.offset = (place & 0xfff8) as usize;
            extent.part = part(extent.offset, place & 1 != 0);
            extent.id = packet.word(at + 4);
        } else {
            length += packet.byte(at + 1) as usize * 8;
            if at + length > limit {
                return None;
            }
            // Where segments are left, the destination is not the last one (section 4.4).
            if extent.protocol == ROUTING && packet.byte(at + 3) != 0 {
                extent.refusal = Some(Reason::Ipv6Extension);
            }
        }
        extent.protocol = packet.byte(at);
        extent.l4 = at + length;
        seen += 1;
        if matches!(extent.part, Part::Later) {
            return Some(extent);
        }
    }
    extent.refusal = Some(Reason::Ipv6Extension);
    Some(extent)
}

/// Whether an extension header of this number is carried.
#[inline(always)]
pub(super) const fn is_carried(number: u8) -> bool {
    matches!(number, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION)
}

//! Addresses and ports as they lie in a packet.
//!
//! The program never swaps bytes of an address or a port: it compares and copies them in the order
//! in which they lie in memory. These newtypes keep such values apart from numbers of the host.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Address family of an endpoint or a flow.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4 = 4,
    /// IPv6.
    V6 = 6,
}

impl Family {
    /// Both families, in the order of [`Family::index`].
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// 0 for IPv4, 1 for IPv6: the place of a family's table among a track's two.
    #[must_use]
    #[inline(always)]
    pub const fn index(self) -> u32 {
        match self {
            Self::V4 => 0,
            Self::V6 => 1,
        }
    }

    /// The family of `address`.
    #[must_use]
    pub const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// An address as four 32-bit words in packet order; IPv4 uses the first and leaves the rest 0.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct WireAddress(pub [u32; 4]);

impl WireAddress {
    /// An IPv4 address from its word in packet order.
    #[must_use]
    #[inline(always)]
    pub const fn v4(word: u32) -> Self {
        Self([word, 0, 0, 0])
    }

    /// From its two 64-bit halves, in memory order.
    #[must_use]
    #[inline(always)]
    pub const fn from_halves(halves: [u64; 2]) -> Self {
        let [a, b] = halves;
        Self([a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32])
    }

    /// The two 64-bit halves, in memory order.
    #[must_use]
    #[inline(always)]
    pub const fn halves(&self) -> [u64; 2] {
        let w = self.0;
        [
            w[0] as u64 | ((w[1] as u64) << 32),
            w[2] as u64 | ((w[3] as u64) << 32),
        ]
    }

    /// The address as a person knows it.
    #[must_use]
    pub fn to_ip(self, family: Family) -> IpAddr {
        let mut octets = [0; 16];
        for (chunk, word) in octets.chunks_exact_mut(4).zip(self.0) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        match family {
            Family::V4 => {
                let [a, b, c, d, ..] = octets;
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            Family::V6 => IpAddr::V6(Ipv6Addr::from(octets)),
        }
    }

    /// The mask of the first `bits` bits, in packet order: of 32 bits for IPv4, of 128 for IPv6.
    /// More bits than the family has mean all of them.
    #[must_use]
    pub fn prefix_mask(bits: u8, family: Family) -> Self {
        let octets = match family {
            Family::V4 => 4,
            Family::V6 => 16,
        };
        let mut mask = [0_u8; 16];
        for (index, octet) in mask.iter_mut().take(octets).enumerate() {
            let before = u32::try_from(index * 8).unwrap_or(u32::MAX);
            let ones = u32::from(bits).saturating_sub(before).min(8);
            *octet = u8::MAX.checked_shl(8 - ones).unwrap_or(0);
        }
        Self::from(Ipv6Addr::from(mask))
    }
}

impl From<Ipv4Addr> for WireAddress {
    fn from(address: Ipv4Addr) -> Self {
        Self::v4(u32::from_ne_bytes(address.octets()))
    }
}

impl From<Ipv6Addr> for WireAddress {
    fn from(address: Ipv6Addr) -> Self {
        let o = address.octets();
        let word = |i: usize| u32::from_ne_bytes([o[i], o[i + 1], o[i + 2], o[i + 3]]);
        Self([word(0), word(4), word(8), word(12)])
    }
}

impl From<IpAddr> for WireAddress {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => v6.into(),
        }
    }
}

/// A TCP or UDP port in packet order.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct WirePort(pub u16);

impl WirePort {
    /// From the number a person knows.
    #[must_use]
    pub const fn new(port: u16) -> Self {
        Self(port.to_be())
    }

    /// The number a person knows.
    #[must_use]
    pub const fn get(self) -> u16 {
        u16::from_be(self.0)
    }
}

/// IP protocol number of TCP (RFC 9293).
pub const TCP: u8 = 6;
/// IP protocol number of UDP (RFC 768).
pub const UDP: u8 = 17;
/// IP protocol number of ICMP (RFC 792).
pub const ICMP: u8 = 1;
/// Next-header value of ICMPv6 (RFC 4443).
pub const ICMPV6: u8 = 58;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_ports_survive_the_way_to_the_wire_and_back() {
        for text in ["198.18.1.100", "2001:db8:1::100"] {
            let ip: IpAddr = text.parse().expect("an address");
            assert_eq!(WireAddress::from(ip).to_ip(Family::of(&ip)), ip);
        }
        assert_eq!(WirePort::new(8080).get(), 8080);
        assert_eq!(WirePort::new(8080).0.to_ne_bytes(), 8080_u16.to_be_bytes());
    }

    #[test]
    fn prefix_masks_cover_the_leading_bits() {
        let v4 = |bits| match WireAddress::prefix_mask(bits, Family::V4).to_ip(Family::V4) {
            IpAddr::V4(v4) => u32::from(v4),
            IpAddr::V6(_) => unreachable!("asked for IPv4"),
        };
        assert_eq!(
            [v4(0), v4(9), v4(32), v4(99)],
            [0, 0xff80_0000, u32::MAX, u32::MAX]
        );
        let v6: Ipv6Addr = "ffff:ffff:ffff:ff00::".parse().expect("an address");
        assert_eq!(WireAddress::prefix_mask(56, Family::V6), v6.into());
    }
}

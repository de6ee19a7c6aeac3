//! The other end of mode `ipip`: what the decapsulator on a backend's host knows, decides and counts.
//!
//! It takes the outer header off packets that come from the balancers' outer prefix, to an address of
//! this host, with one of the VIPs inside. Whatever else arrives is passed as it is: a host may have
//! tunnels of its own, and without one its stack refuses the packet (protocol unreachable). Two kinds
//! that fit all three are dropped: what is malformed, and what RFC 6040 section 4.2 forbids to pass on.

mod congestion;
mod inspect;
#[cfg(test)]
mod tests;

pub use congestion::mark;
pub use inspect::{Inner, Verdict, inspect};

use crate::wire::WireAddress;

/// IP protocol number of IPv4 in IP (RFC 2003).
pub const IPIP: u8 = 4;
/// Next-header value of IPv6 in IP (RFC 2473).
pub const IP6IP6: u8 = 41;

/// Most addresses of the host, in each family.
pub const LOCALS: usize = 32;
/// Most VIPs, in each family.
pub const VIPS: usize = 64;
/// Most prefixes of outer sources, in each family.
pub const SOURCES: usize = 8;

/// A prefix of outer source addresses.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Source {
    /// The prefix; bits outside of the mask are 0.
    pub prefix: WireAddress,
    /// Its mask.
    pub mask: WireAddress,
}

/// What one family's tunnels are recognised by. Never changed while a program reads it: another
/// configuration comes with another program.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How many of `locals` count.
    pub local_count: u32,
    /// How many of `vips` count.
    pub vip_count: u32,
    /// How many of `sources` count.
    pub source_count: u32,
    /// Always 0.
    pub reserved: u32,
    /// Where tunnels may end: addresses of this host.
    pub locals: [WireAddress; LOCALS],
    /// What the packets inside may be for.
    pub vips: [WireAddress; VIPS],
    /// Where tunnels may begin.
    pub sources: [Source; SOURCES],
}
const _: () = assert!(core::mem::size_of::<Config>() == 16 + 16 * (LOCALS + VIPS + 2 * SOURCES));

impl Config {
    /// Knows nothing: every packet passes.
    pub const EMPTY: Self = Self {
        local_count: 0,
        vip_count: 0,
        source_count: 0,
        reserved: 0,
        locals: [WireAddress([0; 4]); LOCALS],
        vips: [WireAddress([0; 4]); VIPS],
        sources: [Source {
            prefix: WireAddress([0; 4]),
            mask: WireAddress([0; 4]),
        }; SOURCES],
    };

    /// Whether a tunnel may end at `address`.
    #[must_use]
    #[inline(always)]
    pub fn ends_at(&self, address: WireAddress) -> bool {
        holds(&self.locals, self.local_count, address)
    }

    /// Whether `address` is a VIP.
    #[must_use]
    #[inline(always)]
    pub fn serves(&self, address: WireAddress) -> bool {
        holds(&self.vips, self.vip_count, address)
    }

    /// Whether a tunnel may begin at `address`.
    #[must_use]
    #[inline(always)]
    pub fn trusts(&self, address: WireAddress) -> bool {
        let [high, low] = address.halves();
        let mut left = self.source_count;
        for source in &self.sources {
            if left == 0 {
                return false;
            }
            left -= 1;
            let ([prefix_high, prefix_low], [mask_high, mask_low]) =
                (source.prefix.halves(), source.mask.halves());
            if high & mask_high == prefix_high && low & mask_low == prefix_low {
                return true;
            }
        }
        false
    }
}

#[inline(always)]
fn holds(list: &[WireAddress], count: u32, wanted: WireAddress) -> bool {
    let mut left = count;
    for address in list {
        if left == 0 {
            return false;
        }
        left -= 1;
        if address.halves() == wanted.halves() {
            return true;
        }
    }
    false
}

/// What becomes of a frame, and under which number it is counted.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No packet of a tunnel of the two kinds: passed.
    NotTunnelled = 0,
    /// An IPv4 packet was taken out of IPv4, and passed.
    DecapsulatedV4 = 1,
    /// An IPv6 packet was taken out of IPv6, and passed.
    DecapsulatedV6 = 2,
    /// The outer destination is no address of this host that was named: passed as it is.
    OtherHost = 3,
    /// The outer source is in none of the prefixes: passed as it is.
    UnknownSource = 4,
    /// What is inside is for no VIP: passed as it is.
    OtherDestination = 5,
    /// A fragment of an outer packet: passed as it is. The path to this host has a smaller MTU than the
    /// balancer knows of.
    OuterFragment = 6,
    /// Outer IPv4 options, or outer extension headers other than a tunnel encapsulation limit (RFC 2473
    /// section 4.1.1): passed as it is.
    OuterOptions = 7,
    /// Lengths, versions or the outer checksum are wrong: dropped.
    Malformed = 8,
    /// Congestion was experienced in the tunnel, and the packet inside has no way to say so (RFC 6040
    /// section 4.2): dropped.
    CongestionUnmarkable = 9,
    /// The kernel did not let the header be taken off: dropped.
    Unwritable = 10,
}

impl Reason {
    /// All of them, by number.
    pub const ALL: [Self; 11] = [
        Self::NotTunnelled,
        Self::DecapsulatedV4,
        Self::DecapsulatedV6,
        Self::OtherHost,
        Self::UnknownSource,
        Self::OtherDestination,
        Self::OuterFragment,
        Self::OuterOptions,
        Self::Malformed,
        Self::CongestionUnmarkable,
        Self::Unwritable,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotTunnelled => "not_tunnelled",
            Self::DecapsulatedV4 => "decapsulated_v4",
            Self::DecapsulatedV6 => "decapsulated_v6",
            Self::OtherHost => "other_host",
            Self::UnknownSource => "unknown_source",
            Self::OtherDestination => "other_destination",
            Self::OuterFragment => "outer_fragment",
            Self::OuterOptions => "outer_options",
            Self::Malformed => "malformed",
            Self::CongestionUnmarkable => "congestion_unmarkable",
            Self::Unwritable => "unwritable",
        }
    }

    /// Whether the frame is dropped.
    #[must_use]
    #[inline(always)]
    pub const fn drops(self) -> bool {
        matches!(
            self,
            Self::Malformed | Self::CongestionUnmarkable | Self::Unwritable
        )
    }
}

/// Room for counters: a power of two, so that a masked reason is always a place.
pub const REASONS: usize = 16;

/// A CPU's counters, by the number of a [`Reason`].
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames.
    pub frames: [u64; REASONS],
}
const _: () = assert!(core::mem::size_of::<Counters>() == 128);
const _: () = assert!(Reason::ALL.len() <= REASONS);

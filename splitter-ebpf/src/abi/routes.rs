use core::convert::identity;

use super::assert_layout;
use crate::wire::{Family, WireAddress};

/// Spans of addresses that a split tells apart, in each family: a power of two, and more than twice
/// [`ROUTE_SOURCES`], for a prefix has two ends.
pub const ROUTE_SPANS: usize = 256;
/// Prefixes of one family that a service's routes can have.
pub const ROUTE_SOURCES: usize = 127;

/// Tracks by the client's address, before the weights: the address space cut into spans, each of which
/// goes to one track or by the weights. It lies behind the slots, so that it flips with them.
///
/// Spans instead of prefixes: a search of eight steps, the same for every client, in memory that is
/// mapped and replaced with the split; a trie of the kernel's would be a map of its own, changed entry by
/// entry.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routes {
    /// First addresses of the spans, ascending, as two words in host order. Unused ones at the end hold
    /// the last address, and the last span's track.
    pub starts_v6: [[u64; 2]; ROUTE_SPANS],
    /// The same for IPv4.
    pub starts_v4: [u32; ROUTE_SPANS],
    /// Of each span the track's number and 1, or 0: by the weights.
    pub tracks_v6: [u8; ROUTE_SPANS],
    /// The same for IPv4.
    pub tracks_v4: [u8; ROUTE_SPANS],
}
assert_layout!(Routes, 5632, starts_v6: 0, starts_v4: 4096, tracks_v6: 5120, tracks_v4: 5376);

impl Routes {
    /// All by the weights.
    pub const NONE: Self = Self {
        starts_v6: [[u64::MAX; 2]; ROUTE_SPANS],
        starts_v4: [u32::MAX; ROUTE_SPANS],
        tracks_v6: [0; ROUTE_SPANS],
        tracks_v4: [0; ROUTE_SPANS],
    };

    /// Where new flows of `client` go: a track's number and 1, or 0.
    #[must_use]
    pub fn find(&self, client: WireAddress, family: Family) -> u8 {
        match family {
            Family::V4 => self.find_in::<false>(client, identity),
            Family::V6 => self.find_in::<true>(client, identity),
        }
    }

    /// [`find`](Self::find) for a family that is known when the program is built.
    ///
    /// It does not branch: eight steps of two ways each would be 256 paths for the verifier. `opaque` gives its
    /// argument back: behind it the compiler must not know the place that was found to be in range, or it
    /// would leave out the mask that verifiers before Linux 6.3 go by.
    #[must_use]
    #[inline(always)]
    pub fn find_in<const V6: bool>(&self, client: WireAddress, opaque: impl Fn(u64) -> u64) -> u8 {
        let [a, b] = client.halves();
        let wide = [u64::from_be(a), u64::from_be(b)];
        let narrow = u64::from(u32::from_be(client.0[0]));
        let (mut at, mut step) = (0, ROUTE_SPANS.trailing_zeros());
        while step > 0 {
            step -= 1;
            let next = (at | (1 << step)) & (ROUTE_SPANS - 1);
            let beyond = if V6 {
                let start = self.starts_v6[next];
                borrow(wide[0], start[0], borrow(wide[1], start[1], 0))
            } else {
                borrow(narrow, u64::from(self.starts_v4[next]), 0)
            };
            at = opaque(at as u64 | ((1 - beyond) << step)) as usize;
        }
        if V6 {
            self.tracks_v6[at & (ROUTE_SPANS - 1)]
        } else {
            self.tracks_v4[at & (ROUTE_SPANS - 1)]
        }
    }
}

/// 1 if `a - b - carried` is below 0, else 0 (Warren, Hacker's Delight, section 2-16).
#[inline(always)]
const fn borrow(a: u64, b: u64, carried: u64) -> u64 {
    let difference = a.wrapping_sub(b).wrapping_sub(carried);
    ((!a & b) | ((!a | b) & difference)) >> 63
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use proptest::prelude::*;

    #[test]
    fn every_address_finds_its_span_and_the_last_one_the_last() {
        let mut routes = Routes::NONE;
        let starts = [0, 0x0a00_0000, 0x0b00_0000, 0xc612_0000];
        for (span, start) in starts.into_iter().enumerate() {
            routes.starts_v4[span] = start;
            routes.tracks_v4[span] = [0, 1, 0, 3][span];
        }
        routes.tracks_v4[4..].fill(3);
        for (address, track) in [
            (0, 0),
            (0x09ff_ffff, 0),
            (0x0a00_0000, 1),
            (0x0aff_ffff, 1),
            (0x0b00_0000, 0),
            (0xc611_ffff, 0),
            (0xc612_0000, 3),
            (u32::MAX, 3),
        ] {
            let address = IpAddr::V4(Ipv4Addr::from_bits(address));
            assert_eq!(routes.find(address.into(), Family::V4), track, "{address}");
        }
    }

    proptest! {
        #[test]
        fn a_borrow_is_that_of_the_subtraction(a in any::<u64>(), b in any::<u64>(), same in any::<bool>(), carried in 0..=1_u64) {
            let b = if same { a } else { b };
            let wide = u128::from(a).wrapping_sub(u128::from(b)).wrapping_sub(u128::from(carried));
            prop_assert_eq!(borrow(a, b, carried), u64::from(wide >> 127 == 1));
        }

        #[test]
        fn a_wide_search_finds_what_looking_at_every_span_finds(
            starts in proptest::collection::btree_set(any::<u128>(), 1..ROUTE_SPANS), near in any::<u8>(), which in any::<usize>(), up in any::<bool>(),
        ) {
            let mut routes = Routes::NONE;
            let mut all: std::vec::Vec<u128> = starts.into_iter().collect();
            all[0] = 0;
            for (span, start) in all.iter().enumerate() {
                routes.starts_v6[span] = [(start >> 64) as u64, *start as u64];
                routes.tracks_v6[span] = (span % 9) as u8;
            }
            routes.tracks_v6[all.len()..].fill(((all.len() - 1) % 9) as u8);
            let edge = all[which % all.len()];
            let near = u128::from(near % 3);
            let address = if up { edge.saturating_add(near) } else { edge.saturating_sub(near) };
            let span = all.iter().rposition(|start| *start <= address).expect("the first starts at 0");
            let client = IpAddr::V6(Ipv6Addr::from_bits(address));
            prop_assert_eq!(usize::from(routes.find(client.into(), Family::V6)), span % 9);
        }
    }

    extern crate std;
}

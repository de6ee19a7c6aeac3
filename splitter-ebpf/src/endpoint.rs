//! Keys and places: where an endpoint lies, what a flow is called, in which buckets it may be, and
//! what the two hashes of a new flow cover.

use crate::abi::{Affinity, SplitHeader};
use crate::hash::{Key, scatter, siphash13};
use crate::wire::{WireAddress, WirePort};

/// Tags of a bucket's four endpoints, 15 bits each (0: empty), packed into a word.
pub mod tags {
    /// Endpoints in a bucket.
    pub const LANES: usize = 4;
    /// Set in a bucket's word when one of its endpoints lies in its second bucket.
    pub const OVERFLOWED: u64 = 1 << 63;
    const LANE: u64 = 0x7fff;
    const ONES: u64 = 0x0001_0001_0001_0001;
    const TAGS: u64 = LANE * ONES;
    const HIGH: u64 = 0x8000_8000_8000_8000;

    /// A bit mask with the top bit of every lane whose tag may be `tag`; 0 when none is. Lanes above
    /// a true match may be reported falsely, so endpoints are compared in full.
    #[must_use]
    #[inline(always)]
    pub const fn matches(word: u64, tag: u64) -> u64 {
        let different = (word & TAGS) ^ (tag * ONES);
        different.wrapping_sub(ONES) & !different & HIGH
    }

    /// The tag in `lane`.
    #[must_use]
    pub const fn get(word: u64, lane: usize) -> u64 {
        (word >> (16 * lane)) & LANE
    }

    /// The word with `tag` in `lane`.
    #[must_use]
    pub const fn with(word: u64, lane: usize, tag: u64) -> u64 {
        (word & !(LANE << (16 * lane))) | ((tag & LANE) << (16 * lane))
    }
}

/// The hash of an endpoint, good in its upper half.
#[must_use]
#[inline(always)]
pub fn endpoint_hash(seed: Key, address: WireAddress, meta: u64) -> u64 {
    let [a, b] = address.halves();
    spread(seed, a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15), meta)
}

/// The same for IPv4, whose address is one word.
#[must_use]
#[inline(always)]
pub fn endpoint_hash_v4(seed: Key, address: u32, meta: u64) -> u64 {
    spread(seed, address as u64, meta)
}

/// [`scatter`] but for its last fold, for foreign traffic pays twice a packet. One
/// multiplication would be too few: neighbouring addresses and ports then crowd together.
#[inline(always)]
const fn spread(seed: Key, address: u64, meta: u64) -> u64 {
    let word = address ^ (meta << 32) ^ seed[0];
    let once = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (once ^ (once >> 32) ^ seed[1]).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// The tag of an endpoint's hash: 15 bits, never 0.
#[must_use]
#[inline(always)]
pub const fn endpoint_tag(hash: u64) -> u64 {
    (hash >> 49) | 1
}

/// The bucket where an endpoint lies unless that was full, in a table of `mask` + 1.
#[must_use]
#[inline(always)]
pub const fn endpoint_home(hash: u64, mask: u32) -> u32 {
    (hash >> 32) as u32 & mask
}

/// Its other bucket; now and then the same.
#[must_use]
#[inline(always)]
pub const fn endpoint_overflow(hash: u64, mask: u32) -> u32 {
    (hash >> 22) as u32 & mask
}

/// The name of an IPv4 flow, exact in 64 bits.
#[must_use]
#[inline(always)]
pub const fn flow_key_v4(client: u32, port: WirePort, listener: u16) -> u64 {
    ((client as u64) << 32) | ((port.0 as u64) << 16) | listener as u64
}

/// The name of an IPv6 flow: a keyed fingerprint, never 0.
#[must_use]
#[inline(always)]
pub fn flow_key_v6(key: Key, client: WireAddress, port: WirePort, listener: u16) -> u64 {
    let [a, b] = client.halves();
    let fingerprint = siphash13(key, [a, b, ((port.0 as u64) << 16) | listener as u64]);
    fingerprint | ((fingerprint == 0) as u64)
}

/// The name of a second entry: what `backend` (an endpoint's address and port) and the `translated`
/// address and port of a client are to each other. A keyed fingerprint for both families, never 0, apart
/// from those of [`flow_key_v6`] by its length; what it leads to is compared in full.
#[must_use]
#[inline(always)]
pub fn translation_key<const V6: bool>(
    key: Key,
    backend: (WireAddress, WirePort),
    translated: (WireAddress, WirePort),
    protocol: u8,
) -> u64 {
    let rest = backend.1.0 as u64 | ((translated.1.0 as u64) << 16) | ((protocol as u64) << 32);
    let fingerprint = if V6 {
        let ([a, b], [c, d]) = (backend.0.halves(), translated.0.halves());
        siphash13(key, [a, b, c, d, rest])
    } else {
        let addresses = backend.0.0[0] as u64 | ((translated.0.0[0] as u64) << 32);
        siphash13(key, [addresses, rest])
    };
    fingerprint | ((fingerprint == 0) as u64)
}

/// The place, below `total`, of the address and port that is tried as number `probe` for a client whose
/// flow has the hash `spread`. `total` is a number of addresses (at most 15) times one of ports (at most
/// 65,535), not 0.
///
/// Double hashing (Knuth, The Art of Computer Programming, section 6.4): probes one after the other would
/// make runs of taken places, and then find none long before there is none. The step is one of 288 products
/// of primes above 65,535, which divide no such total, so that the probes meet each place once.
#[must_use]
#[inline(always)]
pub const fn translation_place(spread: u32, probe: u32, total: u32) -> u32 {
    /// Eight primes less 65,536, a byte each; and eight others.
    const LOW: u64 = 0x2d2b_1b15_0f07_0301;
    const HIGH: u64 = 0x736f_615d_5149_3f33;
    let total = total as u64;
    let step = prime(LOW, spread >> 3) * prime(LOW, spread >> 6) % total * prime(HIGH, spread);
    (((spread >> 9) as u64 + probe as u64 * (step % total)) % total) as u32
}

/// A prime by three bits of a hash.
#[inline(always)]
const fn prime(offsets: u64, bits: u32) -> u64 {
    65_536 + ((offsets >> (8 * (bits & 7))) & 0xff)
}

/// Where a flow may lie and what marks its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowPlace {
    /// Its two buckets; never the same one, given at least two.
    pub buckets: [u32; 2],
    /// 20 bits.
    pub tag: u32,
    /// Its insert lock.
    pub lock: u32,
}

/// The place of the flow named `key` in a table of `mask` + 1 buckets.
#[must_use]
#[inline(always)]
pub fn flow_place(secret: Key, key: u64, mask: u32) -> FlowPlace {
    let hash = scatter(secret, key);
    let first = hash as u32 & mask;
    let second = (hash >> 22) as u32 & mask;
    let second = if first == second { second ^ 1 } else { second };
    FlowPlace {
        buckets: [first, second],
        tag: (hash >> 44) as u32,
        lock: (hash >> 32) as u32 & (crate::abi::LOCKS as u32 - 1),
    }
}

/// A new flow as its service's hashes see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowTuple {
    /// The client.
    pub client: WireAddress,
    /// The listener's VIP.
    pub vip: WireAddress,
    /// The client's port.
    pub client_port: WirePort,
    /// The listener's port.
    pub vip_port: WirePort,
    /// IP protocol number.
    pub protocol: u8,
}

impl FlowTuple {
    #[inline(always)]
    const fn ports(&self) -> u64 {
        self.client_port.0 as u64
            | ((self.vip_port.0 as u64) << 16)
            | ((self.protocol as u64) << 32)
    }

    #[inline(always)]
    fn hash_v4(&self, key: Key) -> u64 {
        siphash13(
            key,
            [
                self.client.0[0] as u64 | ((self.vip.0[0] as u64) << 32),
                self.ports(),
            ],
        )
    }

    #[inline(always)]
    fn hash_v6(&self, key: Key) -> u64 {
        let [a, b] = self.client.halves();
        let [c, d] = self.vip.halves();
        siphash13(key, [a, b, c, d, self.ports()])
    }

    /// The slot of an IPv4 flow, and the entry of a track table that it takes.
    ///
    /// Disjoint bits of one pseudo-random value know nothing of each other, so one hash of the whole
    /// tuple serves for both. A slot that goes by the client's address alone has a hash of its own, and
    /// so has a backend that does: two services with one salt, whose clients meet one version, deal them
    /// to their backends as they like.
    #[must_use]
    #[inline(always)]
    pub fn place_v4(&self, header: &SplitHeader) -> (u16, u32) {
        if header.affinity == Affinity::ClientIp as u32 {
            let client = [(self.client.0[0] & header.mask_v4) as u64];
            let within = if header.flags & SplitHeader::BACKEND_BY_CLIENT == 0 {
                self.hash_v4(header.track_key)
            } else {
                siphash13(header.track_key, client)
            };
            return (siphash13(header.split_key, client) as u16, entry(within));
        }
        let hash = self.hash_v4(header.split_key);
        (hash as u16, entry(hash))
    }

    /// The same for an IPv6 flow.
    #[must_use]
    #[inline(always)]
    pub fn place_v6(&self, header: &SplitHeader) -> (u16, u32) {
        if header.affinity == Affinity::ClientIp as u32 {
            let [a, b] = self.client.halves();
            let [c, d] = header.mask_v6.halves();
            let client = [a & c, b & d];
            let within = if header.flags & SplitHeader::BACKEND_BY_CLIENT == 0 {
                self.hash_v6(header.track_key)
            } else {
                siphash13(header.track_key, client)
            };
            return (siphash13(header.split_key, client) as u16, entry(within));
        }
        let hash = self.hash_v6(header.split_key);
        (hash as u16, entry(hash))
    }
}

/// Maps the upper half of a hash onto the entries of a track table, evenly (Lemire, 2019).
#[inline(always)]
const fn entry(hash: u64) -> u32 {
    (((hash >> 32) * crate::abi::MAGLEV as u64) >> 32) as u32
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_tag_is_found_in_every_lane_it_lies_in(word in any::<u64>(), tag in 1_u64..0x8000, lane in 0_usize..4) {
            let word = tags::with(word, lane, tag);
            prop_assert_eq!(tags::get(word, lane), tag);
            prop_assert_ne!(tags::matches(word, tag) & (0x8000 << (16 * lane)), 0);
        }

        #[test]
        fn no_lane_is_reported_where_none_matches(word in any::<u64>(), tag in 1_u64..0x8000) {
            let present = (0..4).any(|lane| tags::get(word, lane) == tag);
            prop_assert_eq!(tags::matches(word, tag) != 0, present);
        }

        #[test]
        fn a_flow_has_two_buckets_within_the_table(secret in any::<[u64; 2]>(), key in any::<u64>(), bits in 1_u32..25) {
            let mask = (1 << bits) - 1;
            let place = flow_place(secret, key, mask);
            prop_assert_ne!(place.buckets[0], place.buckets[1]);
            prop_assert!(place.buckets.iter().all(|b| *b <= mask));
            prop_assert!(place.tag < 1 << 20);
        }

        #[test]
        fn probes_meet_every_place_once(spread in any::<u32>(), total in 1_u32..3000) {
            let met: std::collections::BTreeSet<u32> =
                (0..total).map(|probe| translation_place(spread, probe, total)).collect();
            prop_assert!(met.len() == total as usize && met.iter().all(|place| *place < total));
        }

        #[test]
        fn every_entry_lies_in_the_track_table(hash in any::<u64>()) {
            prop_assert!((entry(hash) as usize) < crate::abi::MAGLEV);
        }
    }
}

//! Keyed hashes of the data plane.
//!
//! [`siphash13`] (Aumasson and Bernstein, SipHash, 2012; one compression and three finalisation
//! rounds) decides who meets which track and backend, and names IPv6 flows. [`scatter`] spreads
//! keys that are compared in full afterwards over buckets, where a few multiplications suffice.

/// A 128-bit key as two words.
pub type Key = [u64; 2];

/// SipHash-1-3 of `words`, each taken as its eight bytes in little-endian order.
#[must_use]
#[inline(always)]
pub fn siphash13<const N: usize>(key: Key, words: [u64; N]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let mut i = 0;
    while i < N {
        v[3] ^= words[i];
        round(&mut v);
        v[0] ^= words[i];
        i += 1;
    }
    // The last block holds the message's length in bytes, modulo 256, in its top byte.
    let last = ((N as u64 * 8) & 0xff) << 56;
    v[3] ^= last;
    round(&mut v);
    v[0] ^= last;
    v[2] ^= 0xff;
    round(&mut v);
    round(&mut v);
    round(&mut v);
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline(always)]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

/// Spreads `key` over 64 bits under the secret `k`: two keyed multiplications, each followed by a
/// fold of the well-mixed upper half into the lower. Not a MAC; what it spreads is compared in full.
#[must_use]
#[inline(always)]
pub fn scatter(k: Key, key: u64) -> u64 {
    let mut h = (key ^ k[0]).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    h ^= h >> 32;
    h = (h ^ k[1]).wrapping_mul(0xd6e8_feb8_6659_fd93);
    h ^ (h >> 32)
}

/// A child key of `secret` for `purpose`: SipHash-1-3 in counter mode over the purpose's digest, so
/// that no two uses share a key.
#[must_use]
pub fn derive(secret: &[u8; 32], purpose: &str, context: &str) -> Key {
    let word = |i: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&secret[i * 8..i * 8 + 8]);
        u64::from_le_bytes(bytes)
    };
    let label = digest([word(0), word(1)], purpose.as_bytes());
    let context = digest([word(2), word(3)], context.as_bytes());
    [
        siphash13([word(0), word(2)], [label, context, 0]),
        siphash13([word(1), word(3)], [label, context, 1]),
    ]
}

/// SipHash-1-3 chained over `bytes`, eight at a time, the length first.
#[must_use]
pub fn digest(key: Key, bytes: &[u8]) -> u64 {
    let mut state = siphash13(key, [bytes.len() as u64]);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = siphash13(key, [state, u64::from_le_bytes(word)]);
    }
    state
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use core::hash::Hasher as _;

    #[test]
    fn siphash_is_that_of_the_standard_library() {
        // The standard library's default hasher is SipHash-1-3 under the zero key.
        fn expected(words: &[u64]) -> u64 {
            let mut hasher = std::hash::DefaultHasher::new();
            for word in words {
                hasher.write(&word.to_le_bytes());
            }
            hasher.finish()
        }
        assert_eq!(siphash13([0, 0], [7]), expected(&[7]));
        assert_eq!(siphash13([0, 0], [1, u64::MAX]), expected(&[1, u64::MAX]));
        assert_eq!(
            siphash13([0, 0], [1, 2, 3, 4, 5]),
            expected(&[1, 2, 3, 4, 5])
        );
    }

    #[test]
    fn scatter_fills_buckets_evenly_for_neighbouring_keys() {
        let mut buckets = [0_u32; 256];
        for key in 0..65_536_u64 {
            buckets[(scatter([1, 2], key << 16) & 0xff) as usize] += 1;
        }
        // 256 expected in each; eight standard deviations (16) either side.
        assert!(
            buckets.iter().all(|n| (128..=384).contains(n)),
            "{buckets:?}"
        );
    }

    #[test]
    fn derived_keys_differ_by_purpose_context_and_secret() {
        let secret = [7; 32];
        let base = derive(&secret, "split", "web");
        assert_eq!(base, derive(&secret, "split", "web"));
        assert_ne!(base, derive(&secret, "track", "web"));
        assert_ne!(base, derive(&secret, "split", "shop"));
        assert_ne!(base, derive(&[8; 32], "split", "web"));
    }
}

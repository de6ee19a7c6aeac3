//! The endpoint table: what a destination or a source stands for. One word of tags answers for a
//! bucket of four, so foreign traffic is recognised by one load in each direction.

use super::maps::{ENDPOINT_MASK, ENDPOINT_SEED, ENDPOINT_TAGS, ENDPOINTS};
use super::word;
use splitter_ebpf::abi::Endpoint;
use splitter_ebpf::endpoint::{
    endpoint_hash, endpoint_hash_v4, endpoint_home, endpoint_overflow, endpoint_tag, tags,
};
use splitter_ebpf::wire::WireAddress;

/// What `address` with `meta` ([`Endpoint::meta_of`]) stands for.
#[inline(always)]
pub fn endpoint<const V6: bool>(address: WireAddress, meta: u64) -> Option<&'static Endpoint> {
    let seed = ENDPOINT_SEED.load();
    let hash = if V6 {
        endpoint_hash(seed, address, meta)
    } else {
        endpoint_hash_v4(seed, address.0[0], meta)
    };
    let mask = ENDPOINT_MASK.load();
    let home = endpoint_home(hash, mask);
    let tag = endpoint_tag(hash);
    let word = word::load(ENDPOINT_TAGS.get_ptr(home)?);
    if tags::matches(word, tag) != 0
        && let Some(found) = in_bucket::<V6>(home, word, tag, address, meta)
    {
        return Some(found);
    }
    if word & tags::OVERFLOWED == 0 {
        return None;
    }
    let second = endpoint_overflow(hash, mask);
    let word = word::load(ENDPOINT_TAGS.get_ptr(second)?);
    in_bucket::<V6>(second, word, tag, address, meta)
}

#[inline(always)]
fn in_bucket<const V6: bool>(
    bucket: u32,
    word: u64,
    tag: u64,
    address: WireAddress,
    meta: u64,
) -> Option<&'static Endpoint> {
    let mut lane = 0;
    while lane < tags::LANES {
        if tags::get(word, lane) == tag
            && let Some(endpoint) = ENDPOINTS.get(bucket * tags::LANES as u32 + lane as u32)
            && endpoint.meta == meta
            && same_address::<V6>(&endpoint.address, &address)
        {
            return Some(endpoint);
        }
        lane += 1;
    }
    None
}

/// Compares word by word; slices would become a call of a byte-wise `memcmp`.
#[inline(always)]
pub const fn same_address<const V6: bool>(a: &WireAddress, b: &WireAddress) -> bool {
    let (a, b) = (&a.0, &b.0);
    a[0] == b[0] && (!V6 || (a[1] == b[1] && a[2] == b[2] && a[3] == b[3]))
}

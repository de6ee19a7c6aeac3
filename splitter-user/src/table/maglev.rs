//! Which backend of a track serves a new flow: weighted Maglev.
//!
//! After Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
//! section 3.4. Every backend has its own order of all entries, made from its address and port
//! alone, and in turn takes the next one that is free. So a backend that comes or goes moves few
//! entries of the others.
//!
//! Weights are exact: each backend has its count of entries by largest remainder, at least one. The
//! `n`-th turn of a backend comes at the time `n / weight`, which for equal weights is one turn for
//! each in every round.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;

use super::digest::Fnv;
use crate::share::apportion;

/// Entries of a track table: a prime, as the orders need it to be.
pub const ENTRIES: usize = 65_537;
/// [`ENTRIES`] as a count.
const ALL: u32 = 65_537;
/// What an entry holds that nobody serves.
pub const NOBODY: u16 = 0;

/// A backend of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its id in the data plane: what entries hold. It has no influence on which.
    pub id: u16,
    /// Its address.
    pub address: IpAddr,
    /// Its port, 0 for the listener's.
    pub port: u16,
    /// Its weight; with 0 it gets no entries.
    pub weight: u32,
}

/// The table for the backends of one track and one address family, in whatever order they come.
/// Without any that has weight, all entries are [`NOBODY`].
pub fn build(backends: &[Member]) -> Box<[u16]> {
    deal(backends, ALL)
}

/// A table of so many entries, which must be a prime.
fn deal(backends: &[Member], entries: u32) -> Box<[u16]> {
    let mut table = vec![NOBODY; entries as usize].into_boxed_slice();
    let mut members: Vec<&Member> = backends.iter().filter(|m| m.weight > 0).collect();
    members.sort_unstable_by_key(|member| (member.address, member.port, member.id));
    let weights: Vec<u64> = members.iter().map(|m| u64::from(m.weight)).collect();
    let targets = apportion(entries, 1, &weights);
    let order = |member: &&Member| Order::of(member, entries);
    let mut orders: Vec<Order> = members.iter().map(order).collect();
    let mut taken = vec![0_u32; members.len()];
    let mut turns: BinaryHeap<Reverse<(u64, usize)>> = (0..members.len())
        .filter(|index| targets[*index] > 0)
        .map(|index| Reverse((0, index)))
        .collect();
    let mut filled = vec![false; table.len()];
    while let Some(Reverse((_, index))) = turns.pop() {
        let entry = orders[index].next_free(&filled);
        filled[entry] = true;
        table[entry] = members[index].id;
        taken[index] += 1;
        if taken[index] < targets[index] {
            let time = (u64::from(taken[index]) << 32) / u64::from(members[index].weight);
            turns.push(Reverse((time, index)));
        }
    }
    table
}

/// A backend's own order of all entries: start, then always the same step further. The number of
/// entries is prime, so every step visits all of them.
struct Order {
    at: usize,
    step: usize,
}

impl Order {
    fn of(member: &Member, entries: u32) -> Self {
        let mut hash = Fnv::default();
        match member.address {
            IpAddr::V4(v4) => v4.octets().iter().for_each(|byte| hash.add(*byte)),
            IpAddr::V6(v6) => v6.octets().iter().for_each(|byte| hash.add(*byte)),
        }
        member.port.to_be_bytes().iter().for_each(|b| hash.add(*b));
        let hash = mix(hash.0);
        let modulo = |number: u64, by: u32| usize::try_from(number % u64::from(by)).unwrap_or(0);
        Self {
            at: modulo(hash, entries),
            step: modulo(mix(hash ^ u64::from(entries)), entries - 1) + 1,
        }
    }

    /// The next entry of the order that is not filled. There must be one.
    fn next_free(&mut self, filled: &[bool]) -> usize {
        loop {
            let entry = self.at;
            self.at += self.step;
            if self.at >= filled.len() {
                self.at -= filled.len();
            }
            if !filled[entry] {
                return entry;
            }
        }
    }
}

/// Spreads what FNV leaves in the low bits over all 64: xor with a shift and odd multiplications.
const fn mix(hash: u64) -> u64 {
    let mut x = hash;
    x ^= x >> 31;
    x = x.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x ^= x >> 29;
    x = x.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    x ^ (x >> 32)
}

#[cfg(test)]
mod tests;

//! Routes: from rules of which the first that matches wins to spans of addresses.
//!
//! A rule's networks are prefixes, and prefixes nest or lie apart. So the address space falls into spans
//! within which the same rules match, and in each of them the first of those wins: an earlier short prefix
//! covers later long ones, an earlier long one cuts a hole into a later short one.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use splitter_ebpf::abi::{ROUTE_SPANS, Routes};

use crate::model::{Family, family_of};

/// The whole address space of both families, cut into spans. A span goes to the track of that number, or
/// by the weights; it ends where the next one begins. A family without any goes by the weights as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spans {
    v4: Vec<(Ipv4Addr, Option<u8>)>,
    v6: Vec<(Ipv6Addr, Option<u8>)>,
}

/// A network of a route that no client can reach, for earlier routes take them all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    /// The route, from 0.
    pub route: usize,
    /// Its network.
    pub source: IpNet,
    /// The routes before it that take its clients.
    pub by: Vec<usize>,
}

/// A network as its first and last address, and the rule that names it.
struct Stretch {
    first: u128,
    last: u128,
    rule: usize,
}

impl Spans {
    /// The spans of rules in order: networks, and the number of the track that they go to.
    pub fn compile<'r>(rules: impl IntoIterator<Item = (&'r [IpNet], u8)>) -> Self {
        let rules: Vec<(&[IpNet], u8)> = rules.into_iter().collect();
        let merged = |family| {
            let all = stretches(rules.iter().map(|(sources, _)| *sources), family);
            let mut spans: Vec<(u128, Option<u8>)> = Vec::new();
            for start in edges(&all, family) {
                let track = winner(&all, start).map(|rule| rules[rule].1);
                if spans.last().is_none_or(|(_, before)| *before != track) {
                    spans.push((start, track));
                }
            }
            if spans.iter().all(|(_, track)| track.is_none()) {
                spans.clear();
            }
            spans
        };
        let narrow = |start: u128| Ipv4Addr::from_bits(u32::try_from(start).unwrap_or(u32::MAX));
        Self {
            v4: merged(Family::V4)
                .into_iter()
                .map(|(start, track)| (narrow(start), track))
                .collect(),
            v6: merged(Family::V6)
                .into_iter()
                .map(|(start, track)| (Ipv6Addr::from_bits(start), track))
                .collect(),
        }
    }

    /// Whether all clients go by the weights.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// The track that a client is led to, if it is led to one.
    #[must_use]
    pub fn find(&self, client: IpAddr) -> Option<u8> {
        match client {
            IpAddr::V4(client) => find(&self.v4, client),
            IpAddr::V6(client) => find(&self.v6, client),
        }
    }

    /// Every span as text, for the digest: where it begins, and the track's number.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, Option<u8>)> {
        let v4 = self
            .v4
            .iter()
            .map(|(start, track)| (IpAddr::V4(*start), *track));
        v4.chain(
            self.v6
                .iter()
                .map(|(start, track)| (IpAddr::V6(*start), *track)),
        )
    }

    /// Whether some client is led to this track.
    #[must_use]
    pub fn lead_to(&self, number: u8) -> bool {
        self.iter().any(|(_, track)| track == Some(number))
    }

    /// Whether some client of this family is led to this track.
    #[must_use]
    pub fn lead_of_family(&self, number: u8, family: Family) -> bool {
        match family {
            Family::V4 => self.v4.iter().any(|(_, track)| *track == Some(number)),
            Family::V6 => self.v6.iter().any(|(_, track)| *track == Some(number)),
        }
    }

    /// As the program searches them. More spans than it has room for, which validation refuses, are left out.
    #[must_use]
    pub fn table(&self) -> Box<Routes> {
        let mut table = Box::new(Routes::NONE);
        let cell = |track: &Option<u8>| track.map_or(0, |number| number + 1);
        for (index, (start, track)) in self.v4.iter().enumerate().take(ROUTE_SPANS) {
            table.starts_v4[index] = start.to_bits();
            table.tracks_v4[index..].fill(cell(track));
        }
        for (index, (start, track)) in self.v6.iter().enumerate().take(ROUTE_SPANS) {
            let bits = start.to_bits();
            let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
            table.starts_v6[index] = [half(bits >> 64), half(bits)];
            table.tracks_v6[index..].fill(cell(track));
        }
        table
    }
}

fn find<A: Ord + Copy>(spans: &[(A, Option<u8>)], client: A) -> Option<u8> {
    let behind = spans.partition_point(|(start, _)| *start <= client);
    spans[..behind].last().and_then(|(_, track)| *track)
}

/// The networks of these rules that no client reaches, in order.
pub fn shadows(rules: &[&[IpNet]]) -> Vec<Shadow> {
    let mut found = Vec::new();
    for family in [Family::V4, Family::V6] {
        let all = stretches(rules.iter().copied(), family);
        let edges = edges(&all, family);
        for (route, sources) in rules.iter().enumerate() {
            for source in sources.iter().filter(|source| family_of(source) == family) {
                let stretch = stretch(source, route);
                let by: BTreeSet<usize> = edges
                    .range(stretch.first..=stretch.last)
                    .filter_map(|start| winner(&all, *start))
                    .collect();
                if !by.contains(&route) {
                    found.push(Shadow {
                        route,
                        source: *source,
                        by: by.into_iter().collect(),
                    });
                }
            }
        }
    }
    found.sort_by_key(|shadow| (shadow.route, shadow.source));
    found
}

fn stretches<'r>(rules: impl Iterator<Item = &'r [IpNet]>, family: Family) -> Vec<Stretch> {
    rules
        .enumerate()
        .flat_map(|(rule, sources)| sources.iter().map(move |source| (rule, source)))
        .filter(|(_, source)| family_of(source) == family)
        .map(|(rule, source)| stretch(source, rule))
        .collect()
}

fn stretch(source: &IpNet, rule: usize) -> Stretch {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    Stretch {
        first: bits(source.network()),
        last: bits(source.broadcast()),
        rule,
    }
}

/// Where spans may begin: at the first address of all, of each network, and behind the last of each.
fn edges(all: &[Stretch], family: Family) -> BTreeSet<u128> {
    let most = match family {
        Family::V4 => u128::from(u32::MAX),
        Family::V6 => u128::MAX,
    };
    let behind = all.iter().filter_map(|stretch| stretch.last.checked_add(1));
    let first = all.iter().map(|stretch| stretch.first);
    first
        .chain(behind.filter(|edge| *edge <= most))
        .chain([0])
        .collect()
}

/// The first rule that matches an address.
fn winner(all: &[Stretch], address: u128) -> Option<usize> {
    all.iter()
        .find(|stretch| (stretch.first..=stretch.last).contains(&address))
        .map(|stretch| stretch.rule)
}

#[cfg(test)]
mod tests;

//! Split tables at random: weights, affinity, routes, preview, fallback.

use std::net::IpAddr;

use ipnet::IpNet;
use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use super::super::steering::{ByClient, Route};
use super::client;

/// What one of a service's split tables says.
#[derive(Debug, Clone)]
pub(in super::super) struct SplitSpec {
    /// What its hashes are keyed by.
    pub(in super::super) salt: String,
    /// The parts of each track.
    pub(in super::super) parts: Vec<(u8, u64)>,
    pub(in super::super) by_client: Option<ByClient>,
    pub(in super::super) routes: Vec<Route>,
    /// A listener, by its place in the service, and its track.
    pub(in super::super) preview: Option<(usize, Option<u8>)>,
    pub(in super::super) fallback: Option<u8>,
}

impl SplitSpec {
    /// One for so many tracks and listeners.
    pub(super) fn random(rng: &mut SmallRng, tracks: u8, listeners: usize) -> Self {
        // Now and then a track that has nobody.
        let beyond = u8::from(rng.random_ratio(1, 8));
        let all: Vec<u8> = (0..tracks + beyond).collect();
        let mut parts: Vec<_> = all
            .iter()
            .map(|track| (*track, rng.random_range(0..3)))
            .collect();
        parts[usize::from(rng.random_range(0..tracks))].1 += 1;
        let track = |rng: &mut SmallRng| *all.choose(rng).expect("a track");
        Self {
            salt: format!("salt {}", rng.random_range(0..3)),
            parts,
            by_client: rng.random_ratio(1, 3).then(|| by_client(rng)),
            routes: routes(rng, track),
            preview: (listeners > 0 && rng.random_ratio(1, 3)).then(|| {
                let track = rng.random_ratio(9, 10).then(|| track(rng));
                (rng.random_range(0..listeners), track)
            }),
            fallback: rng.random_ratio(1, 2).then(|| track(rng)),
        }
    }
}

fn by_client(rng: &mut SmallRng) -> ByClient {
    ByClient {
        bits: [
            *[32, 31, 29, 28, 20].choose(rng).expect("a choice"),
            *[128, 127, 125, 120, 64, 48].choose(rng).expect("a choice"),
        ],
        backend: rng.random(),
    }
}

/// No routes, a few, or nearly as many as there may be.
fn routes(rng: &mut SmallRng, track: impl Fn(&mut SmallRng) -> u8) -> Vec<Route> {
    let count = match rng.random_range(0..8) {
        0..4 => 0,
        4..7 => rng.random_range(1..=5),
        _ => 60,
    };
    let route = |_| Route {
        sources: (0..rng.random_range(1..=2)).map(|_| network(rng)).collect(),
        track: track(rng),
    };
    (0..count).map(route).collect()
}

/// A network with clients in it, or near them.
fn network(rng: &mut SmallRng) -> IpNet {
    const BITS: [&[u8]; 2] = [
        &[32, 32, 31, 30, 29, 28, 27, 24, 16, 1, 0],
        &[128, 128, 127, 126, 125, 124, 120, 112, 80, 64, 48, 33, 0],
    ];
    let v6 = rng.random();
    let all = if v6 { 128 } else { 32 };
    let mut bits = match client(v6, rng.random_range(0..super::CLIENTS)) {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    if rng.random_ratio(1, 8) {
        bits ^= 1 << rng.random_range(0..all);
    }
    let address = match v6 {
        false => IpAddr::V4(u32::try_from(bits).expect("32 bits").into()),
        true => IpAddr::V6(bits.into()),
    };
    let length = *BITS[usize::from(v6)].choose(rng).expect("a choice");
    let net = IpNet::new(address, length).expect("no more bits than there are");
    net.trunc()
}

//! What a trial's tables hold, at random: a world is a function of its seed and number.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use splitter_ebpf::abi::{Mode, NoBackend, PAIRS, Path};
use splitter_ebpf::wire::{TCP, UDP};
use splitter_user::table::route::Spans;
use splitter_user::table::split::Slots;

use crate::rig::{Plan, Server, split};

mod steering;

pub(super) use steering::SplitSpec;

/// Clients a family. So few that their packets meet again, and again through other listeners.
pub(super) const CLIENTS: u8 = 24;

/// A backend of a world.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) at: SocketAddr,
    /// The interface that leads to it; 0: not known.
    pub(super) ifindex: u32,
    /// What the way there takes.
    pub(super) mtu: u16,
    /// The tag on the way there.
    pub(super) tag: Option<u16>,
}

/// A service of a world.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) listeners: Vec<(SocketAddr, u8)>,
    pub(super) tracks: Vec<Vec<Place>>,
    /// The four split tables.
    pub(super) tables: Vec<SplitSpec>,
    pub(super) mode: Mode,
    /// Addresses and ports that stand for clients.
    pub(super) pool: (Vec<IpAddr>, std::ops::Range<u16>),
    pub(super) no_backend: NoBackend,
}

impl Spec {
    /// The plan of it with one of its tables.
    pub(super) fn plan(&self, table: &SplitSpec) -> Plan {
        let mut plan = Plan::new(&table.salt).split(slots(&table.parts));
        for (at, protocol) in &self.listeners {
            plan = plan.listen(&at.to_string(), *protocol);
        }
        for track in &self.tracks {
            let server = |place: &Place| {
                let vlan = place.tag.map_or(0, Path::tagged);
                let path = Path {
                    mtu: place.mtu,
                    vlan,
                };
                Server::at(place.at).over(place.ifindex).by(path)
            };
            plan = plan.servers(&track.iter().map(server).collect::<Vec<_>>());
        }
        if let Some(by_client) = table.by_client {
            let [v4, v6] = by_client.bits;
            plan = plan.by_client(v4, v6);
            if by_client.backend {
                plan = plan.backend_by_client();
            }
        }
        if let Some((listener, track)) = table.preview {
            let listener = u16::try_from(listener).expect("few listeners");
            plan = plan.preview(listener, track);
        }
        if let Some(track) = table.fallback {
            plan = plan.fallback(track);
        }
        if !table.routes.is_empty() {
            let rules = table.routes.iter();
            let rules = rules.map(|route| (&route.sources[..], route.track));
            plan = plan.routes(&Spans::compile(rules));
        }
        let (addresses, ports) = &self.pool;
        let addresses: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        plan.translated_to(&addresses, ports.clone())
            .mode(self.mode)
    }
}

/// What a trial's tables hold.
#[derive(Debug, Clone)]
pub struct World {
    pub(super) services: Vec<Spec>,
    pub(super) flow_buckets: u32,
    /// Flows that may be pinned in all, if there is a cap.
    pub(super) cap: Option<u64>,
}

impl World {
    /// World number `number` of a seed.
    #[must_use]
    pub fn of(seed: u64, number: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut maker = Maker {
            pairs: HashMap::new(),
            taken: Vec::new(),
        };
        Self {
            services: (0..rng.random_range(1..=3))
                .map(|service| maker.service(&mut rng, number + service))
                .collect(),
            flow_buckets: *[2, 2, 8, 64, 1024].choose(&mut rng).expect("a choice"),
            cap: (number % 8 == 7).then(|| rng.random_range(50..400)),
        }
    }
}

/// Address number `n` of the network `net` of a family.
pub(super) fn address(v6: bool, net: u8, n: u8) -> IpAddr {
    if v6 {
        return IpAddr::from([0x2001, 0xdb8, net.into(), 0, 0, 0, 0, u16::from(n)]);
    }
    IpAddr::from([198, 18, net, n])
}

/// Client number `n`; every other one by a route that the kernel knows.
pub(super) fn client(v6: bool, n: u8) -> IpAddr {
    match (n.is_multiple_of(2), v6) {
        (true, false) => IpAddr::from([198, 19, 7, n]),
        (true, true) => IpAddr::from([0x2001, 0xdb8, 0xc, 0, 0, 0, 9, n.into()]),
        (false, v6) => address(v6, 9, n),
    }
}

struct Maker {
    /// How many pairs an endpoint has.
    pairs: HashMap<(SocketAddr, u8), usize>,
    /// Listeners so far.
    taken: Vec<(SocketAddr, u8)>,
}

impl Maker {
    /// A service. What few packets in few worlds would not meet by chance goes round by `number`.
    fn service(&mut self, rng: &mut SmallRng, number: u64) -> Spec {
        let mut listeners = Vec::new();
        for _ in 0..rng.random_range(1..=4) {
            let ip = address(rng.random(), 1, rng.random_range(1..=2));
            let port = *[80, 80, 443, 53].choose(rng).expect("a choice");
            let protocol = *[TCP, TCP, UDP].choose(rng).expect("a choice");
            let listener = (SocketAddr::new(ip, port), protocol);
            if !self.taken.contains(&listener) {
                self.taken.push(listener);
                listeners.push(listener);
            }
        }
        let count = rng.random_range(1..=3_u8);
        let modes = [Mode::Dnat, Mode::FullNat, Mode::DsrL2, Mode::Ipip];
        let round = |count: u64| usize::try_from(number % count).expect("small");
        let mode = modes[round(4)];
        // Now and then so few backends, which so many listeners share, that a client finds all taken.
        let (most, at): (_, &[u16]) = match round(8) {
            0 => (1, &[8080]),
            _ => (5, &[0, 0, 8080, 80]),
        };
        let tracks = (0..count)
            .map(|_| {
                let backends = rng.random_range(1..=most);
                self.track(rng, &listeners, mode, (backends, at))
            })
            .collect();
        // So few places that they may be used up, or many.
        let ports = 20_000..[20_003, 20_100, 60_000][round(12) / 4];
        let pool = [
            address(false, 3, 1),
            address(false, 3, 2),
            address(true, 3, 1),
        ];
        let tables = (0..4).map(|_| SplitSpec::random(rng, count, listeners.len()));
        Spec {
            tables: tables.collect(),
            listeners,
            tracks,
            mode,
            pool: (pool.to_vec(), ports),
            no_backend: *[NoBackend::Drop, NoBackend::Reset, NoBackend::Unreachable]
                .choose(rng)
                .expect("a choice"),
        }
    }

    fn track(
        &mut self,
        rng: &mut SmallRng,
        listeners: &[(SocketAddr, u8)],
        mode: Mode,
        (backends, ports): (usize, &[u16]),
    ) -> Vec<Place> {
        let mut track = Vec::new();
        for _ in 0..backends {
            let ip = address(rng.random(), 2, rng.random_range(1..=6));
            // One that has the VIP listens where clients send to.
            let port = match Mode::one_way(mode as u8) {
                true => 0,
                false => *ports.choose(rng).expect("a choice"),
            };
            let ifindex = *[1, 1, 1, 1, 77, 77, 0].choose(rng).expect("a choice");
            if track.iter().any(|place: &Place| place.at.ip() == ip) {
                continue;
            }
            let of_family = listeners
                .iter()
                .filter(|(at, _)| at.is_ipv6() == ip.is_ipv6());
            let endpoints: Vec<_> = of_family
                .map(|(at, protocol)| {
                    let port = if port == 0 { at.port() } else { port };
                    (SocketAddr::new(ip, port), *protocol)
                })
                .collect();
            // As the agent does: no endpoint answers for more than it can tell apart.
            let mut pairs = self.pairs.clone();
            for endpoint in endpoints.into_iter().filter(|_| mode == Mode::Dnat) {
                *pairs.entry(endpoint).or_default() += 1;
            }
            if pairs.values().all(|count| *count <= PAIRS) {
                self.pairs = pairs;
                track.push(Place {
                    at: SocketAddr::new(ip, port),
                    ifindex,
                    mtu: *[0, 1500, 1500, 1300, 400].choose(rng).expect("a choice"),
                    tag: *[None, None, None, Some(5)].choose(rng).expect("a choice"),
                });
            }
        }
        track
    }
}

/// The slots of a table's parts.
pub(super) fn slots(parts: &[(u8, u64)]) -> Slots {
    let parts: Vec<_> = parts
        .iter()
        .copied()
        .filter(|(_, part)| *part > 0)
        .collect();
    split(&parts)
}

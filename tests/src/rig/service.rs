use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use splitter_ebpf::abi::{
    Affinity, Backend, Binding, Endpoint, EndpointKind, Hop, Listener, Mode, NatPool, Pair, Path,
    Reply, SplitHeader, TRACKS, Tunnel, track_table_index,
};
use splitter_ebpf::hash::derive;
use splitter_ebpf::wire::{Family, WireAddress, WirePort};
use splitter_user::dataplane::{DataPlane as _, ServiceTables};
use splitter_user::table::maglev::{Member, build};
use splitter_user::table::route::Spans;
use splitter_user::table::split::{Share, Slots, allocate};

use super::{BALANCER_MAC, Rig, SECRET, mac_of};

/// Every slot the same track's.
#[must_use]
pub fn all(track: u8) -> Slots {
    split(&[(track, 1)])
}

/// The agent's own allocation for tracks with these parts.
///
/// # Panics
/// If they are not a split.
#[must_use]
pub fn split(parts: &[(u8, u64)]) -> Slots {
    const NAMES: [&str; TRACKS] = ["blue", "canary", "green", "d", "e", "f", "g", "h"];
    let share = |(track, parts): &(u8, u64)| Share {
        track: *track,
        name: NAMES[usize::from(*track)],
        parts: *parts,
    };
    let shares: Vec<_> = parts.iter().map(share).collect();
    allocate(None, &shares).expect("parts of a test are a split")
}

/// A backend of a plan.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    address: IpAddr,
    port: u16,
    hop: Hop,
    path: Path,
}

impl Server {
    /// A backend at this address and port, port 0 for the listener's, one hop away over `lo`.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        let hop = Hop::new(mac_of(address.ip()), BALANCER_MAC, 1);
        Self {
            address: address.ip(),
            port: address.port(),
            hop,
            path: Path::default(),
        }
    }

    const fn member(&self, id: u16) -> Member {
        Member {
            id,
            address: self.address,
            port: self.port,
            weight: 1,
        }
    }

    /// The same, over another interface; 0: no next hop is known.
    #[must_use]
    pub const fn over(mut self, ifindex: u32) -> Self {
        self.hop.ifindex = ifindex;
        self
    }

    /// The same, over a link that asks this of packets.
    #[must_use]
    pub const fn by(mut self, path: Path) -> Self {
        self.path = path;
        self
    }
}

/// A service to be.
#[derive(Clone)]
pub struct Plan {
    listeners: Vec<(SocketAddr, u8)>,
    tracks: Vec<Vec<Server>>,
    slots: Slots,
    header: SplitHeader,
    /// Which of the listeners is the preview.
    preview: Option<u16>,
    routes: Spans,
    mode: Mode,
    /// What clients are translated to, and the ports there.
    pool: (Vec<IpAddr>, std::ops::Range<u16>),
}

impl Plan {
    /// A service called `name`, whose hashes are keyed by its name: all to track 0.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let header = SplitHeader {
            split_key: derive(&SECRET, "split", name),
            track_key: derive(&SECRET, "track", name),
            mask_v6: WireAddress::prefix_mask(128, Family::V6),
            mask_v4: u32::MAX,
            affinity: Affinity::Flow as u32,
            fallback: 0,
            preview: 0,
            preview_listener: 0,
            flags: 0,
        };
        Self {
            preview: None,
            routes: Spans::default(),
            listeners: Vec::new(),
            tracks: Vec::new(),
            slots: all(0),
            header,
            mode: Mode::Dnat,
            pool: (Vec::new(), 0..0),
        }
    }

    /// With its backends reached in this mode.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// With clients translated to these addresses and ports.
    #[must_use]
    pub fn translated_to(mut self, addresses: &[&str], ports: std::ops::Range<u16>) -> Self {
        let parsed = |at: &&str| at.parse().unwrap_or_else(|error| panic!("{at:?}: {error}"));
        self.pool = (addresses.iter().map(parsed).collect(), ports);
        self.mode(Mode::FullNat)
    }

    /// Listens there, for this IP protocol.
    #[must_use]
    pub fn listen(mut self, at: &str, protocol: u8) -> Self {
        self.listeners.push((parsed(at), protocol));
        self
    }

    /// With one more track, of these backends.
    #[must_use]
    pub fn track(self, backends: &[&str]) -> Self {
        let servers: Vec<_> = backends.iter().map(|at| Server::at(parsed(at))).collect();
        self.servers(&servers)
    }

    /// With one more track, of these backends.
    #[must_use]
    pub fn servers(mut self, servers: &[Server]) -> Self {
        self.tracks.push(servers.to_vec());
        self
    }

    /// Split so.
    #[must_use]
    pub fn split(mut self, slots: Slots) -> Self {
        self.slots = slots;
        self
    }

    /// By the client's address, or the prefix of it with so many bits.
    #[must_use]
    pub fn by_client(mut self, bits_v4: u8, bits_v6: u8) -> Self {
        self.header.affinity = Affinity::ClientIp as u32;
        self.header.mask_v4 = WireAddress::prefix_mask(bits_v4, Family::V4).0[0];
        self.header.mask_v6 = WireAddress::prefix_mask(bits_v6, Family::V6);
        self
    }

    /// The backend within the track by the client too.
    #[must_use]
    pub fn backend_by_client(mut self) -> Self {
        self.header.flags |= SplitHeader::BACKEND_BY_CLIENT;
        self
    }

    /// With a track that takes what others have nobody for.
    #[must_use]
    pub fn fallback(mut self, track: u8) -> Self {
        self.header.fallback = track + 1;
        self
    }

    /// With this listener, from 0, leading to that track, or to nobody.
    #[must_use]
    pub fn preview(mut self, listener: u16, track: Option<u8>) -> Self {
        self.preview = Some(listener);
        self.header.preview = track.map_or(0, |track| track + 1);
        self
    }

    /// With these ways before the weights.
    #[must_use]
    pub fn routes(mut self, routes: &Spans) -> Self {
        self.routes = routes.clone();
        self.header.flags |= SplitHeader::ROUTES;
        self
    }

    /// The header, for a service whose first listener has this id.
    fn header(&self, first: u16) -> SplitHeader {
        SplitHeader {
            preview_listener: self.preview.map_or(0, |listener| first + listener),
            ..self.header
        }
    }
}

fn parsed(at: &str) -> SocketAddr {
    at.parse().unwrap_or_else(|error| panic!("{at:?}: {error}"))
}

/// A service in the tables.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its id.
    pub id: u16,
    /// Its listeners' ids, in the order of the plan.
    pub listeners: Vec<u16>,
    /// Its backends' ids, by track, in the order of the plan.
    pub backends: Vec<Vec<u16>>,
    /// How its split is entered.
    pub header: SplitHeader,
}

impl Service {
    /// The track that a backend belongs to.
    #[must_use]
    pub fn track_of(&self, backend: u16) -> Option<usize> {
        self.backends
            .iter()
            .position(|track| track.contains(&backend))
    }
}

impl Rig {
    /// Puts a service into the tables, its split table 0 current.
    ///
    /// # Errors
    /// What the data plane says.
    pub fn serve(&mut self, plan: &Plan) -> Result<Service> {
        self.services += 1;
        let id = self.services;
        let header = plan.header(self.listeners + 1);
        self.plane.install_services(&[ServiceTables {
            service: id,
            tables: vec![(0, header, Arc::new(plan.slots.clone()))],
            routes: vec![(0, plan.routes.table())],
        }])?;
        let backends = self.backends_of(id, plan)?;
        let mut service = Service {
            id,
            listeners: Vec::new(),
            backends,
            header,
        };
        for (at, protocol) in &plan.listeners {
            let listener = self.listen(id, *at, *protocol)?;
            service.listeners.push(listener);
            self.answer(&service, plan, listener, *at, *protocol)?;
        }
        Ok(service)
    }

    /// Writes what a plan says of the split into one of a service's tables, which must not be current.
    ///
    /// # Errors
    /// What the data plane says.
    pub fn write_plan(&self, service: &Service, table: u8, plan: &Plan) -> Result<()> {
        let first = service.listeners.first().copied().unwrap_or(0);
        let header = plan.header(first);
        let tables = self.tables();
        tables.write_split(service.id, table, &header, plan.slots.as_bytes())?;
        Ok(tables.write_routes(service.id, table, &plan.routes.table())?)
    }

    /// The pools of a plan, by family: 0 where there is none.
    fn pools_of(&mut self, plan: &Plan) -> Result<[u16; 2]> {
        let (addresses, ports) = &plan.pool;
        let mut indexes = [0; 2];
        for family in Family::ALL {
            let of_family = || addresses.iter().filter(|ip| Family::of(ip) == family);
            if of_family().next().is_none() {
                continue;
            }
            self.pools += 1;
            let mut pool = NatPool {
                count: u32::try_from(of_family().count())?,
                first_port: ports.start.into(),
                ports: u32::try_from(ports.len())?,
                family: u32::from(family as u8),
                ..NatPool::default()
            };
            for (place, address) in pool.addresses.iter_mut().zip(of_family()) {
                *place = (*address).into();
            }
            self.tables().write_nat_pool(self.pools, pool);
            indexes[family.index() as usize] = self.pools;
        }
        Ok(indexes)
    }

    fn backends_of(&mut self, service: u16, plan: &Plan) -> Result<Vec<Vec<u16>>> {
        let pools = self.pools_of(plan)?;
        self.tables().set_tunnel(Tunnel {
            prefix_v6: WireAddress::from(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0)),
            mask_v6: 0,
            prefix_v4: WireAddress::from(Ipv4Addr::new(198, 19, 0, 0)).0[0],
            mask_v4: WireAddress::prefix_mask(16, Family::V4).0[0],
            reserved: [0; 5],
        });
        let (mut ids, mut updates) = (Vec::new(), Vec::new());
        for (number, track) in plan.tracks.iter().enumerate() {
            let mut of_track = Vec::new();
            for server in track {
                self.backends += 1;
                self.tables().write_backend(
                    self.backends,
                    Backend {
                        address: server.address.into(),
                        port: WirePort::new(server.port),
                        mode: plan.mode as u8,
                        pool: pools[Family::of(&server.address).index() as usize],
                        paths: [server.path; 2],
                        hops: [server.hop; 2],
                        ..Backend::default()
                    },
                );
                of_track.push(self.backends);
            }
            for family in Family::ALL {
                let of_family: Vec<Member> = track
                    .iter()
                    .zip(&of_track)
                    .filter(|(server, _)| Family::of(&server.address) == family)
                    .map(|(server, id)| server.member(*id))
                    .collect();
                let number = u8::try_from(number).context("few tracks")?;
                updates.push((
                    track_table_index(service, number, family),
                    Some(build(&of_family)),
                ));
            }
            ids.push(of_track);
        }
        self.plane.set_track_tables(updates)?;
        Ok(ids)
    }

    fn listen(&mut self, service: u16, at: SocketAddr, protocol: u8) -> Result<u16> {
        self.listeners += 1;
        let id = self.listeners;
        let (address, family, port) = (
            at.ip().into(),
            Family::of(&at.ip()),
            WirePort::new(at.port()),
        );
        let binding = Binding::new(service, service, 0).0;
        let tables = self.plane.tables_mut();
        tables.write_listener(
            id,
            Listener {
                address,
                binding,
                port,
                protocol,
                family: family as u8,
                reserved: 0,
            },
        );
        let endpoints = &mut tables.endpoints;
        let meta = Endpoint::meta_of(port, protocol, family);
        endpoints.insert(Endpoint {
            address,
            meta,
            kind: EndpointKind::Listener as u32,
            id: id.into(),
        })?;
        let meta = Endpoint::meta_of(WirePort(0), 0, family);
        endpoints.insert(Endpoint {
            address,
            meta,
            kind: EndpointKind::Vip as u32,
            id: 0,
        })?;
        Ok(id)
    }

    /// Lets the service's backends answer for a listener.
    fn answer(
        &mut self,
        service: &Service,
        plan: &Plan,
        listener: u16,
        at: SocketAddr,
        protocol: u8,
    ) -> Result<()> {
        let mut shared = BTreeSet::new();
        for (server, id) in plan
            .tracks
            .iter()
            .flatten()
            .zip(service.backends.iter().flatten())
        {
            let family = Family::of(&server.address);
            if family != Family::of(&at.ip()) || Mode::one_way(plan.mode as u8) {
                continue;
            }
            let tables = self.plane.tables_mut();
            tables.endpoints.insert(Endpoint {
                address: server.address.into(),
                meta: Endpoint::meta_of(WirePort(0), 0, family),
                kind: EndpointKind::Address as u32,
                id: 0,
            })?;
            let port = if server.port == 0 {
                at.port()
            } else {
                server.port
            };
            let next = u32::try_from(self.replies.len()).context("few replies")?;
            let (index, pairs, kind) = self
                .replies
                .entry((server.address, port, protocol))
                .or_insert_with(|| (next, Vec::new(), EndpointKind::Backend));
            if plan.mode == Mode::FullNat {
                *kind = EndpointKind::Translated;
            } else {
                pairs.push(Pair::new(listener, *id));
            }
            let kind = *kind;
            if pairs.iter().any(|pair| pair.listener() != listener) {
                shared.extend(pairs.iter().map(|pair| pair.backend()));
            }
            let mut reply = Reply::default();
            reply.pairs[..pairs.len()].copy_from_slice(pairs);
            let (index, tables) = (*index, self.plane.tables_mut());
            tables.write_reply(index, reply);
            let meta = Endpoint::meta_of(WirePort::new(port), protocol, family);
            let (address, kind) = (server.address.into(), kind as u32);
            tables.endpoints.insert(Endpoint {
                address,
                meta,
                kind,
                id: index,
            })?;
        }
        for id in shared {
            self.tables().share_backend(id, Backend::SHARED);
        }
        Ok(())
    }
}

//! Who gets a new flow: listeners, services, tracks and backends as the tables hold them.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use splitter_ebpf::abi::{MAGLEV, Mode, NoBackend};
use splitter_ebpf::endpoint::translation_place;

use super::affinity::place;
use super::hops::Hop;
use super::steering::Split;

/// A listener.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listener {
    pub(super) at: SocketAddr,
    pub(super) protocol: u8,
    /// 0: none at this moment.
    pub(super) service: u16,
}

/// A backend.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    pub(super) address: IpAddr,
    /// 0: the listener's.
    pub(super) port: u16,
    /// `None`: not known.
    pub(super) hop: Option<Hop>,
    /// Its endpoint answers for more than one listener.
    pub(super) shared: bool,
    pub(super) mode: Mode,
    /// Addresses that clients are translated to, and the ports there.
    pub(super) pool: (Vec<IpAddr>, std::ops::Range<u16>),
}

impl Backend {
    /// Where a packet to a listener's `port` goes.
    pub(super) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, if self.port == 0 { port } else { self.port })
    }

    /// It answers clients by itself.
    pub(super) const fn one_way(&self) -> bool {
        matches!(self.mode, Mode::DsrL2 | Mode::Ipip)
    }

    /// The place of ours that is tried as number `probe` to stand for a client there, whose flow has the
    /// hash `spread`.
    pub(super) fn place(&self, spread: u32, probe: u32) -> Option<SocketAddr> {
        let (addresses, ports) = &self.pool;
        let count = u32::try_from(ports.len()).ok()?;
        let all = count * u32::try_from(addresses.len()).ok()?;
        let n = (all > 0).then(|| translation_place(spread, probe, all))?;
        let port = ports.start + u16::try_from(n % count).ok()?;
        Some(SocketAddr::new(addresses[(n / count) as usize], port))
    }
}

/// A service: its split tables, and which is current.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) tables: Vec<Split>,
    pub(super) current: usize,
    /// What a new flow gets that nobody can serve.
    pub(super) no_backend: NoBackend,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Services {
    pub(super) listeners: HashMap<u16, Listener>,
    pub(super) services: HashMap<u16, Service>,
    pub(super) backends: HashMap<u16, Backend>,
    /// By service, track, and whether it is for IPv6.
    pub(super) tracks: HashMap<(u16, u8, bool), Box<[u16]>>,
    /// By a backend's address, port and protocol: listeners that it may answer for, and as whom, with
    /// clients' own addresses.
    pub(super) answers: HashMap<(SocketAddr, u8), Vec<(u16, u16)>>,
    /// Those of them that answer to addresses of ours, too.
    pub(super) translated: HashSet<(SocketAddr, u8)>,
}

/// Entries of a track table that are tried while backends are taken.
const TRIES: usize = 16;

impl Services {
    /// The listener that a packet is sent to.
    pub(super) fn listener(&self, at: SocketAddr, protocol: u8) -> Option<u16> {
        let is_it = |listener: &Listener| (listener.at, listener.protocol) == (at, protocol);
        let mut found = self.listeners.iter().filter(|(_, l)| is_it(l));
        found.next().map(|(id, _)| *id)
    }

    /// Whether an address is a listener's, or a backend's whose answers come by here.
    pub(super) fn concerns(&self, address: IpAddr) -> bool {
        let answers = |(at, _): &(SocketAddr, u8)| at.ip() == address;
        self.is_vip(address) || self.answers.keys().any(answers)
    }

    /// Whether this is some listener's address.
    pub(super) fn is_vip(&self, address: IpAddr) -> bool {
        self.listeners.values().any(|l| l.at.ip() == address)
    }

    /// The backends that may get a new flow, the best first, and whether they get it aside from the
    /// weights; each entry of the track table counts.
    pub(super) fn candidates(&self, client: SocketAddr, id: u16) -> (Vec<u16>, bool) {
        let listener = &self.listeners[&id];
        let service = &self.services[&listener.service];
        let split = &service.tables[service.current];
        let (slot, entry) = place(split, client, listener);
        let v6 = client.is_ipv6();
        let table = |track| self.tracks.get(&(listener.service, track, v6));
        let serves = |track| table(track).is_some_and(|table| table[0] != 0);
        let choice = split.choose(client.ip(), id, slot, serves);
        let table = choice.track.and_then(table);
        let candidates = (0..TRIES).filter_map(move |tried| {
            // Behind the last entry, the first alone is tried.
            let entry = Some(entry + tried).filter(|entry| *entry < MAGLEV);
            Some(table?[entry.unwrap_or(0)])
        });
        (candidates.collect(), choice.aside)
    }
}

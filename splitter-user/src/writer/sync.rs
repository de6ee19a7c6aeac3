//! What the tables should hold for a world, and making it so. All of it leaves the splits alone and
//! may be done while packets flow.

use std::collections::{BTreeMap, BTreeSet};

use splitter_ebpf::abi::{
    self, Binding, Endpoint, EndpointKind, PAIRS, Pair, Reply, ServiceWord, track_table_index,
};
use splitter_ebpf::wire::{Family, TCP, UDP, WireAddress, WirePort};

use super::{Pools, Writer};
use crate::api::types::ApiError;
use crate::dataplane::{DataPlane, PlaneError, TrackUpdate};
use crate::model::{Listener, Mode, Protocol};
use crate::state::{BackendKey, IdState, World};
use crate::table::maglev::{self, Member};
use crate::table::slow_start;

/// An endpoint's place, in an order.
pub(super) type Place = ([u32; 4], u64);

/// What an endpoint should stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    Listener(u16),
    Vip,
    /// The whole address of a backend whose answers come through here.
    Address,
    /// A backend's endpoint: the flows of mode `dnat` that it may answer, and whether clients are
    /// translated for it too.
    Backend {
        pairs: Vec<Pair>,
        translated: bool,
    },
}

impl Meaning {
    /// Its kind in the tables.
    const fn kind(&self) -> EndpointKind {
        match self {
            Self::Listener(_) => EndpointKind::Listener,
            Self::Vip => EndpointKind::Vip,
            Self::Address => EndpointKind::Address,
            Self::Backend {
                translated: false, ..
            } => EndpointKind::Backend,
            Self::Backend {
                translated: true, ..
            } => EndpointKind::Translated,
        }
    }
}

/// Whose words to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// Those of services that are not in force yet: no packet sees them.
    New,
    /// Those of all.
    All,
}

/// Whether an endpoint's id is that of a reply record.
const fn has_reply(endpoint: &Endpoint) -> bool {
    endpoint.kind == EndpointKind::Backend as u32
        || endpoint.kind == EndpointKind::Translated as u32
}

pub(super) const fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
    }
}

pub(super) fn wire_listener(listener: &Listener, binding: Binding) -> abi::Listener {
    abi::Listener {
        address: listener.vip.into(),
        binding: binding.0,
        port: WirePort::new(listener.port),
        protocol: protocol_number(listener.protocol),
        family: Family::of(&listener.vip) as u8,
        reserved: 0,
    }
}

const fn in_tables(state: IdState) -> bool {
    !matches!(state, IdState::Quarantined)
}

/// Every endpoint that packets may have to find.
pub(super) fn endpoints(world: &World) -> BTreeMap<Place, Meaning> {
    let mut places = BTreeMap::new();
    for (id, listener, _) in world
        .listener_ids
        .iter()
        .filter(|(_, _, state)| in_tables(*state))
    {
        let family = Family::of(&listener.vip);
        let address = WireAddress::from(listener.vip).0;
        let meta = Endpoint::meta_of(
            WirePort::new(listener.port),
            protocol_number(listener.protocol),
            family,
        );
        places.insert((address, meta), Meaning::Listener(id));
        // As long as flows may live there: what does not show its ports at once is known by it.
        places.insert(
            (address, Endpoint::meta_of(WirePort(0), 0, family)),
            Meaning::Vip,
        );
    }
    for (mode, pair, place) in answers(world) {
        match places.entry(place).or_insert(Meaning::Backend {
            pairs: Vec::new(),
            translated: false,
        }) {
            Meaning::Backend { pairs, translated } => match mode {
                Mode::FullNat => *translated = true,
                Mode::Dnat | Mode::DsrL2 | Mode::Ipip => pairs.push(pair),
            },
            // Validation refuses a backend that is a listener.
            Meaning::Listener(_) | Meaning::Vip | Meaning::Address => {}
        }
    }
    for (_, key, state) in world.backend_ids.iter() {
        if in_tables(state) && !key.mode.is_one_way() {
            let whole = Endpoint::meta_of(WirePort(0), 0, Family::of(&key.address));
            places
                .entry((WireAddress::from(key.address).0, whole))
                .or_insert(Meaning::Address);
        }
    }
    places
}

/// Every listener with every backend whose answers for it come through here, how packets get there, and
/// where those answers come from.
fn answers(world: &World) -> Vec<(Mode, Pair, Place)> {
    let mut backends: BTreeMap<&str, Vec<(u16, &BackendKey)>> = BTreeMap::new();
    for (id, key, state) in world.backend_ids.iter() {
        if in_tables(state) && !key.mode.is_one_way() {
            backends.entry(&key.service).or_default().push((id, key));
        }
    }
    let mut answers = Vec::new();
    for (listener_id, listener, state) in world.listener_ids.iter() {
        if !in_tables(state) {
            continue;
        }
        let family = Family::of(&listener.vip);
        let services = world
            .listener_services
            .get(&listener_id)
            .into_iter()
            .flatten();
        for (backend_id, key) in
            services.flat_map(|service| backends.get(service.as_str()).into_iter().flatten())
        {
            if Family::of(&key.address) == family {
                let port = WirePort::new(key.port.unwrap_or(listener.port));
                let meta = Endpoint::meta_of(port, protocol_number(listener.protocol), family);
                answers.push((
                    key.mode,
                    Pair::new(listener_id, *backend_id),
                    (WireAddress::from(key.address).0, meta),
                ));
            }
        }
    }
    answers
}

/// Refuses a world in which one backend endpoint would answer for more listeners than it can.
pub(super) fn check_pairs(world: &World) -> Result<(), ApiError> {
    for ((address, meta), meaning) in endpoints(world) {
        if let Meaning::Backend { pairs, .. } = meaning
            && pairs.len() > PAIRS
        {
            let family = if meta >> 24 == u64::from(Family::V4 as u8) {
                Family::V4
            } else {
                Family::V6
            };
            let address = WireAddress(address).to_ip(family);
            let port = WirePort(u16::try_from(meta & 0xffff).unwrap_or(0)).get();
            return Err(ApiError::refused(format!(
                "backend {} would answer for {} listeners and tracks, counting those that are deleted but have living \
                 flows; at most {PAIRS} are possible: wait until those flows have ended, or give it another port, or use mode fullnat",
                std::net::SocketAddr::new(address, port),
                pairs.len()
            )));
        }
    }
    Ok(())
}

/// The backends of every track table, with the weights that they have at `now`: milliseconds since 1970.
pub(super) fn tracks(world: &World, now: u64) -> BTreeMap<u32, Vec<Member>> {
    let mut tables = BTreeMap::new();
    for (name, service) in &world.services {
        let Some(service_id) = world.service_ids.get(name) else {
            continue;
        };
        for track in &service.spec.tracks {
            let Some(number) = service.number_of(&track.name) else {
                continue;
            };
            for family in Family::ALL {
                let taking = service.taking(track, family);
                let parts: Vec<(u32, u32)> = taking
                    .iter()
                    .map(|backend| (backend.weight, service.part_of(track, backend, now)))
                    .collect();
                let members: Vec<Member> = taking
                    .into_iter()
                    .zip(slow_start::weights(&parts))
                    .filter_map(|(backend, weight)| {
                        let key = BackendKey::of(&service.spec, &track.name, backend);
                        Some(Member {
                            id: world.backend_ids.get(&key)?,
                            address: backend.address,
                            port: backend.port.unwrap_or(0),
                            weight,
                        })
                    })
                    .collect();
                tables.insert(track_table_index(service_id, number, family), members);
            }
        }
    }
    tables
}

impl<D: DataPlane + 'static> Writer<D> {
    /// Writes the records of backends that `world` has and the tables do not.
    pub(super) fn write_backends(&self, world: &World) {
        let mut pools = Pools::read(self.plane.tables(), [&self.world, world]);
        for (id, key, state) in world.backend_ids.iter() {
            let (address, port) = (
                WireAddress::from(key.address),
                WirePort::new(key.port.unwrap_or(0)),
            );
            let there = self.plane.tables().backend(id);
            let mode = abi::Mode::from(key.mode) as u8;
            // A number that was free starts anew, whatever its last owner left.
            let fresh = self.world.backend_ids.state_of(id).is_none();
            let same = (there.address, there.port, there.mode) == (address, port, mode);
            if !in_tables(state) || (!fresh && same) {
                continue;
            }
            // Without a pool nothing can be translated: then there is no way, until the pool is known.
            let pool = self.choose_pool(key, 0, &mut pools);
            let hop = pool.and_then(|_| self.hop_of(key).or_else(|| self.hop_there(key)));
            let (hop, path) = hop.unwrap_or_default();
            self.plane.tables().write_backend(
                id,
                abi::Backend {
                    address,
                    port,
                    mode,
                    pool: pool.unwrap_or(0),
                    hops: [hop; 2],
                    paths: [path; 2],
                    ..abi::Backend::default()
                },
            );
        }
    }

    /// The way that another number of the same backend has, while the kernel has not told of any yet.
    fn hop_there(&self, key: &BackendKey) -> Option<(abi::Hop, abi::Path)> {
        let others = self.world.backend_ids.iter();
        let mut ways = others
            .filter(|(_, other, state)| in_tables(*state) && other.address == key.address)
            .filter(|(_, other, _)| (other.mode == key.mode) || key.mode != Mode::DsrL2)
            .map(|(id, _, _)| {
                let there = self.plane.tables().backend(id);
                let place = usize::from(there.current_hop & 1);
                (there.hops[place], there.paths[place])
            });
        ways.find(|(hop, _)| hop.ifindex != 0)
    }

    /// Lets services do beside their splits what `world` says.
    pub(super) fn write_words(&self, world: &World, which: Words) {
        for (name, service) in &world.services {
            let known = self.world.services.contains_key(name);
            let Some(id) = world.service_ids.get(name) else {
                continue;
            };
            let word = ServiceWord {
                no_backend: abi::NoBackend::from(service.spec.no_backend) as u32,
                reserved: 0,
            };
            if (which == Words::All || !known) && self.plane.tables().service_word(id) != word {
                self.plane.tables().set_service_word(id, word);
            }
        }
    }

    /// Enters and changes endpoints until they are as `wanted` says. With `removing`, those that are
    /// not wanted go.
    pub(super) fn sync_endpoints(
        &mut self,
        wanted: &BTreeMap<Place, Meaning>,
        removing: bool,
    ) -> Result<(), PlaneError> {
        let there: BTreeMap<Place, Endpoint> = self
            .plane
            .tables()
            .endpoints
            .iter()
            .map(|endpoint| ((endpoint.address.0, endpoint.meta), endpoint))
            .collect();
        let mut used: BTreeSet<u32> = there
            .values()
            .filter(|e| has_reply(e))
            .map(|e| e.id)
            .collect();
        used.extend(&self.replies_freed);
        for (place, meaning) in wanted {
            let old = there.get(place);
            let id = match meaning {
                Meaning::Listener(id) => u32::from(*id),
                Meaning::Vip | Meaning::Address => 0,
                Meaning::Backend { pairs, .. } => {
                    let mut reply = Reply::default();
                    for (slot, pair) in reply.pairs.iter_mut().zip(pairs) {
                        *slot = *pair;
                    }
                    let old = old.filter(|old| has_reply(old));
                    match old.filter(|old| self.plane.tables().reply(old.id) == reply) {
                        Some(old) => old.id,
                        None => {
                            let mut all = 0..self.plane.tables().layout.replies;
                            let free = all.find(|index| !used.contains(index));
                            let index = free.ok_or(crate::dataplane::EndpointError::Full)?;
                            used.insert(index);
                            self.replies_freed.extend(old.map(|old| old.id));
                            self.plane.tables().write_reply(index, reply);
                            index
                        }
                    }
                }
            };
            let entry = Endpoint {
                address: WireAddress(place.0),
                meta: place.1,
                kind: meaning.kind() as u32,
                id,
            };
            if old != Some(&entry) {
                self.plane.tables_mut().endpoints.insert(entry)?;
            }
        }
        if removing {
            for (place, entry) in there {
                if !wanted.contains_key(&place) {
                    if has_reply(&entry) {
                        self.replies_freed.insert(entry.id);
                    }
                    self.plane
                        .tables_mut()
                        .endpoints
                        .remove(entry.address, entry.meta);
                }
            }
        }
        self.mark_shared(wanted);
        Ok(())
    }

    fn mark_shared(&self, wanted: &BTreeMap<Place, Meaning>) {
        let mut shared: BTreeMap<u16, bool> = BTreeMap::new();
        for meaning in wanted.values() {
            if let Meaning::Backend { pairs, .. } = meaning {
                let several = pairs
                    .iter()
                    .any(|pair| pair.listener() != pairs[0].listener());
                for pair in pairs {
                    *shared.entry(pair.backend()).or_default() |= several;
                }
            }
        }
        for (id, several) in shared {
            let flags = if several { abi::Backend::SHARED } else { 0 };
            if self.plane.tables().backend(id).flags != flags {
                self.plane.tables().share_backend(id, flags);
            }
        }
    }

    /// Replaces the track tables that differ; those that `wanted` lacks stay.
    pub(super) fn sync_tracks(
        &mut self,
        wanted: &BTreeMap<u32, Vec<Member>>,
    ) -> Result<(), PlaneError> {
        let changed =
            |(index, members): &(&u32, &Vec<Member>)| self.tracks.get(index) != Some(members);
        let updates: Vec<TrackUpdate> = wanted
            .iter()
            .filter(changed)
            .map(|(index, members)| {
                (
                    *index,
                    (!members.is_empty()).then(|| maglev::build(members)),
                )
            })
            .collect();
        if updates.is_empty() {
            return Ok(());
        }
        let touched: Vec<u32> = updates.iter().map(|(index, _)| *index).collect();
        if let Err(error) = self.plane.set_track_tables(updates) {
            // Some may have been replaced: whoever puts them right replaces them all.
            self.tracks.retain(|index, _| !touched.contains(index));
            return Err(error);
        }
        self.tracks.extend(
            wanted
                .iter()
                .map(|(index, members)| (*index, members.clone())),
        );
        Ok(())
    }

    /// Removes the track tables that `wanted` lacks.
    pub(super) fn drop_tracks(
        &mut self,
        wanted: &BTreeMap<u32, Vec<Member>>,
    ) -> Result<(), PlaneError> {
        let gone: Vec<u32> = self
            .tracks
            .keys()
            .filter(|index| !wanted.contains_key(index))
            .copied()
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.plane
            .set_track_tables(gone.iter().map(|index| (*index, None)).collect())?;
        self.tracks.retain(|index, _| wanted.contains_key(index));
        Ok(())
    }
}

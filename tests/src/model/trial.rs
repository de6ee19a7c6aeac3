//! A trial: the same steps for program and model, and what they say compared.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use aya::maps::{Map, MapData};
use splitter_ebpf::abi::{
    BUCKET_FLOWS, Binding, Bucket, FragmentKey, FragmentPath, Hop as WireHop, Mode, Path,
    ServiceWord, track_table_index,
};
use splitter_ebpf::flow::{TICK_MASK, Value};
use splitter_ebpf::verdict::{Action, Reason};
use splitter_ebpf::wire::{Family, ICMP, ICMPV6, TCP, UDP};
use splitter_user::dataplane::mapping::Mapping;
use splitter_user::dataplane::{DataPlane as _, FlowSlot};
use splitter_user::loader::{Layout, TickRate, load_at_rate};
use splitter_user::table::maglev::{Member, build};

use super::packet::{Known, read};
use super::rewrite::is_valid;
use super::shape::{self, Part, Shape};
use super::split::{Backend, Listener, Service as Splits};
use super::world::{Place, Spec, World, slots};
use super::{Expected, Hop, Limits, Model, Room, Services, Step, WaysBack};
use crate::rig::{
    BALANCER_MAC, DROP, Outcome, PASS, REDIRECT, Rig, Runner, SECRET, SMALL, Service, TX, mac_of,
    map_of,
};

/// Packets between two looks at counters and at a small flow table.
const LOOK: usize = 128;
/// What the way to clients takes; the least that IPv6 asks for.
pub(super) const CLIENTS_MTU: u16 = 1280;
/// A tick of months; a second is two ticks, sixty are 120.
const STILL: TickRate = TickRate {
    hz: u32::MAX,
    shift: 31,
};

/// Program and model, with the same in their tables.
pub(super) struct Trial {
    rig: Rig,
    runner: Runner,
    services: Vec<Service>,
    tracks: Vec<Vec<Vec<Place>>>,
    pub(super) model: Model,
    flows: Mapping<Bucket>,
    fragments: HashOf,
    /// What the model has counted, by reason.
    pub(super) counts: [u64; splitter_ebpf::verdict::REASONS],
    since_look: usize,
    outcome: Outcome,
}

/// Where first fragments went, as bytes.
type HashOf =
    aya::maps::HashMap<MapData, [u8; size_of::<FragmentKey>()], [u8; size_of::<FragmentPath>()]>;

/// The interface that test runs come in by.
const INGRESS: u32 = 1;

impl Trial {
    pub(super) fn new(world: &World, clients: u32) -> Result<Self> {
        let layout = Layout {
            flow_buckets: world.flow_buckets,
            ..SMALL
        };
        let mut loaded = load_at_rate(layout, &SECRET, STILL)?;
        // A mapping of our own, to let time pass in.
        let flows = map_of(&mut loaded, "FLOWS")?;
        let flows = Mapping::of_map(flows.fd(), layout.flow_buckets as usize)?;
        let fragments = map_of(&mut loaded, "FRAGMENTS")?;
        let fragments = HashOf::try_from(Map::LruHashMap(fragments))?;
        let mut rig = Rig::of(loaded)?;
        let keys = rig.tables().keys;
        let routed = Hop::new([2, 0xc0, 0, 0, 0, 2], [2, 0xb0, 0, 0, 0, 2], clients);
        let routed = routed.by(CLIENTS_MTU, None);
        rig.tables().set_new_flows_per_tick(world.cap.unwrap_or(0));
        let mut model = Model {
            services: Services::default(),
            room: Room::new(keys, world.flow_buckets),
            ways_back: WaysBack::new(keys.flow, routed),
            fragments: HashMap::new(),
            counters: HashMap::new(),
            limits: Limits {
                pins: world.cap,
                errors: 256,
            },
            tunnel: (
                [198, 19],
                [0x20, 1, 0xd, 0xb8, 0xff, 0xff, 0, 0, 0, 0, 0, 0],
            ),
            now: rig.kernel().now()?,
            second: STILL.ticks(1000),
            reuse: STILL.ticks(60_000),
            ingress: INGRESS,
        };
        let mut services = Vec::new();
        for (number, spec) in world.services.iter().enumerate() {
            let tables: Vec<_> = spec.tables.iter().map(|parts| slots(parts)).collect();
            let plan = spec.plan(&format!("service {number}"), tables[0].clone());
            let service = rig.serve(&plan)?;
            for (table, slots) in (0..).zip(&tables).skip(1) {
                rig.write_split(&service, table, slots)?;
            }
            let splits = Splits {
                header: service.header,
                tables,
                current: 0,
                no_backend: spec.no_backend,
            };
            let word = ServiceWord {
                no_backend: spec.no_backend as u32,
                reserved: 0,
            };
            rig.tables().set_service_word(service.id, word);
            model.services.services.insert(service.id, splits);
            for ((at, protocol), id) in spec.listeners.iter().zip(&service.listeners) {
                let listener = Listener {
                    at: *at,
                    protocol: *protocol,
                    service: service.id,
                };
                model.services.listeners.insert(*id, listener);
            }
            add_backends(&mut model.services, &service, spec);
            services.push(service);
        }
        share_backends(&mut model.services);
        Ok(Self {
            runner: rig.runner()?,
            rig,
            services,
            tracks: world
                .services
                .iter()
                .map(|spec| spec.tracks.clone())
                .collect(),
            model,
            flows,
            fragments,
            counts: [0; splitter_ebpf::verdict::REASONS],
            since_look: 0,
            outcome: Outcome {
                action: 0,
                packet: Vec::new(),
            },
        })
    }

    /// Does a step on both sides.
    pub(super) fn take(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Packet(frame) => return self.packet(frame),
            Step::Flip(service, table) => {
                let id = self.services[*service].id;
                self.rig.flip(&[(id, *table)])?;
                self.splits(id).current = usize::from(*table);
            }
            Step::Backends(service, track, set) => self.backends(*service, *track, *set)?,
            Step::Age(ticks) => self.age(*ticks),
            Step::AgeFragments(ticks) => self.age_fragments(*ticks)?,
            Step::Expire(name) => self.expire(*name)?,
            Step::Sweep => {
                for (way, slot) in self.model.room.orphans() {
                    let gone = self.model.room.remove_second(way, slot);
                    self.free(gone)?;
                }
            }
            Step::Routes => {
                self.rig.tables().bump_route_epoch();
                self.model.ways_back.forget_routes();
            }
            Step::Binding(place, owned) => self.bind(*place, *owned),
            Step::Hop(place, ifindex) => self.hop(*place, *ifindex),
        }
        Ok(())
    }

    /// As the agent does it: the flow, then its second entry.
    fn expire(&mut self, name: super::room::Name) -> Result<()> {
        let Some((slot, key, value, flow)) = self.model.room.remove(name) else {
            return Ok(());
        };
        self.free(Some((slot, key, value)))?;
        let second = flow
            .way
            .and_then(|way| self.model.room.remove_second(way, slot));
        self.free(second)
    }

    fn free(&self, gone: Option<(usize, u64, Value)>) -> Result<()> {
        let Some((slot, key, value)) = gone else {
            return Ok(());
        };
        let freed = self.rig.tables().free_flow(&FlowSlot { slot, key, value });
        ensure!(freed, "slot {slot} did not hold {key:x} as {value:x?}");
        Ok(())
    }

    fn splits(&mut self, service: u16) -> &mut Splits {
        let services = &mut self.model.services.services;
        services.get_mut(&service).expect("every service is there")
    }

    fn packet(&mut self, frame: &[u8]) -> Result<()> {
        let expected = self.model.packet(frame);
        self.runner.run_into(frame, &mut self.outcome)?;
        let reason = expected.reason;
        self.counts[reason as usize] += 1;
        let action = match (expected.sent, reason.action()) {
            (Some(INGRESS), _) => TX,
            (Some(_), _) => REDIRECT,
            (None, Action::Pass) => PASS,
            (None, _) => DROP,
        };
        ensure!(
            self.outcome.action == action,
            "{}: action {action} was due and not {}",
            reason.name(),
            self.outcome.action
        );
        // What a dropped frame looks like is nobody's business.
        ensure!(
            action == DROP || self.outcome.packet == expected.frame,
            "{}: {}",
            reason.name(),
            difference(&expected.frame, &self.outcome.packet)
        );
        stays_valid(frame, &expected)?;
        self.since_look += 1;
        if self.since_look >= LOOK {
            self.look()?;
        }
        Ok(())
    }

    /// Compares what is in the tables.
    fn look(&mut self) -> Result<()> {
        self.since_look = 0;
        let verdicts = self.rig.kernel().verdicts()?;
        for reason in Reason::ALL {
            let (due, counted) = (
                self.counts[*reason as usize],
                verdicts.packets[*reason as usize],
            );
            ensure!(
                due == counted,
                "{} was counted {counted} times and not {due}",
                reason.name()
            );
        }
        let (flows, mut due) = (self.rig.flows(), self.model.room.table());
        for flow in &flows {
            let slot = due.next();
            ensure!(
                slot == Some((flow.slot, flow.key, flow.value)),
                "{flow:?} is in the table, {slot:?} was due"
            );
        }
        ensure!(due.next().is_none(), "a flow is not in the table");
        Ok(())
    }

    /// Compares everything, once more at the end.
    pub(super) fn look_back(&mut self) -> Result<()> {
        self.look()?;
        for (backend, due) in &self.model.counters {
            let counted = self.rig.kernel().counters(*backend)?;
            ensure!(
                counted == *due,
                "backend {backend}: {counted:?}, {due:?} was due"
            );
        }
        Ok(())
    }

    fn age(&mut self, ticks: u32) {
        for bucket in 0..self.flows.len() {
            for lane in 0..BUCKET_FLOWS {
                let at = std::mem::offset_of!(Bucket, values) + lane * 8;
                let word = self.flows.word(bucket, at);
                let value = Value(word.load(std::sync::atomic::Ordering::Relaxed));
                if value.0 != 0 && !value.is_pointing() {
                    let seen = value.seen().wrapping_sub(ticks) & TICK_MASK;
                    let older = Value::new(value.backend(), value.state_bits(), value.tag(), seen);
                    word.store(older.0, std::sync::atomic::Ordering::Relaxed);
                }
            }
        }
        self.model.room.age(ticks);
    }

    fn age_fragments(&mut self, ticks: u32) -> Result<()> {
        for key in self.fragments.keys().collect::<Result<Vec<_>, _>>()? {
            let mut path = self.fragments.get(&key, 0)?;
            let at = std::mem::offset_of!(FragmentPath, tick);
            let tick: [u8; 4] = path[at..at + 4].try_into().expect("four bytes");
            let older = u32::from_ne_bytes(tick).wrapping_sub(ticks) & TICK_MASK;
            path[at..at + 4].copy_from_slice(&older.to_ne_bytes());
            self.fragments.insert(key, path, 0)?;
        }
        for path in self.model.fragments.values_mut() {
            path.seen = path.seen.wrapping_sub(ticks) & TICK_MASK;
        }
        Ok(())
    }

    fn backends(&mut self, service: usize, track: usize, set: u32) -> Result<()> {
        let (places, ids) = (
            &self.tracks[service][track],
            &self.services[service].backends[track],
        );
        let chosen: Vec<_> = (0..)
            .zip(places.iter().zip(ids))
            .filter(|(bit, _)| set >> bit & 1 == 1)
            .map(|(_, (place, id))| member(place, *id))
            .collect();
        let (id, track) = (self.services[service].id, u8::try_from(track)?);
        let mut updates = Vec::new();
        for family in Family::ALL {
            let table = build(&of_family(&chosen, family));
            let v6 = family == Family::V6;
            self.model
                .services
                .tracks
                .insert((id, track, v6), table.clone());
            updates.push((track_table_index(id, track, family), Some(table)));
        }
        Ok(self.rig.plane().set_track_tables(updates)?)
    }

    fn bind(&mut self, place: usize, owned: bool) {
        let mut all = Vec::new();
        for service in &self.services {
            all.extend(service.listeners.iter().map(|id| (*id, service.id)));
        }
        let (listener, service) = all[place % all.len()];
        let owner = if owned { service } else { 0 };
        self.rig
            .tables()
            .bind(listener, Binding::new(owner, owner, 0));
        if let Some(listener) = self.model.services.listeners.get_mut(&listener) {
            listener.service = owner;
        }
    }

    fn hop(&mut self, place: usize, ifindex: u32) {
        let mut ids: Vec<_> = self.model.services.backends.keys().copied().collect();
        ids.sort_unstable();
        let Some(id) = ids.get(place % ids.len().max(1)) else {
            return;
        };
        let backend = self
            .model
            .services
            .backends
            .get_mut(id)
            .expect("its own key");
        let mac = mac_of(backend.address);
        let hop = WireHop::new(mac, BALANCER_MAC, ifindex);
        let path = Path {
            mtu: 500,
            vlan: Path::tagged(6),
        };
        self.rig.tables().set_hop(*id, hop, path);
        let hop = Hop::new(mac, BALANCER_MAC, ifindex).by(500, Some(6));
        backend.hop = (ifindex != 0).then_some(hop);
    }
}

const fn member(place: &Place, id: u16) -> Member {
    Member {
        id,
        address: place.at.ip(),
        port: place.at.port(),
        weight: 1,
    }
}

fn of_family(members: &[Member], family: Family) -> Vec<Member> {
    let of_family = |member: &&Member| Family::of(&member.address) == family;
    members.iter().filter(of_family).copied().collect()
}

/// The backends of a service as the rig has put them into the tables.
fn add_backends(services: &mut Services, service: &Service, spec: &Spec) {
    for ((number, places), ids) in (0..).zip(&spec.tracks).zip(&service.backends) {
        let members: Vec<_> = places
            .iter()
            .zip(ids)
            .map(|(at, id)| member(at, *id))
            .collect();
        for family in Family::ALL {
            let table = build(&of_family(&members, family));
            services
                .tracks
                .insert((service.id, number, family == Family::V6), table);
        }
        for (place, id) in places.iter().zip(ids) {
            let ip = place.at.ip();
            let hop = Hop::new(mac_of(ip), BALANCER_MAC, place.ifindex);
            let (addresses, ports) = &spec.pool;
            let of_family = addresses.iter().filter(|one| one.is_ipv6() == ip.is_ipv6());
            let backend = Backend {
                address: ip,
                port: place.at.port(),
                hop: (place.ifindex != 0).then_some(hop.by(place.mtu, place.tag)),
                shared: false,
                mode: spec.mode,
                pool: (of_family.copied().collect(), ports.clone()),
            };
            services.backends.insert(*id, backend);
        }
    }
    for id in &service.listeners {
        let listener = services.listeners[id];
        for backend_id in service.backends.iter().flatten() {
            let backend = &services.backends[backend_id];
            if backend.address.is_ipv6() != listener.at.is_ipv6() || backend.one_way() {
                continue;
            }
            let endpoint = (backend.at(listener.at.port()), listener.protocol);
            let pairs = services.answers.entry(endpoint).or_default();
            if spec.mode == Mode::FullNat {
                services.translated.insert(endpoint);
            } else {
                pairs.push((*id, *backend_id));
            }
        }
    }
}

/// Marks the backends whose endpoint answers for more than one listener.
fn share_backends(services: &mut Services) {
    for pairs in services.answers.values() {
        if pairs.iter().any(|(listener, _)| *listener != pairs[0].0) {
            for (_, id) in pairs {
                services.backends.get_mut(id).expect("a backend").shared = true;
            }
        }
    }
}

/// What was right before it was sent on still is, summed up in full.
fn stays_valid(frame: &[u8], expected: &Expected) -> Result<()> {
    let (Some(before), Some(after)) = (whole(frame), whole(&expected.frame)) else {
        return Ok(());
    };
    let forwarded = expected.sent.is_some() && before.protocol == after.protocol;
    if forwarded && is_valid(frame, &before) {
        ensure!(
            is_valid(&expected.frame, &after),
            "a right checksum became a wrong one"
        );
    }
    Ok(())
}

/// The shape of a whole packet with a checksum that can be looked at.
fn whole(frame: &[u8]) -> Option<Shape> {
    let shape = match read(frame) {
        Known::Nothing => return None,
        Known::Segment(_) | Known::Unusual(_) => shape::of_frame(frame)?,
    };
    let least = match shape.protocol {
        ICMP | ICMPV6 => {
            return Some(shape)
                .filter(|shape| shape.part == Part::Whole && shape.end >= shape.l4 + 8);
        }
        TCP | UDP => shape::segment(frame, &shape)?,
        _ => return None,
    };
    (!least.first && shape.part == Part::Whole).then_some(shape)
}

/// Where two frames differ.
fn difference(due: &[u8], got: &[u8]) -> String {
    if due.len() != got.len() {
        return format!("{} bytes were due and not {}", due.len(), got.len());
    }
    let place = due.iter().zip(got).position(|(due, got)| due != got);
    place.map_or_else(String::new, |at| {
        format!(
            "byte {at} is {:02x}, {:02x} was due\ndue {due:02x?}\ngot {got:02x?}",
            got[at], due[at]
        )
    })
}

//! A trial: the same steps for program and model, and what they say compared.

use std::collections::HashMap;

use anyhow::Result;
use aya::maps::{Map, MapData};
use splitter_ebpf::abi::{Bucket, FragmentKey, FragmentPath};
use splitter_user::dataplane::DataPlane as _;
use splitter_user::dataplane::mapping::Mapping;
use splitter_user::loader::{Layout, TickRate, load_at_rate};

use super::split::Service as Splits;
use super::world::{Place, World};
use super::{Hop, Limits, Model, Room, Services, Step, WaysBack};
use crate::rig::{Outcome, Rig, Runner, SECRET, SMALL, Service, map_of};

mod compare;
mod events;
mod fill;

use fill::{add_backends, add_service, serve, share_backends};

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
        for spec in &world.services {
            let service = serve(&mut rig, spec)?;
            add_service(&mut model.services, &service, spec);
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
            Step::Cut(name) => self.cut(*name)?,
            Step::Sweep => self.sweep()?,
            Step::Routes => {
                self.rig.tables().bump_route_epoch();
                self.model.ways_back.forget_routes();
            }
            Step::Binding(place, owned) => self.bind(*place, *owned),
            Step::Hop(place, ifindex) => self.hop(*place, *ifindex),
        }
        Ok(())
    }

    fn splits(&mut self, service: u16) -> &mut Splits {
        let services = &mut self.model.services.services;
        services.get_mut(&service).expect("every service is there")
    }
}

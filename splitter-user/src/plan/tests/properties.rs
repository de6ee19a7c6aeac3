//! What holds of every sequence of changes, with up to eight tracks.

mod backends;
mod determinism;
mod undo;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{
    Affinity, Backend, DrainPolicy, FlowTimes, Listener, MAX_TRACKS, Mode, NoBackend, Protocol,
    Route, Service, Track,
};
use crate::plan::apply::update;
use crate::plan::service::create;
use crate::share::apportion;

const NAMES: [&str; MAX_TRACKS] = [
    "blue", "canary", "green", "north", "red", "south", "teal", "white",
];

/// A change, of tracks by their index.
#[derive(Debug, Clone)]
enum Step {
    Weigh(usize, u32),
    Ramp(usize, u32, u64),
    Cutover(usize),
    Drain(usize),
    Ready(usize),
    Routes(Vec<(u8, u8, usize)>),
    Fallback(Option<usize>),
    Salt(u8),
    Undo,
}

fn step() -> impl Strategy<Value = Step> {
    let track = 0..MAX_TRACKS;
    let routes = prop::collection::vec((0..4_u8, 16..=32_u8, track.clone()), 0..4);
    prop_oneof![
        3 => (track.clone(), 0..=100_000_u32).prop_map(|(track, millis)| Step::Weigh(track, millis)),
        1 => (track.clone(), 0..=100_000_u32, 0..40_000_u64)
            .prop_map(|(track, millis, ms)| Step::Ramp(track, millis, ms)),
        1 => track.clone().prop_map(Step::Cutover),
        1 => track.clone().prop_map(Step::Drain),
        1 => track.clone().prop_map(Step::Ready),
        1 => routes.prop_map(Step::Routes),
        1 => prop::option::of(track).prop_map(Step::Fallback),
        1 => any::<u8>().prop_map(Step::Salt),
        1 => Just(Step::Undo),
    ]
}

fn backend(track: usize, host: u8, weight: u32) -> Backend {
    Backend {
        address: [198, 18, 10 + u8::try_from(track).unwrap(), host].into(),
        port: Some(80),
        weight,
    }
}

/// A world of one service, whose tracks have these parts.
fn world(parts: &[u64]) -> World {
    let millis = apportion(100_000, 2, parts);
    let tracks = millis.iter().enumerate().map(|(index, millis)| Track {
        name: NAMES[index].to_owned(),
        version: None,
        weight: Some(Weight::from_millis(*millis).unwrap()),
        slow_start: None,
        backends: vec![backend(index, 1, 1), backend(index, 2, 3)],
    });
    let spec = Service {
        name: "web".to_owned(),
        labels: BTreeMap::new(),
        listeners: vec![Listener {
            vip: [198, 18, 1, 100].into(),
            port: 80,
            protocol: Protocol::Tcp,
        }],
        mode: Mode::Dnat,
        release: None,
        affinity: Affinity::default(),
        tracks: tracks.collect(),
        fallback: None,
        no_backend: NoBackend::Drop,
        preview: None,
        routes: Vec::new(),
        flows: FlowTimes::default(),
        drain: DrainPolicy::default(),
    };
    let mut world = World::empty(4, 16, 256);
    let mut state = create(spec).unwrap();
    state.generation = 1;
    world.services.insert("web".to_owned(), state);
    let before = World::empty(4, 16, 256);
    world.number(&before, NOW).unwrap();
    world
}

fn worlds() -> impl Strategy<Value = World> {
    let part = prop_oneof![1 => Just(0_u64), 3 => 1..100_000_u64];
    prop::collection::vec(part, 1..=MAX_TRACKS).prop_map(|mut parts| {
        if parts.iter().all(|part| *part == 0) {
            parts[0] = 1;
        }
        world(&parts)
    })
}

/// The world after an apply that changes the service so: past the reading of YAML, which takes longer than all else.
fn respec(world: &World, change: impl Fn(&mut Service)) -> World {
    let web = &world.services["web"];
    let mut spec = web.spec.clone();
    change(&mut spec);
    if spec == web.spec {
        return world.clone();
    }
    let mut next = world.clone();
    let (mut after, _) = update(web, spec).unwrap();
    after.generation += 1;
    next.services.insert("web".to_owned(), after);
    next.number(world, NOW).unwrap();
    next
}

/// The world after a step; the same one if that is refused.
fn take(world: &World, step: &Step) -> World {
    let web = &world.services["web"];
    let name = |track: usize| web.spec.tracks[track % web.spec.tracks.len()].name.clone();
    let weigh = |track, millis: u32, ramp| Command::SetWeight {
        target: service("web"),
        weights: vec![(
            name(track),
            format!("{}%", Weight::from_millis(millis).unwrap()),
        )],
        ramp,
    };
    let respec = |change: &dyn Fn(&mut Service)| respec(world, change);
    let what = |track| DrainTarget::Track(name(track));
    let service = || "web".to_owned();
    let command = match step {
        Step::Weigh(track, millis) => weigh(*track, *millis, None),
        Step::Ramp(track, millis, ms) => {
            let ramp = weigh(*track, *millis, Some(Duration::from_secs(30)));
            // Refused, it must not be what lets an earlier ramp go on.
            let Ok(begun) = plan(world, &ramp, None, NOW) else {
                return world.clone();
            };
            return step_of(&begun.next, Duration::from_millis(*ms))
                .unwrap()
                .next;
        }
        Step::Cutover(track) => cutover(&name(*track)),
        Step::Drain(track) => drain(what(*track)),
        Step::Ready(track) => Command::Ready {
            service: service(),
            what: what(*track),
        },
        Step::Routes(routes) => {
            return respec(&|spec| {
                let route = |(net, most, track): &(u8, u8, usize)| Route {
                    sources: vec![
                        ipnet::IpNet::new([198, 19, *net, 0].into(), *most)
                            .unwrap()
                            .trunc(),
                    ],
                    track: name(*track),
                    reason: None,
                };
                spec.routes = routes.iter().map(route).collect();
            });
        }
        Step::Fallback(track) => return respec(&|spec| spec.fallback = track.map(name)),
        Step::Salt(salt) => return respec(&|spec| spec.affinity.salt = Some(salt.to_string())),
        Step::Undo => undo(),
    };
    plan(world, &command, None, NOW).map_or_else(|_| world.clone(), |plan| plan.next)
}

fn header(world: &World) -> splitter_ebpf::abi::SplitHeader {
    world.services["web"]
        .split
        .header(&[7; 32], &world.listener_ids)
}

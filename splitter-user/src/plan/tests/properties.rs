//! What holds of every sequence of changes, with up to eight tracks.

use std::sync::LazyLock;
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

/// What else a host may have.
static OTHERS: LazyLock<World> = LazyLock::new(|| {
    let tracks = [("blue", "100%", "198.18.9.11")];
    let others = apply(&yaml("other", "198.18.1.200", &tracks));
    after(&World::empty(4, 16, 256), &others)
});

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
    Backends(usize, u8),
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
        1 => prop::option::of(track.clone()).prop_map(Step::Fallback),
        1 => any::<u8>().prop_map(Step::Salt),
        1 => (track, 1..5_u8).prop_map(|(track, count)| Step::Backends(track, count)),
    ]
}

fn backends(track: usize, count: u8) -> Vec<Backend> {
    let net = u8::try_from(track).unwrap();
    let backend = |host| Backend {
        address: [198, 18, 10 + net, host].into(),
        port: Some(80),
        weight: u32::from(host),
    };
    (1..=count).map(backend).collect()
}

/// A world of one service, whose tracks have these parts.
fn world(parts: &[u64]) -> World {
    let millis = apportion(100_000, 2, parts);
    let tracks = millis.iter().enumerate().map(|(index, millis)| Track {
        name: NAMES[index].to_owned(),
        version: None,
        weight: Some(Weight::from_millis(*millis).unwrap()),
        slow_start: None,
        backends: backends(index, 2),
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
    let respec = |change: &dyn Fn(&mut Service)| {
        let mut spec = web.spec.clone();
        change(&mut spec);
        let mut next = world.clone();
        let (mut after, _) = update(web, spec).unwrap();
        after.generation += 1;
        next.services.insert("web".to_owned(), after);
        next.number(world, NOW).unwrap();
        next
    };
    let what = |track| DrainTarget::Track(name(track));
    let service = || "web".to_owned();
    let command = match step {
        Step::Weigh(track, millis) => weigh(*track, *millis, None),
        Step::Ramp(track, millis, ms) => {
            let ramp = weigh(*track, *millis, Some(Duration::from_secs(30)));
            let next =
                plan(world, &ramp, None, NOW).map_or_else(|_| world.clone(), |plan| plan.next);
            return step_of(&next, Duration::from_millis(*ms)).unwrap().next;
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
        Step::Backends(track, count) => {
            return respec(&|spec| {
                let index = track % spec.tracks.len();
                spec.tracks[index].backends = backends(index, *count);
            });
        }
    };
    plan(world, &command, None, NOW).map_or_else(|_| world.clone(), |plan| plan.next)
}

fn header(world: &World) -> splitter_ebpf::abi::SplitHeader {
    world.services["web"]
        .split
        .header(&[7; 32], &world.listener_ids)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn undo_returns_the_very_same_clients_and_a_second_one_what_was_undone(
        world in worlds(), before in step(), change in step(),
    ) {
        let before = take(&world, &before);
        let changed = take(&before, &change);
        let (was, is) = (&before.services["web"], &changed.services["web"]);
        let back = plan(&changed, &undo(), None, NOW);
        if is.split.same_as(&was.split) {
            return Ok(());
        }
        let back = back.unwrap().next;
        let web = &back.services["web"];
        prop_assert_eq!(&web.split.slots, &was.split.slots);
        prop_assert_eq!(header(&back), header(&before));
        prop_assert_eq!(&web.split.steering, &was.split.steering);
        prop_assert_eq!(web.generation, is.generation + 1);
        prop_assert!(web.ramp.is_none());
        let again = plan(&back, &undo(), None, NOW).unwrap().next;
        let web = &again.services["web"];
        prop_assert_eq!(&web.split.slots, &is.split.slots);
        prop_assert_eq!(header(&again), header(&changed));
        prop_assert_eq!(&web.split.steering, &is.split.steering);
    }

    #[test]
    fn backends_that_come_and_go_move_no_client_to_another_track(
        world in worlds(), before in step(), changes in prop::collection::vec((0..MAX_TRACKS, 1..5_u8, any::<bool>()), 1..3),
    ) {
        let mut world = take(&world, &before);
        let was = world.services["web"].clone();
        for (track, count, drains) in changes {
            let track = track % was.spec.tracks.len();
            world = take(&world, &Step::Backends(track, count));
            if drains {
                let last = backends(track, count)[0].address;
                let what = DrainTarget::Backend { address: last, port: 80 };
                world = plan(&world, &drain(what), None, NOW).unwrap().next;
            }
            let is = &world.services["web"];
            prop_assert_eq!(&is.split, &was.split);
            prop_assert_eq!(&is.anchors, &was.anchors);
            prop_assert_eq!(&is.numbers, &was.numbers);
            prop_assert_eq!(&is.ramp, &was.ramp);
        }
    }

    #[test]
    fn the_same_changes_make_the_same_split_whatever_else_there_is(
        parts in prop::collection::vec(1..100_000_u64, 1..=MAX_TRACKS), steps in prop::collection::vec(step(), 1..3),
    ) {
        let mut one = world(&parts);
        // Other services, and so other numbers.
        let mut two = OTHERS.clone();
        two.services.extend(one.services.clone());
        two.number(&OTHERS, NOW).unwrap();
        for step in &steps {
            one = take(&one, step);
            two = take(&two, step);
        }
        let (one_web, two_web) = (&one.services["web"], &two.services["web"]);
        prop_assert_eq!(&one_web.split.slots, &two_web.split.slots);
        prop_assert_eq!(header(&one), header(&two));
    }
}

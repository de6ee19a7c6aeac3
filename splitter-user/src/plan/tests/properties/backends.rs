//! No client changes its track because backends do.

use super::*;

/// A change of backends, of tracks by their index.
#[derive(Debug, Clone)]
enum Turn {
    /// The track has these from then on, by their last byte, with these weights: they come, go and are weighed anew.
    Deal(usize, BTreeMap<u8, u32>),
    /// One of them takes no new flows.
    Out(Out, usize, usize),
    /// One of them does again.
    Ready(usize, usize),
}

fn turn() -> impl Strategy<Value = Turn> {
    let track = 0..MAX_TRACKS;
    let which = 0..6_usize;
    let dealt = prop::collection::btree_map(1..8_u8, 1..100_u32, 1..6);
    let out = prop::sample::select(vec![Out::Draining, Out::Maint, Out::Quarantined]);
    prop_oneof![
        3 => (track.clone(), dealt).prop_map(|(track, dealt)| Turn::Deal(track, dealt)),
        2 => (out, track.clone(), which.clone()).prop_map(|(out, track, which)| Turn::Out(out, track, which)),
        1 => (track, which).prop_map(|(track, which)| Turn::Ready(track, which)),
    ]
}

/// The world after a turn: none is refused.
fn turned(world: &World, turn: &Turn) -> World {
    let tracks = &world.services["web"].spec.tracks;
    let what = |track: usize, which: usize| {
        let backends = &tracks[track % tracks.len()].backends;
        DrainTarget::Backend {
            address: backends[which % backends.len()].address,
            port: 80,
        }
    };
    let service = || "web".to_owned();
    let command = match turn {
        Turn::Deal(track, dealt) => {
            return respec(world, |spec| {
                let index = track % spec.tracks.len();
                let backends = dealt
                    .iter()
                    .map(|(host, weight)| backend(index, *host, *weight));
                spec.tracks[index].backends = backends.collect();
            });
        }
        Turn::Out(Out::Draining, track, which) => drain(what(*track, *which)),
        Turn::Out(Out::Maint, track, which) => Command::Maint {
            service: service(),
            what: what(*track, *which),
        },
        Turn::Out(Out::Quarantined, track, which) => Command::Quarantine {
            service: service(),
            what: what(*track, *which),
            spread: None,
        },
        Turn::Ready(track, which) => Command::Ready {
            service: service(),
            what: what(*track, *which),
        },
    };
    after(world, &command)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn backends_that_come_go_drain_or_weigh_more_move_no_client_to_another_track(
        world in worlds(), before in step(), turns in prop::collection::vec(turn(), 1..6),
    ) {
        let before = take(&world, &before);
        let was = &before.services["web"];
        let mut world = before.clone();
        for turn in &turns {
            world = turned(&world, turn);
            let is = &world.services["web"];
            prop_assert_eq!(&is.split, &was.split);
            prop_assert_eq!(&is.anchors, &was.anchors);
            prop_assert_eq!(&is.numbers, &was.numbers);
            prop_assert_eq!(&is.ramp, &was.ramp);
            prop_assert_eq!(is.weights(), was.weights());
            prop_assert_eq!(&is.drained_tracks, &was.drained_tracks);
        }
        prop_assert_eq!(header(&world), header(&before));
    }
}

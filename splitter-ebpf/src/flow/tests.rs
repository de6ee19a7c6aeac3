extern crate std;

use super::*;
use std::vec::Vec;

const CLIENT: Event = Event {
    from_client: true,
    flags: ACK,
    payload: false,
    aged: false,
    one_way: false,
};
const BACKEND: Event = Event {
    from_client: false,
    ..CLIENT
};

fn walk(start: State, events: &[Event]) -> State {
    let bits = events
        .iter()
        .fold(start as u8, |bits, event| advance(bits, *event));
    State::from_bits(bits).expect("a state")
}

const fn with(event: Event, flags: u8) -> Event {
    Event { flags, ..event }
}

const fn data(event: Event) -> Event {
    Event {
        payload: true,
        ..event
    }
}

#[test]
fn a_value_gives_back_its_parts() {
    let value = Value::new(4096, State::Established as u8, 0xabcde, 0x00ff_ee11);
    assert_eq!(value.backend(), 4096);
    assert_eq!(value.state_bits(), State::Established as u8);
    assert_eq!(value.tag(), 0xabcde);
    assert_eq!(value.seen(), 0x00ff_ee11);
}

#[test]
fn age_wraps_with_the_tick() {
    let value = Value::new(1, 1, 0, TICK_MASK - 1);
    assert_eq!(value.age(3), 5);
}

#[test]
fn what_was_seen_after_the_clock_was_read_is_not_old() {
    for seen in [1, 0x7f_ffff, TICK_MASK] {
        let value = Value::new(1, 1, 0, seen);
        assert_eq!(value.age(seen.wrapping_sub(1) & TICK_MASK), 0);
        assert_eq!(value.age(seen.wrapping_sub(40) & TICK_MASK), 0);
        assert_eq!(
            value.age(seen.wrapping_add(TICK_MASK / 2) & TICK_MASK),
            TICK_MASK / 2
        );
    }
}

#[test]
fn a_connection_is_established_when_the_client_goes_on_after_the_reply() {
    assert_eq!(
        walk(State::New, &[with(BACKEND, SYN | ACK)]),
        State::Replied
    );
    assert_eq!(
        walk(State::New, &[with(BACKEND, SYN | ACK), CLIENT]),
        State::Established
    );
    assert_eq!(
        walk(State::Replied, &[with(CLIENT, SYN)]),
        State::Replied,
        "a repeated SYN proves nothing"
    );
}

#[test]
fn a_flood_of_client_packets_alone_establishes_nothing_within_a_second() {
    assert_eq!(
        walk(State::New, &[CLIENT, data(CLIENT), with(CLIENT, SYN)]),
        State::New
    );
}

#[test]
fn no_client_establishes_a_tcp_flow_by_itself_however_long_it_sends() {
    let late = Event {
        aged: true,
        ..data(CLIENT)
    };
    assert_eq!(walk(State::New, &[late, late, late]), State::New);
}

#[test]
fn an_orderly_close_ends_in_closing_and_its_last_ack_leaves_it_there() {
    let close = [
        with(CLIENT, FIN | ACK),
        BACKEND,
        with(BACKEND, FIN | ACK),
        CLIENT,
    ];
    assert_eq!(walk(State::Established, &close), State::Closing);
    let other = [
        with(BACKEND, FIN | ACK),
        CLIENT,
        with(CLIENT, FIN | ACK),
        BACKEND,
    ];
    assert_eq!(walk(State::Established, &other), State::Closing);
}

#[test]
fn a_half_closed_flow_stays_established() {
    let half = walk(
        State::Established,
        &[with(CLIENT, FIN | ACK), BACKEND, data(BACKEND)],
    );
    assert_eq!(half, State::FinClient);
    assert!(half.is_established());
}

#[test]
fn a_forged_fin_is_undone_by_the_sides_next_data() {
    assert_eq!(
        walk(State::Established, &[with(CLIENT, FIN), data(CLIENT)]),
        State::Established
    );
    assert_eq!(
        walk(State::Established, &[with(BACKEND, FIN), data(BACKEND)]),
        State::Established
    );
    assert_eq!(walk(State::Closing, &[data(CLIENT)]), State::Established);
}

#[test]
fn a_reset_is_undone_by_any_later_packet() {
    assert_eq!(walk(State::Established, &[with(CLIENT, RST)]), State::Reset);
    assert_eq!(
        walk(State::Established, &[with(CLIENT, RST), BACKEND]),
        State::Established
    );
    assert_eq!(
        walk(State::New, &[with(CLIENT, RST), CLIENT]),
        State::New,
        "never better than it was"
    );
    assert_eq!(
        walk(State::Established, &[with(BACKEND, RST | ACK)]),
        State::Reset
    );
}

#[test]
fn udp_is_established_by_a_reply_or_by_lasting_over_a_second() {
    let client = with(CLIENT, 0);
    assert_eq!(walk(State::UdpNew, &[client]), State::UdpNew);
    assert_eq!(
        walk(State::UdpNew, &[with(BACKEND, 0)]),
        State::UdpEstablished
    );
    assert_eq!(
        walk(
            State::UdpNew,
            &[Event {
                aged: true,
                ..client
            }]
        ),
        State::UdpEstablished
    );
}

#[test]
fn no_event_leads_out_of_the_states_or_across_protocols() {
    for state in State::ALL {
        for flags in 0..=u8::MAX {
            for bits in 0..16_u8 {
                let event = Event {
                    from_client: bits & 1 != 0,
                    flags,
                    payload: bits & 2 != 0,
                    aged: bits & 4 != 0,
                    one_way: bits & 8 != 0,
                };
                let next = State::from_bits(advance(state as u8, event)).expect("a state");
                let udp = |s| matches!(s, State::UdpNew | State::UdpEstablished);
                assert_eq!(udp(state), udp(next), "{state:?} {event:?} {next:?}");
                let unconfirmed = |s| matches!(s, State::New | State::Replied | State::ResetNew);
                assert!(
                    unconfirmed(state) || !unconfirmed(next),
                    "an established flow became unconfirmed: {state:?} {event:?} {next:?}"
                );
            }
        }
    }
}

const ALONE: Event = Event {
    one_way: true,
    ..CLIENT
};

const fn aged(event: Event) -> Event {
    Event {
        aged: true,
        ..event
    }
}

#[test]
fn where_the_backend_answers_by_itself_a_client_that_goes_on_for_a_second_is_established() {
    assert_eq!(walk(State::New, &[with(ALONE, SYN)]), State::New);
    assert_eq!(walk(State::New, &[ALONE, data(ALONE)]), State::Replied);
    assert_eq!(
        walk(State::New, &[ALONE, with(aged(ALONE), SYN)]),
        State::Replied,
        "a repeated SYN proves nothing"
    );
    assert_eq!(walk(State::New, &[ALONE, aged(ALONE)]), State::Established);
}

#[test]
fn where_the_backend_answers_by_itself_the_clients_fin_closes_and_data_undoes_it() {
    for state in [State::Replied, State::Established] {
        assert_eq!(walk(state, &[with(ALONE, FIN | ACK)]), State::Closing);
    }
    assert_eq!(walk(State::Closing, &[data(ALONE)]), State::Established);
    assert_eq!(walk(State::Closing, &[ALONE]), State::Closing);
}

#[test]
fn a_second_entry_gives_back_its_slot_and_is_never_evicted() {
    for slot in [0, 65_535, 65_536, (1 << 40) - 1] {
        let value = Value::pointing(slot, 0xabcde);
        assert_eq!(value.slot(), slot);
        assert_eq!(value.tag(), 0xabcde);
        assert!(value.is_pointing());
        assert!(!State::evictable_bits(value.state_bits()));
    }
}

const CUT: [State; 4] = [
    State::Cut,
    State::CutFirst,
    State::CutSecond,
    State::CutTold,
];

#[test]
fn no_packet_leads_out_of_a_cut() {
    for state in CUT {
        for flags in 0..=u8::MAX {
            for bits in 0..16_u8 {
                let event = Event {
                    from_client: bits & 1 != 0,
                    flags,
                    payload: bits & 2 != 0,
                    aged: bits & 4 != 0,
                    one_way: bits & 8 != 0,
                };
                assert_eq!(advance(state as u8, event), state as u8);
                let (_, next) = tell(state as u8, event);
                assert!(State::from_bits(next).is_some_and(State::is_cut));
                assert!(next >= state as u8, "nobody is forgotten");
            }
        }
    }
}

#[test]
fn the_four_last_states_are_cut_and_no_other_is() {
    for state in State::ALL {
        let value = Value::new(7, state as u8, 0xabcde, 9);
        assert_eq!(value.is_cut(), CUT.contains(&state), "{state:?}");
        assert_eq!(state.is_cut(), CUT.contains(&state), "{state:?}");
        if state.is_cut() {
            assert!(!state.is_established(), "room for those who come");
        }
    }
    let cut = Value::new(7, State::Established as u8, 0xabcde, 9).cut(77);
    assert_eq!(cut, Value::new(7, State::Cut as u8, 0xabcde, 77));
    assert_eq!(
        cut.with_state(State::CutTold as u8),
        Value::new(7, State::CutTold as u8, 0xabcde, 77)
    );
}

#[test]
fn each_side_of_a_cut_flow_is_told_by_its_own_packets() {
    let mut state = State::Cut as u8;
    for (event, next) in [
        (CLIENT, State::CutFirst),
        (data(CLIENT), State::CutFirst),
        (with(BACKEND, FIN | ACK), State::CutTold),
        (BACKEND, State::CutTold),
    ] {
        let (told, after) = tell(state, event);
        assert_eq!((told, after), (Told::Sender, next as u8));
        state = after;
    }
    assert_eq!(
        tell(State::Cut as u8, BACKEND),
        (Told::Sender, State::CutSecond as u8)
    );
    assert_eq!(
        tell(State::Cut as u8, with(BACKEND, RST)),
        (Told::Nobody, State::CutSecond as u8),
        "who sends a RST knows"
    );
}

#[test]
fn where_the_backend_answers_by_itself_two_packets_tell_it_and_the_next_ones_the_client() {
    let mut state = State::Cut as u8;
    let told: Vec<Told> = (0..5)
        .map(|_| {
            let (told, next) = tell(state, ALONE);
            state = next;
            told
        })
        .collect();
    use Told::{Backend, Sender};
    assert_eq!(told, [Backend, Backend, Sender, Sender, Sender]);
    assert_eq!(state, State::CutTold as u8);
    for state in CUT {
        assert_eq!(
            tell(state as u8, with(ALONE, RST)),
            (Backend, State::CutTold as u8),
            "a client's RST goes on to the backend"
        );
    }
}

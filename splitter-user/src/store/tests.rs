#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod damage;
mod directory;
mod disk;
mod journal;
mod latency;
mod secret;

use super::{AnchorRecord, Audit, IdRecord, Prepared, ServiceRecord, Slots};

/// A split that differs from those of other seeds in every slot or so.
fn slots(seed: u64) -> Slots {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let cells: Vec<u8> = (0..super::SLOTS)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0] & 7
        })
        .collect();
    cells.try_into().unwrap()
}

fn service(name: &str, generation: u64) -> ServiceRecord {
    let anchor = |back: u64| AnchorRecord {
        generation: generation - back,
        index: u8::try_from((generation - back) % 4).unwrap(),
        slots: slots(generation - back),
        state_json: format!("{{\"anchor\":{back}}}"),
    };
    ServiceRecord {
        name: name.to_owned(),
        generation,
        data_plane_id: 7,
        spec_json: format!("{{\"name\":\"{name}\"}}"),
        state_json: "{}".to_owned(),
        current: slots(generation),
        current_index: u8::try_from(generation % 4).unwrap(),
        anchors: (1..=2)
            .filter(|back| *back < generation)
            .map(anchor)
            .collect(),
    }
}

fn id(kind: &str, id: u32, state: &str) -> IdRecord {
    IdRecord {
        kind: kind.to_owned(),
        id,
        key_json: format!("\"{kind}-{id}\""),
        state: state.to_owned(),
    }
}

/// The change that brings `services` to the generation that is the sequence.
fn change(sequence: u64, services: &[&str]) -> Prepared {
    Prepared {
        sequence,
        selector_before: sequence - 1,
        selector_after: u64::MAX - sequence,
        services: services
            .iter()
            .map(|name| service(name, sequence))
            .collect(),
        deleted: Vec::new(),
        ids: vec![
            id("service", 7, "active"),
            id("backend", 4_000_000_000, "deleting"),
        ],
        metas: vec![("of-change".to_owned(), sequence.to_string())],
        audit: Audit {
            unix_ms: 1_700_000_000_000 + sequence,
            uid: 0,
            gid: u32::MAX,
            pid: 4_242,
            verb: "cutover".to_owned(),
            service: services.join(","),
            reason: Some("night shift; DROP TABLE \"audit\" — ünïcode".to_owned()),
            from_json: None,
            to_json: Some("{\"green\":\"100\"}".to_owned()),
            command: None,
            refused: None,
        },
    }
}

#[test]
fn a_record_of_an_agent_that_kept_no_command_is_read() {
    let old = r#"{"unix_ms":1,"uid":0,"gid":0,"pid":7,"verb":"undo","service":"web","reason":null,
        "from_json":null,"to_json":null}"#;
    let audit: Audit = serde_json::from_str(old).unwrap();
    assert_eq!((audit.command, audit.refused), (None, None));
}

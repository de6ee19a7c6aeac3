//! What packets can see of the tables, and what the journal holds, without the numbers that differ from
//! one way of getting there to another.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher as _};

use splitter_ebpf::abi::{Binding, EndpointKind, MAGLEV, Pair, TRACKS, track_table_index};
use splitter_ebpf::wire::Family;

use crate::dataplane::{DataPlane, Tables};
use crate::store::ServiceRecord;
use crate::writer::Writer;

/// What packets meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// By listener: how its service chooses for new flows; none if no service has it.
    listeners: BTreeMap<String, Option<Choice>>,
    /// What replies and other packets from backends lead to, by endpoint.
    others: BTreeMap<String, BTreeSet<String>>,
    /// The flows, and where each goes.
    flows: BTreeMap<u64, String>,
    /// Backends that packets may be sent to, and whether the program looks twice before it does.
    flags: BTreeSet<(String, u8)>,
}

/// How a service chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Choice {
    word: String,
    header: String,
    slots: u64,
    /// By track: its entries, as backends.
    tracks: BTreeMap<u8, u64>,
    backends: BTreeSet<String>,
}

impl Sight {
    pub fn of<D: DataPlane>(writer: &Writer<D>) -> Self {
        let tables = writer.plane.tables();
        let mut listeners = BTreeMap::new();
        let mut others = BTreeMap::new();
        for endpoint in tables.endpoints.iter() {
            let name = format!("{:?} {:#x}", endpoint.address, endpoint.meta);
            if endpoint.kind == EndpointKind::Listener as u32 {
                let id = u16::try_from(endpoint.id).unwrap();
                let owner = Binding(tables.listener(id).binding).service(tables.selector());
                let family = Family::V4;
                let choice = (owner != 0).then(|| Choice::of(tables, owner, family));
                listeners.insert(name, choice);
                continue;
            }
            let answers = endpoint.kind == EndpointKind::Backend as u32
                || endpoint.kind == EndpointKind::Translated as u32;
            let pairs = if answers {
                let pairs = tables.reply(endpoint.id).pairs;
                let told = pairs.iter().filter(|pair| **pair != Pair::default());
                told.map(|pair| {
                    let listener = tables.listener(pair.listener());
                    let backend = backend(tables, pair.backend());
                    format!("{:?}:{:?} {backend}", listener.address, listener.port)
                })
                .collect()
            } else {
                BTreeSet::new()
            };
            others.insert(format!("{name} kind {}", endpoint.kind), pairs);
        }
        let active = writer.world.backend_ids.iter();
        let flags = active.map(|(id, ..)| (backend(tables, id), tables.backend(id).flags));
        let mut flows = BTreeMap::new();
        tables.scan(0..tables.flow_buckets(), |flow| {
            flows.insert(flow.key, backend(tables, flow.value.backend()));
        });
        Self {
            listeners,
            others,
            flows,
            flags: flags.collect(),
        }
    }

    /// Fails unless new flows are treated, and pinned ones sent, as in `wanted`.
    pub fn assert_new_flows_as(&self, wanted: &Self, when: &str) {
        let served = |sight: &Self| -> BTreeMap<String, Choice> {
            let choices = sight.listeners.iter();
            choices
                .filter_map(|(name, choice)| Some((name.clone(), choice.clone()?)))
                .collect()
        };
        assert_eq!(served(self), served(wanted), "{when}");
        for (flow, place) in &wanted.flows {
            assert_eq!(self.flows.get(flow), Some(place), "{when}: a flow moved");
        }
    }

    /// Fails unless packets meet what they meet in `wanted`.
    pub fn assert_is(&self, wanted: &Self, when: &str) {
        assert_eq!(self.listeners, wanted.listeners, "listeners: {when}");
        let keys = |sight: &Self| sight.others.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(keys(self), keys(wanted), "endpoints: {when}");
        for (place, pairs) in &wanted.others {
            // A change that was taken back may have had flows, which are answered for as long as its
            // listener has its number.
            let there = &self.others[place];
            assert!(
                there.is_superset(pairs),
                "{place}: {when}: {there:?}, not {pairs:?}"
            );
        }
        assert_eq!(self.flows, wanted.flows, "flows: {when}");
        for (backend, flags) in &wanted.flags {
            let there = |flags: u8| self.flags.contains(&(backend.clone(), flags));
            assert!(there(*flags) || there(1), "{backend}: {when}");
        }
    }
}

impl Choice {
    fn of(tables: &Tables, service: u16, family: Family) -> Self {
        let table = tables.row(tables.selector().row()).table[usize::from(service)];
        let (header, slots) = tables.read_split(service, table).unwrap();
        let mut backends = BTreeSet::new();
        let mut tracks = BTreeMap::new();
        for track in (0..TRACKS).filter_map(|track| u8::try_from(track).ok()) {
            if !slots.contains(&track) {
                continue;
            }
            let index = track_table_index(service, track, family);
            // Names once for each number, and every 61st entry: a thousand of them tell two tables apart.
            let mut names: BTreeMap<u16, u64> = BTreeMap::new();
            let entries: Vec<u64> = (0..MAGLEV)
                .step_by(61)
                .map(|entry| {
                    let id = tables.track_entry(index, entry);
                    *names.entry(id).or_insert_with(|| {
                        let name = backend(tables, id);
                        let short = digest(&name);
                        backends.insert(name);
                        short
                    })
                })
                .collect();
            tracks.insert(track, digest(&entries));
        }
        Self {
            word: format!("{:?}", tables.service_word(service)),
            header: format!("{header:?}"),
            slots: digest(&slots.as_slice()),
            tracks,
            backends,
        }
    }
}

/// Where packets for a backend go.
fn backend(tables: &Tables, id: u16) -> String {
    let there = tables.backend(id);
    let place = usize::from(there.current_hop & 1);
    format!(
        "{:?}:{:?} mode {} {:?} {:?}",
        there.address, there.port, there.mode, there.hops[place], there.paths[place]
    )
}

fn digest(what: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// What the journal holds: services, and what numbers stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    services: BTreeMap<String, String>,
    numbers: BTreeSet<String>,
}

impl Journal {
    pub fn of<D>(writer: &Writer<D>) -> Self {
        let services = writer.store.load_services().unwrap();
        let numbers = writer.store.load_ids().unwrap();
        Self {
            services: services.iter().map(service).collect(),
            numbers: numbers
                .iter()
                .map(|number| {
                    // How long flows may be silent is kept of what was deleted once, and used of what is
                    // deleted.
                    let key = number.key_json.split(",\"times\"").next().unwrap();
                    // Nor which services a listener may have had flows of.
                    let key = key.split(",\"services\"").next().unwrap();
                    format!("{} {key} {}", number.kind, number.state)
                })
                .collect(),
        }
    }

    /// Fails unless it holds what `wanted` does.
    pub fn assert_is(&self, wanted: &Self, when: &str) {
        assert_eq!(self.services, wanted.services, "services: {when}");
        assert_eq!(self.numbers, wanted.numbers, "numbers: {when}");
    }
}

/// A service's record, without its number and those of its tables.
fn service(record: &ServiceRecord) -> (String, String) {
    let anchors: Vec<_> = record
        .anchors
        .iter()
        .map(|anchor| {
            (
                anchor.generation,
                digest(&anchor.slots.as_slice()),
                &anchor.state_json,
            )
        })
        .collect();
    let told = format!(
        "{} {} {} {} {anchors:?}",
        record.generation,
        digest(&record.current.as_slice()),
        record.spec_json,
        record.state_json
    );
    (record.name.clone(), told)
}

//! Events: what the agent and time do to tables, done to the model too.

use anyhow::{Result, ensure};
use splitter_ebpf::abi::{
    BUCKET_FLOWS, Binding, Bucket, FragmentPath, Hop as WireHop, Path, track_table_index,
};
use splitter_ebpf::flow::{TICK_MASK, Value};
use splitter_ebpf::wire::Family;
use splitter_user::dataplane::{DataPlane as _, FlowSlot};
use splitter_user::table::maglev::build;

use super::super::Hop;
use super::super::room::Name;
use super::Trial;
use super::fill::{member, of_family};
use crate::rig::{BALANCER_MAC, mac_of};

impl Trial {
    /// As the agent does it: the flow, then its second entry.
    pub(super) fn expire(&mut self, name: Name) -> Result<()> {
        let Some((slot, key, value, flow)) = self.model.room.remove(name) else {
            return Ok(());
        };
        self.free(Some((slot, key, value)))?;
        let second = flow
            .way
            .and_then(|way| self.model.room.remove_second(way, slot));
        self.free(second)
    }

    /// A flow is cut.
    pub(super) fn cut(&mut self, name: Name) -> Result<()> {
        let now = self.model.now;
        let Some((slot, key, value)) = self.model.room.cut(name, now) else {
            return Ok(());
        };
        let flow = FlowSlot { slot, key, value };
        let cut = self.rig.tables().cut_flow(&flow, now);
        ensure!(cut, "slot {slot} did not hold {key:x} as {value:x?}");
        Ok(())
    }

    /// As the agent does it: second entries that lead nowhere.
    pub(super) fn sweep(&mut self) -> Result<()> {
        for (way, slot) in self.model.room.orphans() {
            let gone = self.model.room.remove_second(way, slot);
            self.free(gone)?;
        }
        Ok(())
    }

    /// Frees what the model has freed.
    fn free(&self, gone: Option<(usize, u64, Value)>) -> Result<()> {
        let Some((slot, key, value)) = gone else {
            return Ok(());
        };
        let freed = self.rig.tables().free_flow(&FlowSlot { slot, key, value });
        ensure!(freed, "slot {slot} did not hold {key:x} as {value:x?}");
        Ok(())
    }

    /// Every flow grows older.
    pub(super) fn age(&mut self, ticks: u32) {
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

    /// What is known of first fragments grows older.
    pub(super) fn age_fragments(&mut self, ticks: u32) -> Result<()> {
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

    /// The backends in a set take a track's new flows.
    pub(super) fn backends(&mut self, service: usize, track: usize, set: u32) -> Result<()> {
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

    /// A listener loses its owner, or gets it back.
    pub(super) fn bind(&mut self, place: usize, owned: bool) {
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

    /// A backend is reached by another next hop.
    pub(super) fn hop(&mut self, place: usize, ifindex: u32) {
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

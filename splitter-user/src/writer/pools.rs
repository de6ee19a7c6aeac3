//! What clients of mode `fullnat` are translated to: pools of addresses and ports, found by what they
//! hold and never changed while a backend names them, for living flows hold places in them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use splitter_ebpf::abi::{NAT_ADDRESSES, NAT_POOLS, NatPool};
use splitter_ebpf::wire::{Family as WireFamily, WireAddress};

use super::{Writer, now_ms, record};
use crate::config::Nat;
use crate::dataplane::{DataPlane, Tables};
use crate::model::{Family, Mode};
use crate::state::{BackendKey, IdState, World};

/// What the tables hold, and what backends name of it. Place 0 stays empty: it says "no pool".
pub(super) struct Pools {
    content: Vec<NatPool>,
    named: BTreeSet<u16>,
}

impl Pools {
    /// The pools of `tables`; those that a backend of one of `worlds` names are in use.
    pub(super) fn read<'w>(tables: &Tables, worlds: impl IntoIterator<Item = &'w World>) -> Self {
        let places = 0..u16::try_from(NAT_POOLS).unwrap_or(u16::MAX);
        let ids = worlds
            .into_iter()
            .flat_map(|world| world.backend_ids.iter());
        Self {
            content: places.map(|index| tables.nat_pool(index)).collect(),
            named: ids.map(|(id, _, _)| tables.backend(id).pool).collect(),
        }
    }

    /// Where a pool that holds this is, or could be. `None`: all places are in use.
    fn place_of(&self, wanted: &NatPool) -> Option<usize> {
        let held = self.content.iter().position(|pool| pool == wanted);
        held.filter(|index| *index > 0).or_else(|| {
            let mut places = 1..self.content.len();
            let named =
                |index: &usize| u16::try_from(*index).is_ok_and(|i| self.named.contains(&i));
            places.find(|index| !named(index))
        })
    }

    /// The place of a pool that holds this, written if there is none. `None`: all places are in use.
    pub(super) fn place(&mut self, tables: &Tables, wanted: &NatPool) -> Option<u16> {
        let index = self.place_of(wanted)?;
        let place = u16::try_from(index).ok()?;
        if self.content[index] != *wanted {
            tables.write_nat_pool(place, *wanted);
            self.content[index] = *wanted;
        }
        self.named.insert(place);
        Some(place)
    }
}

/// The pool of these addresses, all of one family; `None` of none.
pub(super) fn pool_of(addresses: &[IpAddr], nat: &Nat) -> Option<NatPool> {
    let family = WireFamily::of(addresses.first()?);
    let mut pool = NatPool {
        count: u32::try_from(addresses.len().min(NAT_ADDRESSES)).ok()?,
        first_port: u32::from(*nat.ports.start()),
        ports: u32::from(*nat.ports.end() - *nat.ports.start()) + 1,
        family: u32::from(family as u8),
        ..NatPool::default()
    };
    for (place, address) in pool.addresses.iter_mut().zip(addresses) {
        *place = WireAddress::from(*address);
    }
    Some(pool)
}

impl<D: DataPlane + 'static> Writer<D> {
    /// What new flows to `key` are to be translated to, as configured and as routes are now; `None` in
    /// other modes, and while the way to it is not known.
    pub(super) fn wanted_pool(&self, key: &BackendKey) -> Option<NatPool> {
        if key.mode != Mode::FullNat {
            return None;
        }
        let configured = self.nat.of_family(Family::of(key.address));
        if !configured.is_empty() {
            return pool_of(&configured, &self.nat);
        }
        let source = self.hops.hops.get(&key.address)?.source;
        pool_of(&[source], &self.nat)
    }

    /// Gives backends new numbers whose clients are to be translated to something else from now on: the
    /// configuration or the address towards them has changed. The old numbers go the way of deleted
    /// backends, so that living flows keep what they are translated to.
    pub(super) fn renew_pools(&mut self) {
        let tables = self.plane.tables();
        let stale = |id: u16, key: &BackendKey| {
            let named = tables.backend(id).pool;
            let wanted = self.wanted_pool(key);
            named > 0
                && wanted.is_some_and(|wanted| {
                    wanted != tables.nat_pool(named) && self.has_room_for(&wanted)
                })
        };
        let ids = self.world.backend_ids.iter();
        let stale: Vec<u16> = ids
            .filter(|(id, key, state)| *state == IdState::Active && stale(*id, key))
            .map(|(id, _, _)| id)
            .collect();
        if stale.is_empty() {
            return;
        }
        let mut next = self.world.clone();
        for id in &stale {
            next.supersede(*id);
        }
        if let Err(error) = self.put_in_force(next) {
            tracing::warn!(
                error,
                "new flows are translated to what was configured before"
            );
        } else {
            tracing::info!(
                backends = stale.len(),
                "new flows of mode fullnat are translated to other addresses"
            );
        }
    }

    /// Whether there is room for a pool beside those that are in use.
    fn has_room_for(&self, wanted: &NatPool) -> bool {
        let tables = self.plane.tables();
        Pools::read(tables, [&self.world])
            .place_of(wanted)
            .is_some()
    }

    /// Puts a world in force that differs in numbers of backends alone.
    fn put_in_force(&mut self, mut next: World) -> Result<(), String> {
        next.number(&self.world, now_ms())
            .map_err(|error| error.to_string())?;
        self.observe_new(&next).map_err(|error| error.to_string())?;
        let records = record::ids(&next);
        self.store
            .replace_ids(&records)
            .map_err(|error| error.to_string())?;
        self.write_backends(&next);
        self.world = next;
        self.after_change();
        if let Err(error) = self.sync_all() {
            tracing::error!(%error, "some tables hold what was before; they are written again in a second");
        }
        Ok(())
    }

    /// The pool that a backend's record is to name: the one it names already, else the one that is
    /// wanted now. 0 in other modes; `None` while there is none.
    pub(super) fn choose_pool(
        &self,
        key: &BackendKey,
        named: u16,
        pools: &mut Pools,
    ) -> Option<u16> {
        if key.mode != Mode::FullNat {
            return Some(0);
        }
        if named > 0 {
            return Some(named);
        }
        let wanted = self.wanted_pool(key)?;
        pools.place(self.plane.tables(), &wanted)
    }
}

//! What flows were made from and what their clients are translated to: the cold half of the flow table.

use std::mem::offset_of;
use std::sync::atomic::Ordering;

use splitter_ebpf::abi::{BUCKET_FLOWS, Backend, Bucket, ColdKey, Mode, NAT_ADDRESSES};
use splitter_ebpf::endpoint::{flow_key_v4, flow_key_v6, translation_key};
use splitter_ebpf::flow::Value;
use splitter_ebpf::wire::{Family, WireAddress, WirePort};

use super::tables::{FlowSlot, Tables};

impl Tables {
    /// What a flow's key was made from, if it is kept and belongs to the flow and not to one before it.
    #[must_use]
    pub fn cold_key(&self, flow: &FlowSlot) -> Option<ColdKey> {
        self.cold_key_of(flow, self.family_of(flow))
    }

    fn cold_key_of(&self, flow: &FlowSlot, family: Family) -> Option<ColdKey> {
        let cold = self.flow_keys.read(flow.slot);
        let (address, port, listener) = (cold.address, cold.port(), cold.listener());
        let key = match family {
            Family::V4 => flow_key_v4(address.0[0], port, listener),
            Family::V6 => flow_key_v6(self.keys.fingerprint, address, port, listener),
        };
        (key == flow.key).then_some(cold)
    }

    /// The family of a flow: its backend's.
    #[must_use]
    pub fn family_of(&self, flow: &FlowSlot) -> Family {
        family(&self.backend(flow.value.backend()))
    }

    /// What a flow's client is translated to: an address and port of its backend's pool. `None` where no
    /// client is, and while another CPU still writes it.
    #[must_use]
    pub fn translation(&self, flow: &FlowSlot) -> Option<(WireAddress, WirePort)> {
        self.translated(flow, &self.backend(flow.value.backend()))
            .map(|(_, translated)| translated)
    }

    /// What a flow of `backend` was made from, and what its client is translated to.
    fn translated(
        &self,
        flow: &FlowSlot,
        backend: &Backend,
    ) -> Option<(ColdKey, (WireAddress, WirePort))> {
        if backend.mode != Mode::FullNat as u8 {
            return None;
        }
        let cold = self.cold_key_of(flow, family(backend))?;
        let (place, port) = (cold.translation().address(), cold.translation().port());
        let address = self.nat_address(backend.pool, place)?;
        (port.0 != 0).then_some((cold, (address, port)))
    }

    /// An address of a pool. A pool is large, and the scan asks for each second entry: not all of it is read.
    fn nat_address(&self, pool: u16, place: u32) -> Option<WireAddress> {
        let pool = self.nat_pools.pointer(pool.into());
        // SAFETY: within the pool; it does not change while a backend names it.
        let count = unsafe { (&raw const (*pool).count).read_volatile() };
        let place = usize::try_from(place.min(count)).ok()?;
        if place >= usize::try_from(count).ok()?.min(NAT_ADDRESSES) {
            return None;
        }
        // SAFETY: within the addresses, by the line above.
        Some(unsafe { (&raw const (*pool).addresses[place]).read_volatile() })
    }

    /// The flow in a slot.
    #[must_use]
    pub fn flow_at(&self, slot: usize) -> Option<FlowSlot> {
        if slot >= self.layout.flow_slots() {
            return None;
        }
        let value = self.value_word(slot).load(Ordering::Acquire);
        let (bucket, lane) = (slot / BUCKET_FLOWS, slot % BUCKET_FLOWS);
        let key = self
            .flows
            .word(bucket, offset_of!(Bucket, keys) + lane * 8)
            .load(Ordering::Acquire);
        (value != 0).then_some(FlowSlot {
            slot,
            key,
            value: Value(value),
        })
    }

    /// Whether a second entry has a flow: one whose client is translated to what this entry stands for.
    #[must_use]
    pub fn has_first(&self, second: &FlowSlot) -> bool {
        let slot = usize::try_from(second.value.slot()).unwrap_or(usize::MAX);
        let Some(first) = self.flow_at(slot).filter(|flow| !flow.value.is_pointing()) else {
            return false;
        };
        let backend = self.backend(first.value.backend());
        let Some((cold, translated)) = self.translated(&first, &backend) else {
            return false;
        };
        if usize::from(cold.listener()) >= self.listeners.len() {
            return false;
        }
        let listener = self.listener(cold.listener());
        let port = match backend.port {
            WirePort(0) => listener.port,
            port => port,
        };
        let (secret, endpoint) = (self.keys.fingerprint, (backend.address, port));
        let key = match family(&backend) {
            Family::V4 => translation_key::<false>(secret, endpoint, translated, listener.protocol),
            Family::V6 => translation_key::<true>(secret, endpoint, translated, listener.protocol),
        };
        key == second.key
    }
}

/// The family of a backend's address.
const fn family(backend: &Backend) -> Family {
    match backend.address.0 {
        [_, 0, 0, 0] => Family::V4,
        _ => Family::V6,
    }
}

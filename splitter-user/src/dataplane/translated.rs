//! What flows were made from and what their clients are translated to: the cold half of the flow table.

use std::mem::offset_of;
use std::sync::atomic::Ordering;

use splitter_ebpf::abi::{BUCKET_FLOWS, Bucket, ColdKey, Mode};
use splitter_ebpf::endpoint::{flow_key_v4, flow_key_v6, translation_key};
use splitter_ebpf::flow::Value;
use splitter_ebpf::wire::{Family, WireAddress, WirePort};

use super::tables::{FlowSlot, Tables};

impl Tables {
    /// What a flow's key was made from, if it is kept and belongs to the flow and not to one before it.
    #[must_use]
    pub fn cold_key(&self, flow: &FlowSlot) -> Option<ColdKey> {
        let cold = self.flow_keys.read(flow.slot);
        let (address, port, listener) = (cold.address, cold.port(), cold.listener());
        let key = match self.family_of(flow) {
            Family::V4 => flow_key_v4(address.0[0], port, listener),
            Family::V6 => flow_key_v6(self.keys.fingerprint, address, port, listener),
        };
        (key == flow.key).then_some(cold)
    }

    /// The family of a flow: its backend's.
    #[must_use]
    pub fn family_of(&self, flow: &FlowSlot) -> Family {
        match self.backend(flow.value.backend()).address.0 {
            [_, 0, 0, 0] => Family::V4,
            _ => Family::V6,
        }
    }

    /// What a flow's client is translated to: an address and port of its backend's pool. `None` where no
    /// client is, and while another CPU still writes it.
    #[must_use]
    pub fn translation(&self, flow: &FlowSlot) -> Option<(WireAddress, WirePort)> {
        let backend = self.backend(flow.value.backend());
        if backend.mode != Mode::FullNat as u8 {
            return None;
        }
        let translation = self.cold_key(flow)?.translation();
        let pool = self.nat_pool(backend.pool);
        let place = usize::try_from(translation.address()).ok()?;
        let address = pool.addresses.get(place)?;
        let used = translation.address() < pool.count && translation.port().0 != 0;
        used.then_some((*address, translation.port()))
    }

    /// The flow in a slot, and where its second entry would be if its client is translated.
    fn flow_at(&self, slot: usize) -> Option<FlowSlot> {
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
        let (Some(cold), Some(translated)) = (self.cold_key(&first), self.translation(&first))
        else {
            return false;
        };
        let backend = self.backend(first.value.backend());
        if cold.listener() >= u16::try_from(self.listeners.len()).unwrap_or(u16::MAX) {
            return false;
        }
        let listener = self.listener(cold.listener());
        let port = if backend.port.0 == 0 {
            listener.port
        } else {
            backend.port
        };
        let secret = self.keys.fingerprint;
        let endpoint = (backend.address, port);
        let key = match self.family_of(&first) {
            Family::V4 => translation_key::<false>(secret, endpoint, translated, listener.protocol),
            Family::V6 => translation_key::<true>(secret, endpoint, translated, listener.protocol),
        };
        key == second.key
    }
}

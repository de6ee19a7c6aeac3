//! The ways to backends, as their modes want them, and what stands in the way.

use std::collections::{BTreeMap, BTreeSet};

use splitter_ebpf::abi::{Hop, Path, VLAN_DEVICES, VlanDevice};

use super::Writer;
use crate::api::types::ConditionKind;
use crate::dataplane::DataPlane;
use crate::model::Mode;
use crate::nexthop::Tagged;
use crate::plan::Plan;
use crate::state::BackendKey;

impl<D: DataPlane + 'static> Writer<D> {
    /// Tells the program which devices are tags on others. Those that it cannot send by have no parent.
    pub(super) fn write_vlan_devices(&mut self) {
        let device = |tagged: &Option<Tagged>| match tagged {
            Some(tagged) => VlanDevice {
                parent: tagged.parent,
                vlan: Path::tagged(tagged.id).into(),
            },
            None => VlanDevice::default(),
        };
        let Some(vlans) = &self.hops.vlans else {
            return;
        };
        let vlans = vlans.iter().take(VLAN_DEVICES);
        let devices = vlans.map(|(index, tagged)| (*index, device(tagged)));
        let written = self.plane.set_vlan_devices(&devices.collect());
        if let Err(error) = &written {
            tracing::warn!(%error, "packets to clients on some VLANs go astray; it is tried again in a second");
        }
        self.vlans_due = written.is_err();
    }

    /// The next hop of a backend, and what it asks of packets; `None` while it is not known. A backend
    /// that its mode cannot reach has the hop of nobody.
    pub(super) fn hop_of(&self, key: &BackendKey) -> Option<(Hop, Path)> {
        let hop = self.hops.hops.get(&key.address)?;
        if key.mode == Mode::DsrL2 && hop.gateway.is_some() {
            return Some((Hop::default(), Path::default()));
        }
        let path = Path {
            mtu: u16::try_from(hop.mtu).unwrap_or(u16::MAX),
            vlan: hop.vlan.map_or(0, Path::tagged),
        };
        let hop = Hop::new(hop.destination_mac, hop.source_mac, hop.ifindex);
        Some((hop, path))
    }

    /// Why packets do not get to a backend, if they do not.
    pub(super) fn obstacle(&self, key: &BackendKey) -> Option<(ConditionKind, String)> {
        let address = key.address;
        if let Some(why) = self.hops.missing.get(&address) {
            return Some((ConditionKind::NeighbourMissing, format!("{address}: {why}")));
        }
        let hop = self.hops.hops.get(&address)?;
        match (key.mode, hop.gateway) {
            (Mode::DsrL2, Some(gateway)) => {
                let message = format!(
                    "{address}: it is behind the gateway {gateway}, and mode dsr-l2 of service {} reaches no backend \
                     beyond a network that this host is connected to; use mode ipip, or connect the two",
                    key.service
                );
                Some((ConditionKind::BackendBehindGateway, message))
            }
            (Mode::FullNat, _) if !self.has_pool(key) => {
                let message = format!(
                    "{address}: all places for addresses of mode fullnat are in use by other backends; give addresses \
                     in [nat], which all backends share"
                );
                Some((ConditionKind::NeighbourMissing, message))
            }
            _ => None,
        }
    }

    /// Warns of backends that a change gives a mode which cannot reach them.
    pub(super) fn note_gateways(&self, plan: &mut Plan) {
        for change in &mut plan.changes {
            let Some(service) = plan.next.services.get(&change.service) else {
                continue;
            };
            let spec = &service.spec;
            let keys = spec.tracks.iter().flat_map(|track| {
                let backends = track.backends.iter();
                backends.map(|backend| BackendKey::of(spec, &track.name, backend))
            });
            let mut found = self.obstacles(keys);
            change
                .warnings
                .extend(found.remove(&ConditionKind::BackendBehindGateway));
        }
    }

    fn has_pool(&self, key: &BackendKey) -> bool {
        let id = self.world.backend_ids.get(key);
        id.is_some_and(|id| self.plane.tables().backend(id).pool > 0)
    }

    /// What stands in the way to the backends among `keys`, by kind.
    pub(super) fn obstacles(
        &self,
        keys: impl IntoIterator<Item = BackendKey>,
    ) -> BTreeMap<ConditionKind, String> {
        let mut found: BTreeMap<ConditionKind, BTreeSet<String>> = BTreeMap::new();
        for (kind, message) in keys.into_iter().filter_map(|key| self.obstacle(&key)) {
            found.entry(kind).or_default().insert(message);
        }
        let join = |messages: BTreeSet<String>| messages.into_iter().collect::<Vec<_>>().join("; ");
        found
            .into_iter()
            .map(|(kind, messages)| (kind, join(messages)))
            .collect()
    }

    /// Raises and lowers the conditions about ways to backends.
    pub(super) fn judge_ways(&mut self) {
        let mut found = self.obstacles(self.world.backend_ids.active());
        for kind in [
            ConditionKind::NeighbourMissing,
            ConditionKind::BackendBehindGateway,
        ] {
            match found.remove(&kind) {
                Some(message) => self.raise(kind, message),
                None => self.lower(kind),
            }
        }
    }
}

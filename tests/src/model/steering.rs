//! What decides a new flow's track: the preview, routes, the weights, and the fallback.

use std::net::IpAddr;

use ipnet::IpNet;
use splitter_ebpf::hash::Key;
use splitter_user::table::split::Slots;

/// All that flips as one when a service's split does.
#[derive(Debug)]
pub(super) struct Split {
    pub(super) keys: Keys,
    pub(super) slots: Slots,
    pub(super) by_client: Option<ByClient>,
    pub(super) routes: Vec<Route>,
    pub(super) preview: Option<Preview>,
    /// The track that takes new flows for one that has nobody.
    pub(super) fallback: Option<u8>,
}

/// What hashes are keyed with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    /// For the slot; for the backend too, where both go by the flow.
    pub(super) slot: Key,
    /// For the backend, where the slot goes by the client.
    pub(super) backend: Key,
}

/// The track goes by the client, and not by the flow.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByClient {
    /// So many bits of its address count, in IPv4 and in IPv6.
    pub(super) bits: [u8; 2],
    /// The backend goes by them too.
    pub(super) backend: bool,
}

/// Clients of these networks go to one track before the weights are asked.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) sources: Vec<IpNet>,
    pub(super) track: u8,
}

/// A listener that always leads to one track, or to nobody.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preview {
    pub(super) listener: u16,
    pub(super) track: Option<u8>,
}

/// Where a new flow goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// The track, if there is one.
    pub(super) track: Option<u8>,
    /// Not the weights have sent it there.
    pub(super) aside: bool,
}

impl Split {
    /// The track of a new flow of `client` to a listener, whose slot this is. `serves` says of a track
    /// whether it has anybody for it.
    pub(super) fn choose(
        &self,
        client: IpAddr,
        listener: u16,
        slot: u16,
        serves: impl Fn(u8) -> bool,
    ) -> Choice {
        if let Some(preview) = self.preview.filter(|preview| preview.listener == listener) {
            // It is for those who want to see that track, and no other.
            let track = preview.track.filter(|track| serves(*track));
            return Choice { track, aside: true };
        }
        let matches = |route: &&Route| route.sources.iter().any(|net| net.contains(&client));
        let route = self.routes.iter().find(matches);
        let by_weight = self.slots.as_bytes()[usize::from(slot)];
        let track = route.map_or(by_weight, |route| route.track);
        let mut those = [Some(track), self.fallback].into_iter().flatten();
        Choice {
            track: those.find(|track| serves(*track)),
            aside: route.is_some(),
        }
    }
}

//! Sizes and keys of the maps.

use splitter_ebpf::abi::{BUCKET_FLOWS, MAX_SERVICES, Meta, TRACKS};
use splitter_ebpf::hash::{Key, derive, digest};

/// Sizes of the maps, fixed from their making until `detach`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Services, ids 1 to this.
    pub services: u32,
    /// Backends, ids 1 to this.
    pub backends: u32,
    /// Listeners, ids 1 to this.
    pub listeners: u32,
    /// Backend endpoints.
    pub replies: u32,
    /// Endpoint table buckets, a power of two.
    pub endpoint_buckets: u32,
    /// Flow table buckets, a power of two.
    pub flow_buckets: u32,
}

impl Layout {
    /// Sizes for so many services, backends and flows. The flow table is at most half full at
    /// `flows`, the endpoint table at most a quarter.
    #[must_use]
    pub fn new(services: u32, backends: u32, flows: u32) -> Self {
        let listeners = (services * 4).clamp(1024, u32::from(u16::MAX));
        let replies = (backends * 2).max(1024);
        let bucket = u32::try_from(BUCKET_FLOWS).unwrap_or(1);
        Self {
            services: services.min(u32::try_from(MAX_SERVICES - 1).unwrap_or(u32::MAX)),
            backends: backends.min(u32::from(u16::MAX)),
            listeners,
            replies,
            // Listeners and their VIPs, backends' endpoints and their addresses.
            endpoint_buckets: (listeners * 2 + replies + backends).next_power_of_two(),
            flow_buckets: (flows * 2 / bucket).max(2).next_power_of_two(),
        }
    }

    /// Flows that the table has slots for.
    #[must_use]
    pub const fn flow_slots(&self) -> usize {
        self.flow_buckets as usize * BUCKET_FLOWS
    }

    /// Maps and their number of entries, where these follow from the layout.
    #[must_use]
    pub fn entries(&self) -> [(&'static str, u32); 10] {
        let lanes = 4;
        let tracks = u32::try_from(TRACKS).unwrap_or(1);
        [
            ("SPLITS", self.services + 1),
            ("TRACKS", (self.services + 1) * tracks * 2),
            ("ENDPOINT_TAGS", self.endpoint_buckets),
            ("ENDPOINTS", self.endpoint_buckets * lanes),
            ("LISTENERS", self.listeners + 1),
            ("REPLIES", self.replies),
            ("BACKENDS", self.backends + 1),
            ("COUNTERS", self.backends + 1),
            ("FLOWS", self.flow_buckets),
            (
                "FLOW_KEYS",
                self.flow_buckets * u32::try_from(BUCKET_FLOWS).unwrap_or(1),
            ),
        ]
    }

    /// What is written into the maps' own description.
    #[must_use]
    pub fn meta(&self, secret: &[u8; 32], tick_shift: u32) -> Meta {
        Meta {
            abi_version: super::object::edition().1,
            flow_buckets: self.flow_buckets,
            endpoint_buckets: self.endpoint_buckets,
            tick_shift,
            secret_digest: digest(derive(secret, "name", ""), b"secret"),
        }
    }
}

/// Keys of the places in tables, all derived from the host's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// Places of flows.
    pub flow: Key,
    /// Fingerprints of IPv6 flows.
    pub fingerprint: Key,
    /// Places of endpoints.
    pub endpoint: Key,
}

impl Keys {
    /// The keys of a secret.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self {
            flow: derive(secret, "flow", ""),
            fingerprint: derive(secret, "fingerprint", ""),
            endpoint: derive(secret, "endpoint", ""),
        }
    }
}

/// The kernel's clock tick and ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickRate {
    /// Timer interrupts a second (CONFIG_HZ).
    pub hz: u32,
    /// Right shift from jiffies to ticks: a tick is a quarter to a half of a second.
    pub shift: u32,
}

impl TickRate {
    /// This kernel's rate. The resolution of the coarse clock is one jiffy.
    #[must_use]
    pub fn of_this_kernel() -> Self {
        let resolution = rustix::time::clock_getres(rustix::time::ClockId::MonotonicCoarse);
        let nanoseconds = u32::try_from(resolution.tv_nsec.max(1)).unwrap_or(4_000_000);
        Self::from_hz((1_000_000_000 + nanoseconds / 2) / nanoseconds)
    }

    /// The rate for a kernel with `hz` timer interrupts a second.
    #[must_use]
    pub const fn from_hz(hz: u32) -> Self {
        let mut shift = 0;
        while (hz >> shift) >= 6 {
            shift += 1;
        }
        Self { hz, shift }
    }

    /// The least number of whole ticks that take at least `milliseconds`.
    #[must_use]
    pub fn ticks(&self, milliseconds: u64) -> u32 {
        let jiffies = (milliseconds * u64::from(self.hz)).div_ceil(1000);
        // One more: the first tick may be nearly over already.
        u32::try_from((jiffies >> self.shift) + 1).unwrap_or(u32::MAX)
    }

    /// So many a second, as so many a tick: 0 for none, else at least 1.
    #[must_use]
    pub fn per_tick(&self, per_second: u32) -> u64 {
        if per_second == 0 {
            return 0;
        }
        let jiffies = u64::from(per_second) << self.shift;
        (jiffies / u64::from(self.hz)).max(1)
    }

    /// The length of `ticks`.
    #[must_use]
    pub fn duration(&self, ticks: u32) -> std::time::Duration {
        std::time::Duration::from_micros(
            (u64::from(ticks) << self.shift) * 1_000_000 / u64::from(self.hz),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_a_fraction_of_a_second_on_every_usual_kernel() {
        for hz in [100, 250, 300, 1000] {
            let rate = TickRate::from_hz(hz);
            let tick = rate.duration(1).as_millis();
            assert!((160..=350).contains(&tick), "{hz} Hz: {tick} ms");
            assert!(
                rate.duration(rate.ticks(1000)).as_millis() >= 1000,
                "{hz} Hz"
            );
            assert!(
                rate.duration(rate.ticks(60_000)).as_millis() < 60_700,
                "{hz} Hz"
            );
        }
    }

    #[test]
    fn a_cap_a_second_is_a_cap_a_tick_and_never_none() {
        for hz in [100, 250, 300, 1000] {
            let rate = TickRate::from_hz(hz);
            assert_eq!((rate.per_tick(0), rate.per_tick(1)), (0, 1), "{hz} Hz");
            let second = std::time::Duration::from_secs(1).as_micros();
            let ticks = second / rate.duration(1).as_micros();
            let all = u128::from(rate.per_tick(1_000_000)) * ticks;
            assert!((640_000..=1_000_000).contains(&all), "{hz} Hz: {all}");
        }
    }

    #[test]
    fn a_million_flows_fill_at_most_half_of_their_table() {
        let layout = Layout::new(256, 4096, 1_000_000);
        assert!(layout.flow_slots() >= 2_000_000);
        assert!(layout.flow_slots() < 4_000_001);
    }
}

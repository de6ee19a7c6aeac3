//! The endpoint table from the agent's side: it alone writes, while the program reads.

use std::sync::atomic::Ordering;

use splitter_ebpf::abi::Endpoint;
use splitter_ebpf::endpoint::{
    endpoint_hash, endpoint_home, endpoint_overflow, endpoint_tag, tags,
};
use splitter_ebpf::hash::Key;
use splitter_ebpf::wire::WireAddress;

use super::mapping::Mapping;

/// Why an endpoint could not be entered.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EndpointError {
    /// Both its buckets are full.
    #[error(
        "the endpoint table is full; raise limits.services or limits.backends, and detach once so that it grows"
    )]
    Full,
}

/// The table. An entry is written before its tag is published; a place that was freed is used again
/// only after a grace period ([`EndpointTable::settle`]).
#[derive(Debug)]
pub struct EndpointTable {
    tags: Mapping<u64>,
    entries: Mapping<Endpoint>,
    seed: Key,
    mask: u32,
    freed: Vec<(usize, usize)>,
    #[cfg(test)]
    faults: super::faulty::Faults,
}

impl EndpointTable {
    /// A table over these maps, whatever they hold.
    #[must_use]
    pub fn new(tags: Mapping<u64>, entries: Mapping<Endpoint>, seed: Key) -> Self {
        let mask = u32::try_from(tags.len() - 1).unwrap_or(u32::MAX);
        Self {
            tags,
            entries,
            seed,
            mask,
            freed: Vec::new(),
            #[cfg(test)]
            faults: super::faulty::Faults::default(),
        }
    }

    /// Finds no room where `faults` say so.
    #[cfg(test)]
    pub(crate) fn fail_as(&mut self, faults: &super::faulty::Faults) {
        self.faults = faults.clone();
    }

    /// The two buckets of an endpoint, and its tag.
    fn place(&self, address: WireAddress, meta: u64) -> ([usize; 2], u64) {
        let hash = endpoint_hash(self.seed, address, meta);
        let buckets = [
            endpoint_home(hash, self.mask),
            endpoint_overflow(hash, self.mask),
        ];
        (buckets.map(|bucket| bucket as usize), endpoint_tag(hash))
    }

    fn word(&self, bucket: usize) -> u64 {
        self.tags.word(bucket, 0).load(Ordering::Acquire)
    }

    fn find(&self, address: WireAddress, meta: u64) -> Option<(usize, usize)> {
        let (buckets, tag) = self.place(address, meta);
        buckets
            .into_iter()
            .flat_map(|bucket| (0..tags::LANES).map(move |lane| (bucket, lane)))
            .find(|(bucket, lane)| {
                let entry = self.entries.read(bucket * tags::LANES + lane);
                tags::get(self.word(*bucket), *lane) == tag
                    && entry.address == address
                    && entry.meta == meta
            })
    }

    /// The entry of an endpoint.
    #[must_use]
    pub fn get(&self, address: WireAddress, meta: u64) -> Option<Endpoint> {
        let (bucket, lane) = self.find(address, meta)?;
        Some(self.entries.read(bucket * tags::LANES + lane))
    }

    /// Enters an endpoint, or lets one that is there stand for something else in one store.
    ///
    /// # Errors
    /// [`EndpointError::Full`]; nothing has changed then.
    pub fn insert(&mut self, endpoint: Endpoint) -> Result<(), EndpointError> {
        #[cfg(test)]
        self.faults
            .step("enter an endpoint")
            .map_err(|_| EndpointError::Full)?;
        if let Some((bucket, lane)) = self.find(endpoint.address, endpoint.meta) {
            crate::crash::point();
            let target = u64::from(endpoint.kind) | (u64::from(endpoint.id) << 32);
            let word = self.entries.word(
                bucket * tags::LANES + lane,
                std::mem::offset_of!(Endpoint, kind),
            );
            word.store(u64::from_ne_bytes(target.to_le_bytes()), Ordering::Release);
            return Ok(());
        }
        let (buckets, tag) = self.place(endpoint.address, endpoint.meta);
        let free = buckets.map(|bucket| self.free_lanes(bucket));
        // Home while it has two places, so that few look-ups go on to a second bucket; then the
        // emptier, or else some endpoint finds both full in a table that is a quarter full.
        let home_first = free[0].len() >= 2 || free[0].len() >= free[1].len();
        let side = usize::from(!home_first);
        let Some(lane) = free[side].first() else {
            return Err(EndpointError::Full);
        };
        let bucket = buckets[side];
        crate::crash::point();
        self.entries.write(bucket * tags::LANES + lane, endpoint);
        if bucket != buckets[0] {
            // First, so that the entry is never there and not to be found.
            let home = self.tags.word(buckets[0], 0);
            home.fetch_or(tags::OVERFLOWED, Ordering::Release);
        }
        crate::crash::point();
        let word = tags::with(self.word(bucket), *lane, tag);
        self.tags.word(bucket, 0).store(word, Ordering::Release);
        Ok(())
    }

    /// Places of a bucket that hold nothing, and that nobody may still be reading.
    fn free_lanes(&self, bucket: usize) -> Vec<usize> {
        let word = self.word(bucket);
        let free =
            |lane: &usize| tags::get(word, *lane) == 0 && !self.freed.contains(&(bucket, *lane));
        (0..tags::LANES).filter(free).collect()
    }

    /// Removes an endpoint. Its place stays unused until [`settle`](Self::settle).
    pub fn remove(&mut self, address: WireAddress, meta: u64) {
        if let Some((bucket, lane)) = self.find(address, meta) {
            crate::crash::point();
            let word = self.word(bucket);
            self.tags
                .word(bucket, 0)
                .store(tags::with(word, lane, 0), Ordering::Release);
            self.freed.push((bucket, lane));
        }
    }

    /// Frees the places of removed endpoints: a grace period has passed since their removal.
    pub fn settle(&mut self) {
        self.freed.clear();
    }

    /// Every entry.
    pub fn iter(&self) -> impl Iterator<Item = Endpoint> + '_ {
        (0..self.tags.len()).flat_map(move |bucket| {
            let word = self.word(bucket);
            (0..tags::LANES)
                .filter(move |lane| tags::get(word, *lane) != 0)
                .map(move |lane| self.entries.read(bucket * tags::LANES + lane))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use splitter_ebpf::abi::EndpointKind;
    use splitter_ebpf::wire::{Family, TCP, WirePort};

    fn endpoint(port: u16, id: u32) -> Endpoint {
        Endpoint {
            address: WireAddress::v4(7),
            meta: Endpoint::meta_of(WirePort::new(port), TCP, Family::V4),
            kind: EndpointKind::Listener as u32,
            id,
        }
    }

    #[test]
    fn neighbouring_endpoints_find_room_in_a_table_as_full_as_its_layout_allows() {
        const BUCKETS: usize = 8192;
        for secret in 0..16 {
            let seed = splitter_ebpf::hash::derive(&[secret; 32], "endpoint", "");
            let tags = Mapping::private(BUCKETS).expect("memory");
            let entries = Mapping::private(BUCKETS * tags::LANES).expect("memory");
            let mut table = EndpointTable::new(tags, entries, seed);
            for number in 0..BUCKETS {
                let [high, low] = u16::try_from(number).expect("few").to_be_bytes();
                // Half of each family: 16 ports at each of 256 neighbours.
                let (address, family) = if high & 1 == 0 {
                    (std::net::Ipv4Addr::new(10, 0, 0, low).into(), Family::V4)
                } else {
                    let host = low.into();
                    (
                        std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host).into(),
                        Family::V6,
                    )
                };
                let meta = Endpoint::meta_of(WirePort::new(8000 + u16::from(high)), TCP, family);
                let endpoint = Endpoint {
                    address,
                    meta,
                    kind: EndpointKind::Backend as u32,
                    id: 1,
                };
                table
                    .insert(endpoint)
                    .unwrap_or_else(|error| panic!("secret {secret}, {number} in it: {error}"));
            }
        }
    }

    fn table(buckets: usize) -> EndpointTable {
        let tags = Mapping::private(buckets).expect("memory");
        let entries = Mapping::private(buckets * tags::LANES).expect("memory");
        let seed = [0x2545_f491_4f6c_dd1d, 0xd134_2543_de82_ef95];
        EndpointTable::new(tags, entries, seed)
    }

    #[test]
    fn what_was_entered_is_found_until_it_is_removed() {
        let mut table = table(256);
        for port in 1..=200 {
            table.insert(endpoint(port, port.into())).expect("room");
        }
        assert_eq!(table.iter().count(), 200);
        for port in 1..=200 {
            let e = endpoint(port, port.into());
            assert_eq!(table.get(e.address, e.meta), Some(e));
            table.remove(e.address, e.meta);
            assert_eq!(table.get(e.address, e.meta), None);
        }
    }

    #[test]
    fn an_endpoint_that_is_there_changes_what_it_stands_for() {
        let mut table = table(4);
        table.insert(endpoint(80, 1)).expect("room");
        table.insert(endpoint(80, 9)).expect("room");
        assert_eq!(table.iter().count(), 1);
        let e = endpoint(80, 9);
        assert_eq!(table.get(e.address, e.meta), Some(e));
    }

    #[test]
    fn a_freed_place_waits_for_a_grace_period_and_a_full_table_refuses() {
        let mut table = table(2);
        let entered = (1..=50)
            .filter(|port| table.insert(endpoint(*port, 1)).is_ok())
            .count();
        assert_eq!(entered, 8, "two buckets of four");
        let e = table.iter().next().expect("an entry");
        table.remove(e.address, e.meta);
        assert_eq!(table.insert(e), Err(EndpointError::Full));
        table.settle();
        assert_eq!(table.insert(e), Ok(()));
    }
}

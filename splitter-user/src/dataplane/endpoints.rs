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
        }
    }

    /// The two buckets of an endpoint, and its tag.
    fn place(&self, address: WireAddress, meta: u64) -> ([usize; 2], u64) {
        let hash = endpoint_hash(self.seed, address, meta);
        let buckets = [
            endpoint_home(hash, self.mask),
            endpoint_overflow(self.seed, hash, self.mask),
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
        if let Some((bucket, lane)) = self.find(endpoint.address, endpoint.meta) {
            let target = u64::from(endpoint.kind) | (u64::from(endpoint.id) << 32);
            let word = self.entries.word(
                bucket * tags::LANES + lane,
                std::mem::offset_of!(Endpoint, kind),
            );
            word.store(u64::from_ne_bytes(target.to_le_bytes()), Ordering::Release);
            return Ok(());
        }
        let (buckets, tag) = self.place(endpoint.address, endpoint.meta);
        for (attempt, bucket) in buckets.into_iter().enumerate() {
            let word = self.word(bucket);
            let free = (0..tags::LANES)
                .find(|lane| tags::get(word, *lane) == 0 && !self.freed.contains(&(bucket, *lane)));
            if let Some(lane) = free {
                self.entries.write(bucket * tags::LANES + lane, endpoint);
                if attempt == 1 {
                    // First, so that the entry is never there and not to be found.
                    self.tags
                        .word(buckets[0], 0)
                        .fetch_or(tags::OVERFLOWED, Ordering::Release);
                }
                self.tags
                    .word(bucket, 0)
                    .store(tags::with(word, lane, tag), Ordering::Release);
                return Ok(());
            }
        }
        Err(EndpointError::Full)
    }

    /// Removes an endpoint. Its place stays unused until [`settle`](Self::settle).
    pub fn remove(&mut self, address: WireAddress, meta: u64) {
        if let Some((bucket, lane)) = self.find(address, meta) {
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

    fn table(buckets: usize) -> EndpointTable {
        seeded(buckets, [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344])
    }

    fn seeded(buckets: usize, seed: Key) -> EndpointTable {
        let tags = Mapping::private(buckets).expect("memory");
        let entries = Mapping::private(buckets * tags::LANES).expect("memory");
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
    fn rows_of_neighbouring_addresses_find_room_under_every_secret() {
        let keys = |n: u64| splitter_ebpf::hash::derive(&[7; 32], "endpoint", &n.to_string());
        for round in 0..200 {
            let mut table = seeded(4096, keys(round));
            for third in 0..4_u8 {
                for last in 0..250_u8 {
                    let address = std::net::Ipv4Addr::new(198, 18, third, last);
                    let entry = Endpoint {
                        address: WireAddress::from(address),
                        meta: Endpoint::meta_of(WirePort::new(80), TCP, Family::V4),
                        kind: EndpointKind::Backend as u32,
                        id: 1,
                    };
                    table.insert(entry).expect("a sixteenth full");
                }
            }
            assert_eq!(table.iter().count(), 1000);
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

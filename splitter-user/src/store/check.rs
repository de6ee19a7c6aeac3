//! Checksums of rows. SQLite notices a damaged tree, but not a flipped bit inside a value; these do.

use super::record::{AnchorRecord, IdRecord, ServiceRecord};

/// A 64-bit sum of a sequence of fields. Every step can be undone, so any one changed word changes the sum.
pub(super) struct Sum(u64);

impl Sum {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    pub(super) fn new(kind: &str) -> Self {
        Self(0).text(kind)
    }

    pub(super) fn number(self, number: u64) -> Self {
        let mixed = (self.0 ^ number).wrapping_mul(Self::FACTOR);
        Self(mixed ^ (mixed >> 32))
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let mut sum = self.number(bytes.len().try_into().unwrap_or(u64::MAX));
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            sum = sum.number(u64::from_le_bytes(
                word.try_into().expect("a chunk of 8 bytes is 8 bytes long"),
            ));
        }
        let mut last = [0_u8; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        sum.number(u64::from_le_bytes(last))
    }

    pub(super) fn finish(self) -> i64 {
        self.0.cast_signed()
    }
}

pub(super) fn meta(key: &str, value: &str) -> i64 {
    Sum::new("meta").text(key).text(value).finish()
}

pub(super) fn split(slots: &[u8]) -> i64 {
    Sum::new("split").bytes(slots).finish()
}

pub(super) fn id(record: &IdRecord) -> i64 {
    Sum::new("id")
        .text(&record.kind)
        .number(record.id.into())
        .text(&record.key_json)
        .text(&record.state)
        .finish()
}

/// Covers the split by way of its sum, and the number of anchors.
pub(super) fn service(record: &ServiceRecord, split: i64) -> i64 {
    Sum::new("service")
        .text(&record.name)
        .number(record.generation)
        .number(record.data_plane_id.into())
        .text(&record.spec_json)
        .text(&record.state_json)
        .number(record.current_index.into())
        .number(split.cast_unsigned())
        .number(record.anchors.len().try_into().unwrap_or(u64::MAX))
        .finish()
}

pub(super) fn anchor(service: &str, record: &AnchorRecord, split: i64) -> i64 {
    Sum::new("anchor")
        .text(service)
        .number(record.generation)
        .number(record.index.into())
        .text(&record.state_json)
        .number(split.cast_unsigned())
        .finish()
}

pub(super) fn pending(sequence: u64, selector_before: u64, selector_after: u64, body: &str) -> i64 {
    Sum::new("pending")
        .number(sequence)
        .number(selector_before)
        .number(selector_after)
        .text(body)
        .finish()
}

pub(super) fn committed(sequence: u64) -> i64 {
    Sum::new("committed").number(sequence).finish()
}

//! A short name for a split, the same wherever the same clients meet the same tracks.

use super::split::Slots;

/// 16 hexadecimal digits for a table whose tracks have these names, by number.
///
/// Numbers do not matter, only which name owns which slot. It is FNV-1a, 64 bits, over the names
/// of the tracks that own slots, sorted, each with a zero byte behind it, and then over each slot's
/// place in that list, and then over what else decides, each part with a zero byte behind it: good
/// enough to tell splits apart, and no protection against an adversary.
pub fn digest(slots: &Slots, names: &[(u8, &str)], beside: &[String]) -> String {
    let counts = slots.counts();
    let name_of = |number: usize| {
        let named = names
            .iter()
            .find(|(track, _)| usize::from(*track) == number);
        match named {
            Some((_, name)) => (*name).to_owned(),
            None => format!("#{number}"),
        }
    };
    let mut owners: Vec<(String, usize)> = (0..counts.len())
        .filter(|number| counts[*number] > 0)
        .map(|number| (name_of(number), number))
        .collect();
    owners.sort_unstable();
    let mut hash = Fnv::default();
    let mut places = [0_u8; 256];
    for (place, (name, number)) in (0_u8..).zip(&owners) {
        places[*number] = place;
        name.bytes().for_each(|byte| hash.add(byte));
        hash.add(0);
    }
    for track in slots.as_bytes() {
        hash.add(places[usize::from(*track)]);
    }
    for part in beside {
        part.bytes().for_each(|byte| hash.add(byte));
        hash.add(0);
    }
    format!("{:016x}", hash.0)
}

/// FNV-1a with 64 bits (draft-eastlake-fnv).
pub(super) struct Fnv(pub(super) u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(super) fn add(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "test code")]

    use super::super::split::{SLOTS, Slots};
    use super::{Fnv, digest};

    fn table(first: u8, second: u8) -> Slots {
        let mut bytes = vec![first; SLOTS];
        bytes[SLOTS / 2..].fill(second);
        Slots::from_bytes(&bytes).unwrap()
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        let mut hash = Fnv::default();
        "foobar".bytes().for_each(|byte| hash.add(byte));
        assert_eq!(hash.0, 0x8594_4171_f739_67e8);
    }

    #[test]
    fn numbers_do_not_matter_names_do() {
        let one = digest(&table(0, 1), &[(0, "blue"), (1, "green")], &[]);
        assert_eq!(one.len(), 16);
        assert_eq!(one, digest(&table(5, 2), &[(2, "green"), (5, "blue")], &[]));
        assert_ne!(one, digest(&table(1, 0), &[(0, "blue"), (1, "green")], &[]));
        assert_ne!(
            one,
            digest(&table(0, 1), &[(0, "blue"), (1, "canary")], &[])
        );
    }

    #[test]
    fn a_track_without_slots_does_not_matter() {
        let names = [(0, "blue"), (1, "green"), (2, "canary")];
        let two = digest(&table(0, 1), &names[..2], &[]);
        assert_eq!(two, digest(&table(0, 1), &names, &[]));
    }

    #[test]
    fn what_else_decides_matters_and_so_does_its_order() {
        let names = [(0, "blue"), (1, "green")];
        let with = |beside: &[&str]| {
            let beside: Vec<String> = beside.iter().map(|part| (*part).to_owned()).collect();
            digest(&table(0, 1), &names, &beside)
        };
        let all = [
            with(&[]),
            with(&["a"]),
            with(&["a", "b"]),
            with(&["b", "a"]),
            with(&["ab"]),
        ];
        let different: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len(), "{all:?}");
    }

    #[test]
    fn the_digest_never_changes() {
        let names = [(0, "blue"), (1, "green")];
        assert_eq!(digest(&table(0, 1), &names, &[]), "c748269e93640eca");
    }
}

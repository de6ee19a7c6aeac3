//! The canonical table, and the way from one table to the next.

use super::{SLOTS, Slots};

/// Turns the canonical table into the one that moves the fewest slots of the table before.
pub(super) fn rearrange(before: &Slots, mut slots: Slots, targets: &[(&str, u8, u32)]) -> Slots {
    // Where both tables agree the slot stays. What the canonical table gives a track beyond that is
    // the room it has among the other slots.
    let mut room = [0_u32; 256];
    let mut open = Pile::new();
    for slot in scattered() {
        let differs = before.owner(slot) != slots.owner(slot);
        room[usize::from(slots.owner(slot))] += u32::from(differs);
        open.push_if(differs, slot);
    }
    let mut take = |track: u8| {
        let left = &mut room[usize::from(track)];
        let takes = *left > 0;
        *left -= u32::from(takes);
        takes
    };
    // Keep what may be kept; hand out the rest as the canonical table says, and what then is left
    // to whoever still lacks some.
    open.retain(|slot| {
        let keeps = take(before.owner(slot));
        let owner = if keeps {
            before.owner(slot)
        } else {
            slots.owner(slot)
        };
        slots.give(slot, owner);
        !keeps
    });
    open.retain(|slot| !take(slots.owner(slot)));
    let lacking = targets
        .iter()
        .flat_map(|(_, track, _)| (0..room[usize::from(*track)]).map(|_| *track));
    for (slot, track) in open.slots().zip(lacking) {
        slots.give(slot, track);
    }
    slots
}

/// Slots in order. Neither method branches: which slots differ is a coin toss to the processor.
struct Pile {
    slots: Box<[u16]>,
    len: usize,
}

impl Pile {
    fn new() -> Self {
        Self {
            slots: vec![0; SLOTS + 1].into_boxed_slice(),
            len: 0,
        }
    }

    fn push_if(&mut self, condition: bool, slot: u16) {
        self.slots[self.len] = slot;
        self.len += usize::from(condition);
    }

    fn retain(&mut self, mut stays: impl FnMut(u16) -> bool) {
        let mut len = 0;
        for index in 0..self.len {
            let slot = self.slots[index];
            self.slots[len] = slot;
            len += usize::from(stays(slot));
        }
        self.len = len;
    }

    fn slots(&self) -> impl Iterator<Item = u16> {
        self.slots[..self.len].iter().copied()
    }
}

/// All slots in the fixed order of the canonical table.
pub(super) fn scattered() -> impl Iterator<Item = u16> {
    (0..=u16::MAX).map(scatter)
}

/// A fixed permutation of the 16-bit numbers that puts neighbours far apart. Each step can be
/// undone: a shift-and-xor to the right, and a multiplication by an odd number modulo 65,536. The
/// two factors were drawn once and never change: journals and digests depend on them.
pub(super) const fn scatter(rank: u16) -> u16 {
    let mut x = rank;
    x ^= x >> 7;
    x = x.wrapping_mul(0x9E37);
    x ^= x >> 9;
    x = x.wrapping_mul(0x6A35);
    x ^ (x >> 8)
}

impl Slots {
    /// Stretches of the scattered order, by name.
    pub(super) fn canonical(targets: &[(&str, u8, u32)]) -> Self {
        let mut slots = Self(Box::new([0; SLOTS]));
        let owners = targets
            .iter()
            .flat_map(|(_, track, count)| (0..*count).map(|_| *track));
        for (slot, owner) in scattered().zip(owners) {
            slots.give(slot, owner);
        }
        slots
    }

    fn give(&mut self, slot: u16, track: u8) {
        self.0[usize::from(slot)] = track;
    }
}

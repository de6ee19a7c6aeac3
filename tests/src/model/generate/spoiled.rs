//! Frames with something wrong.

use rand::Rng as _;

use super::super::packet::{ETHERNET, number};
use super::Generator;

impl Generator {
    /// Now and then something is wrong with the frame.
    pub(super) fn spoil(&mut self, frame: &mut Vec<u8>) {
        let v6 = number(frame, 12) == 0x86dd;
        let l4 = ETHERNET + if v6 { 40 } else { 20 };
        let length_at = ETHERNET + if v6 { 4 } else { 2 };
        match self.rng.random_range(0..300) {
            // Any bytes behind the addresses of Ethernet.
            0..10 => {
                for _ in 0..self.rng.random_range(1..=3) {
                    let at = self.rng.random_range(12..frame.len());
                    frame[at] = self.rng.random();
                }
            }
            // A bit.
            10..20 => {
                let at = self.rng.random_range(12..frame.len());
                frame[at] ^= 1 << self.rng.random_range(0..8);
            }
            // Cut short.
            20..28 => frame.truncate(self.rng.random_range(14..=frame.len())),
            // A length of IP that is a little off, or nonsense.
            28..36 => {
                let right = u16::from_be_bytes([frame[length_at], frame[length_at + 1]]);
                let off = self.rng.random_range(0..64) - 32;
                let wrong = self.one(&[right.wrapping_add_signed(off), 0, 0xffff, 19, 20, 28, 40]);
                frame[length_at..length_at + 2].copy_from_slice(&wrong.to_be_bytes());
            }
            // The first bytes of the transport: ports, and UDP's length.
            36..40 if frame.len() > l4 + 8 => {
                frame[l4 + self.rng.random_range(0..8)] = self.rng.random();
            }
            // TCP's data offset.
            40..46 if frame.len() > l4 + 12 => frame[l4 + 12] = self.rng.random(),
            // Options, fragments.
            46..50 if !v6 => frame[ETHERNET] = self.one(&[0x44, 0x46, 0x4f, 0x55, 0x05, 0x65]),
            50..56 if !v6 => {
                let fragment = self.one(&[0x2000_u16, 0x0001, 0x1fff, 0x8000, 0x6000]);
                frame[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&fragment.to_be_bytes());
            }
            // Tags, priorities and all.
            56..70 => {
                let mut tags = vec![0x81, 0, self.one(&[0, 0, 0, 0x60]), self.one(&[7, 9])];
                if self.chance(200) {
                    tags[0..2].copy_from_slice(&[0x88, 0xa8]);
                }
                if self.chance(200) {
                    tags.splice(0..0, [0x88, 0xa8, 0, 9]);
                }
                frame.splice(12..12, tags);
            }
            // A checksum of zeros or ones.
            70..76 if frame.len() >= l4 + 20 => {
                let at = self.one(&[l4 + 6, l4 + 16, ETHERNET + 10]);
                let sum = self.one(&[0, 0xff]);
                frame[at..at + 2].copy_from_slice(&[sum, sum]);
            }
            _ => {}
        }
        // Some are padded to Ethernet's least length, or further.
        if self.chance(100) {
            frame.resize(frame.len().max(60) + self.rng.random_range(0..3), 0);
        }
    }
}

//! Packets in fragments.

use rand::Rng as _;

use super::super::Model;
use super::Generator;
use super::wrapping::{Fragment, Wrapping};

/// Fragments that wait to come.
const WAITING: usize = 24;

impl Generator {
    /// A fragment: of a packet that was cut before, or of a new one; in order or not, once or twice.
    pub(super) fn piece(&mut self, model: &Model) -> Vec<u8> {
        if self.pieces.is_empty() || self.chance(300) {
            self.cut(model);
        }
        let any = self.rng.random_range(0..self.pieces.len());
        let at = if self.chance(650) { 0 } else { any };
        if self.chance(100) {
            return self.pieces[at].clone();
        }
        self.pieces.remove(at)
    }

    /// Cuts a packet into fragments. Few identifications are in use, so that many are met again.
    fn cut(&mut self, model: &Model) {
        let mut draft = self.any(model);
        draft.data = self.one(&[24, 60, 100, 333, 1000, 1400]);
        let (l4, v6) = (self.l4(&draft), draft.from.is_ipv6());
        let id = self.one(&[0, 1, 2, 3, 0x0103, 0x0001_0003, u32::MAX]);
        let mut wrapping = Wrapping::default();
        if self.chance(150) {
            wrapping = self.wrapping(v6);
        }
        let step = self.one(&[24, 40, 64, 160, 480, 8, 36]);
        let mut start = 0;
        let mut all = Vec::new();
        while start < l4.len() && all.len() < 4 {
            let end = (start + step).min(l4.len());
            let mut offset = start;
            // Into the one before it, or beyond what a packet can have.
            if self.chance(30) {
                offset = self.one(&[start.saturating_sub(8), start + 8, 65_528, 8, 16]);
            }
            wrapping.fragment = Some(Fragment {
                offset: u16::try_from(offset).expect("small"),
                more: end < l4.len(),
                id,
            });
            all.push(self.frame(&draft, &wrapping, &l4[start..end]));
            // What follows the header of fragments is data in the others.
            wrapping.behind.clear();
            start = end;
        }
        self.pieces.splice(0..0, all);
        self.pieces.truncate(WAITING);
    }
}

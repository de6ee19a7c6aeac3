//! What may stand between the headers of IP and what they carry.

use rand::Rng as _;

use super::Generator;

/// Options, extension headers, and whether the packet is a fragment.
#[derive(Debug, Clone, Default)]
pub(super) struct Wrapping {
    /// IPv4's, of whole words.
    pub(super) options: Vec<u8>,
    /// IPv6's before the one of fragments: the number of each and its content, but for what follows it.
    pub(super) before: Vec<(u8, Vec<u8>)>,
    pub(super) fragment: Option<Fragment>,
    /// IPv6's behind that.
    pub(super) behind: Vec<(u8, Vec<u8>)>,
}

/// Which part of its packet a fragment is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment {
    pub(super) offset: u16,
    pub(super) more: bool,
    pub(super) id: u32,
}

impl Fragment {
    /// As IPv4 has it.
    pub(super) const fn place_v4(self) -> u16 {
        (self.offset / 8) | if self.more { 0x2000 } else { 0 }
    }

    fn header_v6(self) -> Vec<u8> {
        let place = (self.offset & 0xfff8) | u16::from(self.more);
        let mut header = vec![0, 0];
        header.extend(place.to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header
    }
}

impl Wrapping {
    /// The number of the first header behind IPv6's own, and all of them, before what `last` is the
    /// number of.
    pub(super) fn chain(&self, last: u8) -> (u8, Vec<u8>) {
        let mut headers = self.before.clone();
        headers.extend(self.fragment.map(|cut| (44, cut.header_v6())));
        headers.extend(self.behind.iter().cloned());
        let (mut next, mut chain) = (last, Vec::new());
        for (number, mut content) in headers.into_iter().rev() {
            content[0] = next;
            chain.splice(0..0, content);
            next = number;
        }
        (next, chain)
    }
}

impl Generator {
    /// Some of a family's.
    pub(super) fn wrapping(&mut self, v6: bool) -> Wrapping {
        let mut wrapping = Wrapping::default();
        if !v6 {
            wrapping.options = self.options();
            return wrapping;
        }
        wrapping.before = self.headers();
        // Not cut at all (RFC 6946), or anything.
        if self.chance(250) {
            let offset = self.one(&[0, 0, 0, 8, 0xfff8]);
            wrapping.fragment = Some(Fragment {
                offset,
                more: self.chance(150),
                id: self.rng.random_range(0..8),
            });
            if self.chance(400) {
                wrapping.behind = self.headers();
            }
        }
        wrapping
    }

    /// A list of IPv4 options: no operation, router alert, record of routes, timestamps, stream, source
    /// routes now and then, and what does not end where it says.
    fn options(&mut self) -> Vec<u8> {
        let mut list = Vec::new();
        for _ in 0..self.rng.random_range(1..=3) {
            let option: &[u8] = match self.rng.random_range(0..24) {
                0..6 => &[1],
                6..11 => &[148, 4, 0, 0],
                11..14 => &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0],
                14..17 => &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                17..19 => &[136, 4, 0, 1],
                19 => &[131, 7, 4, 198, 18, 0, 1],
                20 => &[137, 7, 4, 198, 18, 0, 1],
                21 => &[0, 131, 1],
                22 => &[130, 1],
                _ => &[7, 39],
            };
            list.extend(option);
        }
        let end = self.one(&[0, 1, 0, 7]);
        list.resize(list.len().next_multiple_of(4).min(40), end);
        list
    }

    /// Extension headers: options, routes, and now and then such as are not carried, or too many.
    fn headers(&mut self) -> Vec<(u8, Vec<u8>)> {
        let count = self.one(&[1, 1, 1, 2, 2, 3, 4, 5, 6, 7]);
        let mut headers = Vec::new();
        for place in 0..count {
            let number = match self.rng.random_range(0..40) {
                0..12 if place == 0 => 0,
                12..20 => 43,
                20 => self.one(&[51, 135, 139, 140]),
                21 => self.one(&[0, 44, 59]),
                _ => 60,
            };
            let units = self.one(&[1, 1, 1, 2, 3]);
            let mut content = vec![0; units * 8];
            content[1] = u8::try_from(units - 1).expect("few");
            match number {
                // Of type 4, without segments left but now and then.
                43 => content[2..4].copy_from_slice(&[4, u8::from(self.chance(60))]),
                44 => content.truncate(8),
                // Padding.
                _ => {
                    let padding = content[1].wrapping_mul(8) + 4;
                    content[2..4].copy_from_slice(&[1, padding]);
                }
            }
            if self.chance(15) {
                content[1] = self.one(&[9, 200, 255]);
            }
            headers.push((number, content));
        }
        headers
    }
}

use super::{PAIRS, Selector, assert_layout};
use crate::wire::{Family, WireAddress, WirePort};

/// What an endpoint stands for.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndpointKind {
    /// A listener; the id is its index in the listeners.
    Listener = 1,
    /// A backend as the source of replies; the id is its index in the replies.
    Backend = 2,
    /// A VIP as a whole (port and protocol 0), for echo requests and what has no ports; id 0.
    Vip = 3,
    /// A backend's address as a whole (port and protocol 0), for fragments and other packets of it that
    /// do not show their ports at once; id 0.
    Address = 4,
    /// As [`EndpointKind::Backend`], and some of what it sends goes to addresses of this host that stand
    /// for clients ([`Mode::FullNat`](super::Mode::FullNat)).
    Translated = 5,
}

/// One entry of the endpoint table.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub address: WireAddress,
    /// Port, protocol and family, as [`Endpoint::meta_of`] packs them. 0: no entry.
    pub meta: u64,
    /// An [`EndpointKind`] as its number.
    pub kind: u32,
    /// What the kind says.
    pub id: u32,
}
assert_layout!(Endpoint, 32, address: 0, meta: 16, kind: 24, id: 28);

impl Endpoint {
    /// Port (wire order), protocol and family in one word, never 0.
    #[must_use]
    #[inline(always)]
    pub const fn meta_of(port: WirePort, protocol: u8, family: Family) -> u64 {
        port.0 as u64 | ((protocol as u64) << 16) | ((family as u64) << 24)
    }
}

/// Which service owns a listener, before and from a certain flip on: one aligned word, so that a
/// listener comes, goes or changes its service in the very flip that changes the splits.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Binding(pub u64);

impl Binding {
    /// `before` until the flip numbered `at` (lower 32 bits), `after` from then on. 0 is "no service".
    #[must_use]
    pub const fn new(before: u16, after: u16, at: u32) -> Self {
        Self(before as u64 | ((after as u64) << 16) | ((at as u64) << 32))
    }

    /// The owner under `selector`. Flips are compared with wrapping arithmetic: a binding must be
    /// settled ([`Binding::new`] with both sides equal) within 2^31 flips.
    #[must_use]
    #[inline(always)]
    pub const fn service(self, selector: Selector) -> u16 {
        let reached = (selector.short().wrapping_sub((self.0 >> 32) as u32) as i32) >= 0;
        if reached {
            ((self.0 >> 16) & 0xffff) as u16
        } else {
            (self.0 & 0xffff) as u16
        }
    }
}

/// A listener.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// The VIP.
    pub address: WireAddress,
    /// Its service, a [`Binding`].
    pub binding: u64,
    /// The port.
    pub port: WirePort,
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
    /// Always 0.
    pub reserved: u32,
}
assert_layout!(Listener, 32, address: 0, binding: 16, port: 24, protocol: 26, family: 27, reserved: 28);

/// A listener and the backend that may answer for it: the listener's id in the upper half, the
/// backend's in the lower. 0: none.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pair(pub u32);

impl Pair {
    /// A pair.
    #[must_use]
    pub const fn new(listener: u16, backend: u16) -> Self {
        Self(((listener as u32) << 16) | backend as u32)
    }

    /// The listener's id.
    #[must_use]
    #[inline(always)]
    pub const fn listener(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The backend's id.
    #[must_use]
    #[inline(always)]
    pub const fn backend(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

/// What one backend endpoint may answer for; unused pairs are 0 and come last.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reply {
    /// Pairs.
    pub pairs: [Pair; PAIRS],
}
assert_layout!(Reply, 16, pairs: 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_changes_its_owner_at_its_flip_across_the_wrap() {
        for at in [5_u64, 1 << 32, (1 << 32) - 1, 7 << 32] {
            let binding = Binding::new(3, 9, Selector::new(at, 0).short());
            assert_eq!(binding.service(Selector::new(at - 1, 7)), 3);
            assert_eq!(binding.service(Selector::new(at, 1)), 9);
            assert_eq!(binding.service(Selector::new(at + 1000, 1)), 9);
        }
    }
}

//! What global functions give back: one word.

use splitter_ebpf::abi::{Hop, Path};
use splitter_ebpf::verdict::{Action, Reason};

/// A verdict, and what its action needs to know.
///
/// ```text
///   63            32 31     16 15      8 7       0
///  +----------------+---------+---------+---------+
///  |    detail      | vlan/by |  spread | reason  |
///  +----------------+---------+---------+---------+
/// ```
#[derive(Clone, Copy)]
pub struct Outcome(pub u64);

impl Outcome {
    /// A verdict that sends nothing.
    #[inline(always)]
    pub const fn of(reason: Reason) -> Self {
        Self(reason as u64)
    }

    /// A verdict that sends the frame, already addressed to its next hop.
    #[inline(always)]
    pub const fn to(reason: Reason, hop: &Hop, path: Path) -> Self {
        Self::sent(reason as u8, hop, path)
    }

    /// A verdict whose sender is told `detail`: the most bytes that a packet may have, of
    /// [`Reason::TooBig`].
    #[inline(always)]
    pub const fn told(reason: Reason, detail: u32) -> Self {
        Self(reason as u64 | ((detail as u64) << 32))
    }

    /// The same verdict, told by the VIP of the listener `id`, not by whom the packet was sent to. Only
    /// for verdicts that send nothing.
    #[inline(always)]
    pub const fn by(self, id: u16) -> Self {
        Self(self.0 | ((id as u64) << 16))
    }

    /// The verdict on a client's packet that becomes the RST for its `backend`, which answers by itself;
    /// the flow's packets are spread by `spread`. The highest bit of an outcome marks steps of
    /// [`unusual`](super::unusual), so that of `spread` has a place of its own.
    #[inline(always)]
    pub const fn onward(backend: u16, spread: u32) -> Self {
        let high = (spread >> 31) as u64;
        let told = Self::told(Reason::FlowCutOnward, spread & (u32::MAX >> 1));
        Self(told.0 | (high << 8)).by(backend)
    }

    /// What the flow's packets are spread by, of [`onward`](Self::onward).
    #[inline(always)]
    pub const fn spread(self) -> u32 {
        self.detail() | (((self.0 >> 8) as u32 & 1) << 31)
    }

    /// The listener whose VIP tells the sender; 0: whom the packet was sent to.
    #[inline(always)]
    pub const fn told_by(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// A verdict that sends the frame, by the number of its reason.
    #[inline(always)]
    pub const fn sent(reason: u8, hop: &Hop, path: Path) -> Self {
        Self(reason as u64 | ((path.vlan as u64) << 16) | ((hop.ifindex as u64) << 32))
    }

    /// The reason's number.
    #[inline(always)]
    pub const fn reason(self) -> u8 {
        self.0 as u8
    }

    /// The tag to leave with, as [`Path::vlan`].
    #[inline(always)]
    pub const fn vlan(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The interface to leave by, or what the sender is told.
    #[inline(always)]
    pub const fn detail(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Whether the reason's action is `action`.
    #[inline(always)]
    pub const fn is(self, action: Action) -> bool {
        (action.reasons() >> (self.reason() & 63)) & 1 == 1
    }
}

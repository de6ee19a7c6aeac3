use super::super::outcome::Outcome;
use splitter_ebpf::verdict::Reason;

/// What a step gives back: the number of the next one, or an [`Outcome`] as it is.
#[derive(Clone, Copy)]
pub struct Step(pub u64);

impl Step {
    /// Set in the numbers of steps; outcomes do not reach up to here, for interfaces have 31 bits.
    const NEXT: u64 = 1 << 63;

    pub const WALK: Self = Self(Self::NEXT | 15);
    pub const SORT: Self = Self(Self::NEXT | 16);
    pub const CARRY: Self = Self(Self::NEXT | 1);
    pub const FIND: Self = Self(Self::NEXT | 2);
    pub const BEGIN: Self = Self(Self::NEXT | 3);
    pub const MEET: Self = Self(Self::NEXT | 4);
    pub const FOLLOW: Self = Self(Self::NEXT | 5);
    pub const QUOTED: Self = Self(Self::NEXT | 6);
    pub const ABOUT_REPLY: Self = Self(Self::NEXT | 7);
    pub const OWNER_OF_SENT: Self = Self(Self::NEXT | 8);
    pub const REPLY: Self = Self(Self::NEXT | 9);
    pub const OWNER_OF_MEANT: Self = Self(Self::NEXT | 10);
    pub const ABOUT_REQUEST: Self = Self(Self::NEXT | 11);
    pub const WAY: Self = Self(Self::NEXT | 12);
    pub const CHANGE: Self = Self(Self::NEXT | 13);
    pub const CHANGE_ERROR: Self = Self(Self::NEXT | 14);

    /// The end: a verdict that sends nothing.
    #[inline(always)]
    pub const fn end(reason: Reason) -> Self {
        Self(Outcome::of(reason).0)
    }

    /// The end: what is ours meets this verdict, and else it is nobody's.
    #[inline(always)]
    pub const fn end_if(ours: bool, reason: Reason) -> Self {
        Self::end(if ours { reason } else { Reason::Foreign })
    }

    /// Whether it is this one.
    #[inline(always)]
    pub const fn is(self, other: Self) -> bool {
        self.0 == other.0
    }

    /// The outcome, after the last one.
    #[inline(always)]
    pub const fn outcome(self) -> Outcome {
        if self.0 & Self::NEXT == 0 {
            Outcome(self.0)
        } else {
            Outcome::of(Reason::Inconsistent)
        }
    }
}

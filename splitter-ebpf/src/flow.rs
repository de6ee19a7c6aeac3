//! A flow's value word and its life.
//!
//! A flow lives in one slot of the flow table: a 64-bit key and this 64-bit value, which is claimed,
//! refreshed and freed by compare-and-exchange alone. 0 means free.
//!
//! ```text
//!   63        40 39       20 19   16 15       0
//!  +------------+-----------+-------+----------+
//!  | last seen  |    tag    | state | backend  |
//!  +------------+-----------+-------+----------+
//! ```
//!
//! States of a TCP flow (UDP has `UdpNew` and `UdpEstablished` alone):
//!
//! ```text
//!          backend answers        client goes on
//!   New ----------------> Replied --------------> Established <------------+
//!                                                      |   | payload       | payload
//!                                FIN of one side       v   |               |
//!                                        FinClient / FinBackend            |
//!                                FIN of the other side |                   |
//!                                                      v                   |
//!   any state -- RST --> Reset -- any later packet --> (Established)    Closing
//! ```
//!
//! Where the backend answers the client by itself (`dsr-l2`, `ipip`), only the client is seen. Then
//! `Replied` stands for a client that went on after its SYN; a second after that was first seen, it is
//! `Established`; and the client's FIN alone is `Closing`.
//!
//! The agent alone cuts a flow, whatever state it is in (`Cut`): from then on every packet of it is
//! answered with a RST and none is sent on. See [`Value::cut`] and [`tell`].
//!
//! A FIN of one side alone does not start the closing time: half-closed connections may be silent
//! for long (RFC 9293 section 3.6). Payload undoes `Closing`, any packet undoes `Reset`, so that
//! forged segments cannot unpin a flow that goes on. A flow that was never established returns to
//! `New`.

/// Bits of a flow's `last seen`, a wrapping count of ticks.
pub const TICK_BITS: u32 = 24;
/// Mask of [`TICK_BITS`].
pub const TICK_MASK: u32 = (1 << TICK_BITS) - 1;

/// Where a flow stands in its life. Never 0, so that no live value is 0.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// TCP: the client alone was seen.
    New = 1,
    /// TCP: the backend answered.
    Replied = 2,
    /// TCP: the backend answered and the client went on.
    Established = 3,
    /// TCP: established, the client has sent its FIN.
    FinClient = 4,
    /// TCP: established, the backend has sent its FIN.
    FinBackend = 5,
    /// TCP: both sides have sent their FIN.
    Closing = 6,
    /// TCP: one side has sent a RST on an established flow.
    Reset = 7,
    /// TCP: one side has sent a RST on a flow that was not established.
    ResetNew = 8,
    /// UDP: the client alone was seen, for less than a second.
    UdpNew = 9,
    /// UDP: the backend answered, or the client was seen over more than a second.
    UdpEstablished = 10,
    /// Not a flow but the second entry of one of mode `fullnat`: see [`Value::pointing`].
    Translated = 11,
    /// Cut by the operator, and nobody was told yet: the first of four states, which only
    /// [`tell`] leads through.
    Cut = 12,
    /// Cut: the client was told; where the backend answers by itself, the backend was told once.
    CutFirst = 13,
    /// Cut: the backend was told; where it answers by itself, it was told twice.
    CutSecond = 14,
    /// Cut: both sides were told.
    CutTold = 15,
}

impl State {
    /// All states, for tables and tests.
    pub const ALL: [Self; 15] = [
        Self::New,
        Self::Replied,
        Self::Established,
        Self::FinClient,
        Self::FinBackend,
        Self::Closing,
        Self::Reset,
        Self::ResetNew,
        Self::UdpNew,
        Self::UdpEstablished,
        Self::Translated,
        Self::Cut,
        Self::CutFirst,
        Self::CutSecond,
        Self::CutTold,
    ];

    /// The state with this number, if there is one.
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == bits)
    }

    /// Whether a full bucket may give this flow's slot to a new one. A bit test, since it runs in
    /// the packet path.
    #[must_use]
    #[inline(always)]
    pub const fn evictable_bits(bits: u8) -> bool {
        const EVICTABLE: u32 = 1 << State::New as u32
            | 1 << State::Replied as u32
            | 1 << State::Closing as u32
            | 1 << State::Reset as u32
            | 1 << State::ResetNew as u32
            | 1 << State::UdpNew as u32
            | 0xf << State::Cut as u32;
        (EVICTABLE >> (bits & 15)) & 1 == 1
    }

    /// Whether flows in this state are established: they are never evicted.
    #[must_use]
    pub const fn is_established(self) -> bool {
        !Self::evictable_bits(self as u8)
    }

    /// Whether the operator has cut the flow.
    #[must_use]
    pub const fn is_cut(self) -> bool {
        self as u8 >= Self::Cut as u8
    }
}

/// Who is told that a flow is cut, by a RST made of one packet of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The packet's own sender, whom the RST answers.
    Sender,
    /// The backend, in a client's stead: the packet becomes the RST.
    Backend,
    /// Nobody: no RST answers a RST.
    Nobody,
}

/// What a packet of a cut flow, whose state is `bits`, is used for, and the state afterwards.
///
/// Where the backend's packets come by, each sender is told by the answer to its own packets. Where they do
/// not ([`Event::one_way`]), the client's packets carry the number that the backend expects next: the first
/// two become RSTs to the backend, for one may have been made of a keep-alive, whose number is one short
/// (RFC 9293 section 3.8.4); those after them are answered. A client's RST always goes on there.
#[must_use]
#[inline(always)]
pub const fn tell(bits: u8, event: Event) -> (Told, u8) {
    const CUT: u8 = State::Cut as u8;
    const TOLD: u8 = State::CutTold as u8;
    let reset = event.flags & RST != 0;
    if event.one_way {
        if reset {
            return (Told::Backend, TOLD);
        }
        let next = if bits < TOLD { bits + 1 } else { TOLD };
        if bits < State::CutSecond as u8 {
            return (Told::Backend, next);
        }
        return (Told::Sender, next);
    }
    let side = if event.from_client { 1 } else { 2 };
    let told = if reset { Told::Nobody } else { Told::Sender };
    (told, CUT | bits | side)
}

/// TCP flag FIN (RFC 9293 section 3.1).
pub const FIN: u8 = 0x01;
/// TCP flag SYN.
pub const SYN: u8 = 0x02;
/// TCP flag RST.
pub const RST: u8 = 0x04;
/// TCP flag ACK.
pub const ACK: u8 = 0x10;

/// One packet of a flow, as far as the flow's life is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Sent by the client (else by the backend).
    pub from_client: bool,
    /// TCP flags; 0 for UDP.
    pub flags: u8,
    /// Carries data.
    pub payload: bool,
    /// The flow was first (or, once established, last) seen at least a second ago.
    pub aged: bool,
    /// Its backend answers the client by itself ([`Mode::one_way`](crate::abi::Mode::one_way)): the
    /// client alone is ever seen.
    pub one_way: bool,
}

/// The state after `event`, as bits; `bits` is a [`State`] as its number.
#[must_use]
#[inline(always)]
pub const fn advance(bits: u8, event: Event) -> u8 {
    const NEW: u8 = State::New as u8;
    const REPLIED: u8 = State::Replied as u8;
    const ESTABLISHED: u8 = State::Established as u8;
    const FIN_CLIENT: u8 = State::FinClient as u8;
    const FIN_BACKEND: u8 = State::FinBackend as u8;
    const CLOSING: u8 = State::Closing as u8;
    const RESET: u8 = State::Reset as u8;
    const RESET_NEW: u8 = State::ResetNew as u8;
    const UDP_NEW: u8 = State::UdpNew as u8;
    const UDP_ESTABLISHED: u8 = State::UdpEstablished as u8;
    const CUT: u8 = State::Cut as u8;

    // The common case first: an established flow and an ordinary segment.
    if event.flags & (FIN | RST) == 0 {
        return match bits {
            NEW if event.one_way && event.flags & SYN == 0 => REPLIED,
            REPLIED if event.one_way && !event.aged => REPLIED,
            NEW if !event.from_client => REPLIED,
            REPLIED if event.from_client && event.flags & SYN == 0 => ESTABLISHED,
            FIN_CLIENT if event.payload && event.from_client => ESTABLISHED,
            FIN_BACKEND if event.payload && !event.from_client => ESTABLISHED,
            CLOSING if event.payload => ESTABLISHED,
            RESET => ESTABLISHED,
            RESET_NEW => NEW,
            UDP_NEW if !event.from_client || event.aged => UDP_ESTABLISHED,
            _ => bits,
        };
    }
    if event.flags & RST != 0 {
        return match bits {
            NEW | REPLIED | RESET_NEW => RESET_NEW,
            CLOSING => CLOSING,
            UDP_NEW | UDP_ESTABLISHED => bits,
            // Cut while this packet was on its way.
            CUT..=u8::MAX => bits,
            _ => RESET,
        };
    }
    match (bits, event.from_client) {
        (ESTABLISHED | REPLIED | RESET | FIN_CLIENT, true) if event.one_way => CLOSING,
        (ESTABLISHED | RESET, true) | (REPLIED, true) | (FIN_CLIENT, true) => FIN_CLIENT,
        (ESTABLISHED | RESET, false) | (FIN_BACKEND, false) => FIN_BACKEND,
        // A backend that answers and closes before the client went on: not confirmed yet.
        (NEW | RESET_NEW, false) => REPLIED,
        (FIN_CLIENT, false) | (FIN_BACKEND, true) => CLOSING,
        _ => bits,
    }
}

/// A flow's value, not 0.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value(pub u64);

impl Value {
    /// A value of `backend` (1..=65,535), `state`, `tag` (20 bits) and `seen` (24 bits).
    #[must_use]
    #[inline(always)]
    pub const fn new(backend: u16, state: u8, tag: u32, seen: u32) -> Self {
        Self(
            backend as u64
                | ((state as u64 & 15) << 16)
                | ((tag as u64 & 0xf_ffff) << 20)
                | ((seen as u64 & TICK_MASK as u64) << 40),
        )
    }

    /// A second entry, which leads from what a client was translated to to its flow's `slot` (below
    /// 2^40): the slot lies where other values have their backend and their time.
    #[must_use]
    #[inline(always)]
    pub const fn pointing(slot: u64, tag: u32) -> Self {
        Self::new(
            slot as u16,
            State::Translated as u8,
            tag,
            (slot >> 16) as u32,
        )
    }

    /// The slot that a second entry leads to.
    #[must_use]
    #[inline(always)]
    pub const fn slot(self) -> u64 {
        (self.0 & 0xffff) | ((self.0 >> 40) << 16)
    }

    /// Whether this is a second entry.
    #[must_use]
    #[inline(always)]
    pub const fn is_pointing(self) -> bool {
        self.state_bits() == State::Translated as u8
    }

    /// The same flow, cut at the tick `now`. No packet changes that time: a cut flow is over when the
    /// closing time has passed, whoever still sends.
    #[must_use]
    pub const fn cut(self, now: u32) -> Self {
        Self::new(self.backend(), State::Cut as u8, self.tag(), now)
    }

    /// Whether the flow is cut: its state is one of the last four.
    #[must_use]
    #[inline(always)]
    pub const fn is_cut(self) -> bool {
        (self.0 >> 18) & 3 == 3
    }

    /// The same value in another state.
    #[must_use]
    #[inline(always)]
    pub const fn with_state(self, state: u8) -> Self {
        Self((self.0 & !(15 << 16)) | ((state as u64 & 15) << 16))
    }

    /// The backend's id.
    #[must_use]
    #[inline(always)]
    pub const fn backend(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// The state's number.
    #[must_use]
    #[inline(always)]
    pub const fn state_bits(self) -> u8 {
        ((self.0 >> 16) & 15) as u8
    }

    /// The tag: 20 bits of the key's hash that do not choose its bucket.
    #[must_use]
    #[inline(always)]
    pub const fn tag(self) -> u32 {
        ((self.0 >> 20) & 0xf_ffff) as u32
    }

    /// The tick at which the flow was last seen; of an unconfirmed flow, first seen.
    #[must_use]
    #[inline(always)]
    pub const fn seen(self) -> u32 {
        (self.0 >> 40) as u32
    }

    /// Ticks since [`seen`](Self::seen), right up to half of what [`TICK_BITS`] hold.
    ///
    /// A value that was refreshed after the caller read the clock is of age 0, not of 2^24 ticks: a
    /// scan that meets the next tick would take every flow that it sees alive for silent.
    #[must_use]
    #[inline(always)]
    pub const fn age(self, now: u32) -> u32 {
        let age = now.wrapping_sub(self.seen()) & TICK_MASK;
        // 0 if the top bit is set, without a branch.
        age & (age >> (TICK_BITS - 1)).wrapping_sub(1)
    }
}

#[cfg(test)]
mod tests;

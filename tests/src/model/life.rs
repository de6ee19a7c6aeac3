//! A flow's life, written down once more: what its next packet makes of it.

use splitter_ebpf::flow::{FIN, RST, SYN, State};

/// Who sent a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Backend,
}

/// What a packet says about its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) sender: Sender,
    pub(super) flags: u8,
    pub(super) data: bool,
    /// The flow's time is at least a second old.
    pub(super) old: bool,
    /// Its backend answers the client by itself.
    pub(super) one_way: bool,
}

/// The state after a packet.
pub(super) fn after(state: State, said: Said) -> State {
    let client = said.sender == Sender::Client;
    let [fin, syn, rst] = [FIN, SYN, RST].map(|flag| said.flags & flag != 0);
    match state {
        State::UdpNew if !client || said.old => State::UdpEstablished,
        State::UdpNew => State::UdpNew,
        State::UdpEstablished => State::UdpEstablished,
        State::Translated => unreachable!("second entries have no life of their own"),
        State::Cut | State::CutFirst | State::CutSecond | State::CutTold => {
            unreachable!("nothing leads a cut flow back")
        }
        // A reset of what was never established leaves it so; of a close under way changes nothing.
        State::New | State::Replied | State::ResetNew if rst => State::ResetNew,
        State::Closing if rst => State::Closing,
        _ if rst => State::Reset,

        State::New if said.one_way && !fin && !syn => State::Replied,
        State::New if !client => State::Replied,
        State::New => State::New,

        State::Replied if said.one_way && fin => State::Closing,
        State::Replied if said.one_way && !said.old => State::Replied,
        State::Replied if client && fin => State::FinClient,
        State::Replied if client && !syn => State::Established,
        State::Replied => State::Replied,

        State::Established | State::Reset | State::FinClient if said.one_way && fin => {
            State::Closing
        }
        State::Established | State::Reset if fin && client => State::FinClient,
        State::Established | State::Reset if fin => State::FinBackend,
        State::Established | State::Reset => State::Established,

        State::FinClient if fin && !client => State::Closing,
        State::FinClient if !fin && client && said.data => State::Established,
        State::FinClient => State::FinClient,
        State::FinBackend if fin && client => State::Closing,
        State::FinBackend if !fin && !client && said.data => State::Established,
        State::FinBackend => State::FinBackend,

        State::Closing if !fin && said.data => State::Established,
        State::Closing => State::Closing,

        State::ResetNew if fin && !client => State::Replied,
        State::ResetNew if fin => State::ResetNew,
        State::ResetNew => State::New,
    }
}

/// Whether the time of a flow in this state is that of its first packet, not of its last.
pub(super) fn unconfirmed(state: State, one_way: bool) -> bool {
    matches!(state, State::New | State::UdpNew) || (one_way && state == State::Replied)
}

/// Whether no flood takes the place of a flow in this state.
pub(super) const fn is_established(state: State) -> bool {
    matches!(
        state,
        State::Established | State::FinClient | State::FinBackend | State::UdpEstablished
    )
}

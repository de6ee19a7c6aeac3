//! What happens in a trial.

use std::net::SocketAddr;

/// What a trial does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A packet comes in.
    Packet(Vec<u8>),
    /// This service's split table of this number becomes current.
    Flip(usize, u8),
    /// Of a service's track, the backends in this set take new flows.
    Backends(usize, usize, u32),
    /// Every flow grows older by so many ticks.
    Age(u32),
    /// Where first fragments went was learned so many ticks earlier.
    AgeFragments(u32),
    /// The agent frees a flow, if it is there.
    Expire((SocketAddr, u16)),
    /// The operator has a flow cut, if it is there.
    Cut((SocketAddr, u16)),
    /// The agent frees second entries that lead nowhere.
    Sweep,
    /// Routes may have changed.
    Routes,
    /// A listener, by its place among all, is owned by nobody, or by its service again.
    Binding(usize, bool),
    /// The next hop of a backend, by its place among all, is over this interface now; 0: unknown.
    Hop(usize, u32),
}

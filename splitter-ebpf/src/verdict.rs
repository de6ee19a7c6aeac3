//! What became of a packet, and why: one list shared by the program's counters, the metrics and the
//! command line.

/// What is done with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Sent on, rewritten.
    Forward,
    /// Handed to the host's stack as it came.
    Pass,
    /// Discarded.
    Drop,
}

impl Action {
    /// As metrics and the command line write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Pass => "pass",
            Self::Drop => "drop",
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $action:ident, $name:literal;)+) => {
        /// Why a packet met its verdict. Each reason belongs to one [`Action`].
        #[repr(u8)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant = $number,)+
        }

        impl Reason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// What is done with a packet for this reason.
            #[must_use]
            #[inline(always)]
            pub const fn action(self) -> Action {
                match self {
                    $(Self::$variant => Action::$action,)+
                }
            }

            /// As metrics and the command line write it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub const fn describe(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

reasons! {
    /// A packet of a pinned flow, from the client.
    Pinned = 0, Forward, "pinned";
    /// The first packet of a flow that is now pinned.
    NewFlow = 1, Forward, "new_flow";
    /// A packet of a pinned flow, from the backend.
    Reply = 2, Forward, "reply";
    /// An echo request to a VIP, answered here.
    EchoReply = 3, Forward, "echo_reply";
    /// A new flow without a pin: both its buckets are full of established flows.
    UnpinnedTableFull = 4, Forward, "unpinned_table_full";
    /// A new flow without a pin: another CPU held the insert lock for too long.
    UnpinnedContended = 5, Forward, "unpinned_contended";
    /// A RST that belongs to no flow: sent on by the current split, not pinned.
    StrayReset = 6, Forward, "stray_reset";

    /// Neither IPv4 nor IPv6.
    NotIp = 16, Pass, "not_ip";
    /// Of no listener and of no backend.
    Foreign = 17, Pass, "foreign";
    /// From a backend, but of no flow: health checks and direct access.
    BackendDirect = 18, Pass, "backend_direct";
    /// ICMP that the host answers itself: neighbour discovery, and other messages to a VIP.
    HostIcmp = 19, Pass, "host_icmp";
    /// To a listener that no service owns at this moment.
    InactiveListener = 20, Pass, "inactive_listener";

    /// Of a listener or to a VIP, with lengths that contradict each other or the frame.
    Malformed = 32, Drop, "malformed";
    /// A fragment to a VIP; fragments are not followed yet.
    Fragment = 33, Drop, "fragment";
    /// IPv4 options on a packet to a VIP.
    Ipv4Options = 34, Drop, "ipv4_options";
    /// IPv6 extension headers on a packet to a VIP.
    Ipv6Extension = 35, Drop, "ipv6_extension";
    /// A VLAN tag on a packet to a VIP.
    VlanTag = 36, Drop, "vlan_tag";
    /// An ICMP error to a VIP; errors are not translated yet.
    IcmpError = 37, Drop, "icmp_error";
    /// TTL or hop limit at its end.
    TtlExpired = 38, Drop, "ttl_expired";
    /// A new flow, and no backend of the track may take it.
    NoBackend = 39, Drop, "no_backend";
    /// The backend's next hop is not known yet.
    NoNextHop = 40, Drop, "no_next_hop";
    /// A reply, and no way back to the client is known.
    NoReturnPath = 41, Drop, "no_return_path";
    /// From a backend to a client whose flow is pinned to another one.
    WrongBackend = 42, Drop, "wrong_backend";
    /// The client's address and port reach every candidate backend through another listener already.
    TupleConflict = 43, Drop, "tuple_conflict";
    /// A table that must hold an entry does not: a fault of the agent's.
    Inconsistent = 44, Drop, "inconsistent";
}

/// Counters a CPU keeps, one for each number a reason can have.
pub const REASONS: usize = 64;

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn reasons_have_distinct_numbers_and_names_within_the_counters() {
        let numbers: BTreeSet<u8> = Reason::ALL.iter().map(|r| *r as u8).collect();
        let names: BTreeSet<&str> = Reason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(numbers.len(), Reason::ALL.len());
        assert_eq!(names.len(), Reason::ALL.len());
        assert!(numbers.iter().all(|n| usize::from(*n) < REASONS));
        assert!(Reason::ALL.iter().all(|r| !r.describe().is_empty()));
    }
}

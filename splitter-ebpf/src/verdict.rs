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
    /// Discarded, and its sender told why: by a RST or an ICMP error.
    Answer,
}

impl Action {
    /// As metrics and the command line write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Pass => "pass",
            Self::Drop | Self::Answer => "drop",
        }
    }

    /// The reasons with this action, a bit for the number of each: a bit test takes the packet path less
    /// than a table.
    #[must_use]
    #[inline(always)]
    pub const fn reasons(self) -> u64 {
        const fn gather(action: Action) -> u64 {
            let mut set = 0;
            let mut i = 0;
            while i < Reason::ALL.len() {
                if Reason::ALL[i].action() as u8 == action as u8 {
                    set |= 1 << Reason::ALL[i] as u8;
                }
                i += 1;
            }
            set
        }
        const SETS: [u64; 4] = [
            gather(Action::Forward),
            gather(Action::Pass),
            gather(Action::Drop),
            gather(Action::Answer),
        ];
        match self {
            Self::Forward => SETS[0],
            Self::Pass => SETS[1],
            Self::Drop => SETS[2],
            Self::Answer => SETS[3],
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

            /// The reason with this number, if there is one.
            #[must_use]
            pub const fn from_bits(bits: u8) -> Option<Self> {
                match bits {
                    $($number => Some(Self::$variant),)+
                    _ => None,
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
    /// A new flow without a pin: this CPU has pinned as many within a tick as `limits.new_flows_per_second` allows.
    UnpinnedCapped = 7, Forward, "unpinned_capped";
    /// A fragment after the first one, sent where that went.
    FragmentFollowed = 8, Forward, "fragment_followed";
    /// An ICMP error about a flow, sent to the end of the flow that it concerns.
    IcmpErrorFollowed = 9, Forward, "icmp_error_followed";

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
    /// A fragment whose first fragment was not seen: it came before that, or belongs to nothing.
    Fragment = 33, Drop, "fragment";
    /// IPv4 options that are not carried: source routes, and headers that do not end where they say.
    Ipv4Options = 34, Drop, "ipv4_options";
    /// IPv6 extension headers that are not carried: routing, authentication, mobility, or too many.
    Ipv6Extension = 35, Drop, "ipv6_extension";
    /// More than one VLAN tag on a packet of a listener.
    VlanTag = 36, Drop, "vlan_tag";
    /// An ICMP error to a VIP about no flow that is known.
    IcmpError = 37, Drop, "icmp_error";
    /// TTL or hop limit at its end: its sender is told (time exceeded), as often as the limit on ICMP errors allows.
    TtlExpired = 38, Answer, "ttl_expired";
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
    /// Larger than the way on takes: its sender is told (fragmentation needed, packet too big), as often as the limit on ICMP errors allows.
    TooBig = 45, Answer, "too_big";
    /// Larger than the way on takes, and IPv4 without the bit that asks to be told.
    TooBigToFragment = 46, Drop, "too_big_to_fragment";
    /// A new flow, and no backend of the track may take it: answered with a RST, as `noBackend: reset` asks.
    NoBackendReset = 47, Answer, "no_backend_reset";
    /// A new flow, and no backend of the track may take it: answered with an ICMP error, as `noBackend: unreachable` asks.
    NoBackendUnreachable = 48, Answer, "no_backend_unreachable";
    /// A new flow of mode `fullnat`, and no address and port of `[nat]` was found free for it: TCP is answered with a RST.
    NatExhausted = 49, Answer, "nat_exhausted";
    /// A new flow of mode `fullnat`, which cannot go on without a pin, and there was no room for one, or the cap was reached: TCP is answered with a RST.
    NatUnpinned = 50, Answer, "nat_unpinned";
    /// A packet of a flow of mode `fullnat` that another CPU is still pinning, or whose insert lock another held for too long: its sender repeats it.
    NatUnfinished = 51, Drop, "nat_unfinished";
    /// A part of the packet that must be changed could not be: too short, or in a place that cannot be written.
    Unwritable = 52, Drop, "unwritable";
    /// A packet of a flow that the operator has cut: answered with a RST, UDP with an unreachable port as often as the limit on ICMP errors allows.
    FlowCut = 53, Answer, "flow_cut";
    /// A client's packet of a flow that the operator has cut, turned into the RST that its backend gets: the backend answers by itself, and its packets do not come by.
    FlowCutOnward = 54, Answer, "flow_cut_onward";
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

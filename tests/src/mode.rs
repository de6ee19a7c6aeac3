//! The forwarding modes, and what each asks of a network.

/// A service's forwarding mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The destination is translated; replies pass through the balancer.
    Dnat,
    /// The source is translated too; backends may be anywhere.
    FullNat,
    /// The frame is sent on; backends are neighbours that answer clients themselves.
    DsrL2,
    /// The packet is sent on in another; backends answer clients themselves.
    Ipip,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Dnat, Self::FullNat, Self::DsrL2, Self::Ipip];

    /// As resources name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dnat => "dnat",
            Self::FullNat => "fullnat",
            Self::DsrL2 => "dsr-l2",
            Self::Ipip => "ipip",
        }
    }

    /// Whether replies miss the balancer, because backends answer from the VIP.
    pub const fn is_one_way(self) -> bool {
        matches!(self, Self::DsrL2 | Self::Ipip)
    }
}

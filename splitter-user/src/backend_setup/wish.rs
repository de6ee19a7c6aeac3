//! What is wanted, and why it may be refused.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::ValueEnum;
use ipnet::IpNet;

/// The forwarding mode of the services that the backend serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(
    missing_docs,
    reason = "comments, not docs, which would make clap spread the list over many lines of the help"
)]
pub enum Mode {
    // The client's address stays: answers pass through the balancer.
    Dnat,
    // The balancer's own address takes the client's place.
    Fullnat,
    // The backend answers directly, on the balancer's network.
    DsrL2,
    // The backend answers directly, from another network.
    Ipip,
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Dnat => "dnat",
            Self::Fullnat => "fullnat",
            Self::DsrL2 => "dsr-l2",
            Self::Ipip => "ipip",
        })
    }
}

impl Mode {
    /// Whether the backend answers clients itself, as the VIP.
    #[must_use]
    pub const fn answers_directly(self) -> bool {
        matches!(self, Self::DsrL2 | Self::Ipip)
    }
}

/// What takes packets out of tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(
    missing_docs,
    reason = "comments, not docs, which would make clap spread the list over many lines of the help"
)]
pub enum Decapsulation {
    // The project's own program.
    Xdp,
    // A tunnel device of the kernel.
    Kernel,
    // Something that is there already.
    None,
}

/// A backend as somebody wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// How its services are forwarded.
    pub mode: Mode,
    /// What clients dial.
    pub vips: Vec<IpAddr>,
    /// Where packets of balancers come in; none: found by routes.
    pub interface: Option<String>,
    /// Where tunnels may begin.
    pub sources: Vec<IpNet>,
    /// Where tunnels may end; none: all of this host's addresses but the VIPs.
    pub addresses: Vec<IpAddr>,
    /// A balancer's address.
    pub balancer: Option<IpAddr>,
    /// Where clients are; none: everywhere.
    pub clients: Vec<IpNet>,
    /// Octets that an IP packet may have from the balancer to here; none: the interface's.
    pub mtu: Option<u32>,
    /// What takes packets out of tunnels.
    pub decapsulation: Decapsulation,
    /// How the decapsulator is attached.
    pub xdp_mode: crate::decap::AttachMode,
    /// Where the decapsulator's pins live.
    pub bpffs: PathBuf,
    /// The decapsulator's instance.
    pub name: String,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// No VIP, where one is needed.
    #[error(
        "mode {0} needs the VIPs that the backend answers as: --vip 198.18.1.100,2001:db8:1::100"
    )]
    NoVip(Mode),
    /// An address that clients cannot dial.
    #[error("{0} can be no VIP: a unicast address that clients dial is needed")]
    NotUnicast(IpAddr),
    /// No such interface.
    #[error("there is no interface \"{name}\" here; there are: {}. Name one of those with --interface", .existing.join(", "))]
    NoInterface {
        /// What was asked for.
        name: String,
        /// What there is.
        existing: Vec<String>,
    },
    /// An interface that packets of balancers never come in by.
    #[error(
        "\"{0}\" is the loopback interface: name the one that packets of balancers come in by with --interface"
    )]
    Loopback(String),
    /// Nobody knows which interface.
    #[error(
        "no route says which interface packets of balancers come in by: name it with --interface, or a balancer with --balancer"
    )]
    WhichInterface,
    /// No balancer, where one is needed.
    #[error(
        "in mode dnat answers must go through the balancer: say which it is, with --balancer 198.18.2.1"
    )]
    NoBalancer,
    /// Too small for IP.
    #[error("an MTU of {given} is too small: at least {least} are needed to carry a tunnel")]
    SmallMtu {
        /// What was given or found.
        given: u32,
        /// The least.
        least: u32,
    },
    /// The rules of the decapsulator.
    #[error(transparent)]
    Rules(#[from] crate::decap::RulesError),
}
